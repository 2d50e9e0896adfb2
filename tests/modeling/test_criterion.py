"""The set-prediction loss beyond its golden values (tests/projects/VisTR/test_golden_loss.py)."""

import pytest
import torch

from d2video.modeling.criterion import ClassificationLoss, SetCriterion, matching_metrics
from d2video.modeling.losses import CrossEntropy, Focal
from d2video.modeling.matcher import Matches
from d2video.modeling.predictions import Predictions
from d2video.modeling.targets import ImageTargets


def test_targets_are_counted_exactly_under_low_precision():
    """bfloat16 has no 1043; box losses and mask losses are divided by it."""
    none = torch.zeros(0, dtype=torch.int64)
    logits = torch.zeros(2, 1, 4, 4, dtype=torch.bfloat16)
    arguments = (
        Predictions(logits, torch.rand(2, 1, 4, 4)),
        Matches(none, none, none, none),
        [ImageTargets(torch.zeros(1043, dtype=torch.int64), torch.rand(1043, 4))],
    )
    criterion = SetCriterion(3)
    assert criterion.assign(*arguments).num_targets.item() == 1043
    losses = criterion(*arguments)
    assert losses["loss_ce"].dtype == torch.float32


def one_match(
    logits_shape: tuple[int, int, int, int],
) -> tuple[Predictions, Matches, list[ImageTargets]]:
    """Random predictions of (L, B, Q, K), query 1 of image 0 matched in every layer."""
    layers = torch.arange(logits_shape[0])
    matches = Matches(layers, 0 * layers, 0 * layers + 1, 0 * layers)
    boxes = torch.rand(*logits_shape[:3], 4)
    none = ImageTargets(torch.zeros(0, dtype=torch.int64), torch.zeros(0, 4))
    targets = [ImageTargets(torch.tensor([2]), torch.rand(1, 4)), none][: logits_shape[1]]
    return Predictions(torch.randn(logits_shape), boxes), matches, targets


@pytest.mark.parametrize("class_loss", [CrossEntropy(0.1), Focal()])
def test_queries_of_weight_zero_do_not_exist(class_loss):
    """A padded batch loses and learns what the unpadded one does, in both class losses."""
    torch.manual_seed(0)
    predictions, *rest = one_match((2, 2, 5, 4))
    criterion = SetCriterion(4 - (not isinstance(class_loss, Focal)), class_loss)
    expected = criterion(predictions, *rest)
    more = torch.cat([predictions.logits, torch.randn(2, 2, 3, 4)], dim=2).requires_grad_()
    more_boxes = torch.cat([predictions.boxes, torch.rand(2, 2, 3, 4)], dim=2)
    weights = torch.full((2, 8), class_loss.no_object_weight)
    weights[:, 5:] = 0
    losses = criterion(Predictions(more, more_boxes), *rest, no_object_weights=weights)
    for name in expected:
        torch.testing.assert_close(losses[name], expected[name])
    sum(losses.values()).backward()
    assert (more.grad[:, :, 5:] == 0).all()
    assert (more.grad[:, :, :5] != 0).all()


def test_weight_of_a_query_without_object_in_the_mean():
    torch.manual_seed(0)
    predictions, *rest = one_match((1, 1, 3, 4))
    weights = torch.tensor([[1.0, 0.5, 0.1]])  # the second has an object, so it weighs 1
    losses = SetCriterion(3)(predictions, *rest, no_object_weights=weights)
    nll = -predictions.logits[0, 0].log_softmax(-1)
    expected = (nll[0, 3] + nll[1, 2] + 0.1 * nll[2, 3]) / 2.1
    torch.testing.assert_close(losses["loss_ce"], expected)


def test_focal_loss_is_summed_over_queries_and_classes():
    """By the formula of Lin et al., -alpha_t (1 - p_t)^gamma log p_t, over two objects."""
    torch.manual_seed(0)
    predictions, matches, targets = one_match((1, 1, 3, 4))
    targets.append(ImageTargets(torch.tensor([0]), torch.rand(1, 4)))  # not matched
    criterion = SetCriterion(4, Focal(), [ClassificationLoss(Focal(), 2.0)])
    losses = criterion(predictions, matches, targets)
    probability = predictions.logits[0, 0].double().sigmoid()
    expected = -(0.75 * probability**2 * (1 - probability).log())
    hit = probability[1, 2]
    expected[1, 2] = -(0.25 * (1 - hit) ** 2 * hit.log())
    torch.testing.assert_close(losses["loss_ce"], expected.sum().float() / 2 * 2.0)


def test_metrics_of_focal_logits_without_padded_queries():
    logits = torch.full((1, 4, 2), -3.0)
    logits[0, 0, 1] = logits[0, 2, 0] = logits[0, 3, 0] = 1.0
    zero = torch.zeros(2, dtype=torch.int64)
    matches = Matches(zero, zero, torch.tensor([0, 2]), torch.tensor([0, 1]))
    padding = torch.tensor([[False, False, False, True]])
    error, objects = matching_metrics(logits, matches, torch.tensor([1, 1]), Focal(), padding)
    assert error == 50
    assert objects.tolist() == [2]
