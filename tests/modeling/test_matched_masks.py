"""What the mask losses compare."""

import torch

from d2video.modeling.criterion import MaskLoss, SetCriterion
from d2video.modeling.losses import mask_loss_sums
from d2video.modeling.matcher import Matches
from d2video.modeling.predictions import Predictions
from d2video.modeling.targets import ClipTargets, ImageTargets, stack_masks


def targets_of(*masks: torch.Tensor) -> list[ImageTargets]:
    return [
        ImageTargets(torch.zeros(len(m), dtype=torch.int64), torch.rand(len(m), 4), m)
        for m in masks
    ]


def test_target_masks_lie_in_the_upper_left_corner_of_the_canvas():
    targets = targets_of(
        torch.ones(1, 2, 3).bool(), torch.ones(0, 5, 1).bool(), torch.ones(2, 4, 1).bool()
    )
    found = stack_masks(targets)
    assert found.shape == (3, 5, 3)
    assert found[0].nonzero().tolist() == [[y, x] for y in range(2) for x in range(3)]
    for mask in found[1:]:
        assert mask.nonzero().tolist() == [[y, 0] for y in range(4)]


def test_each_frame_of_an_object_is_a_target():
    """Object-major: frame t of object i of T frames is i·T + t."""
    masks = torch.rand(2, 3, 4, 5) > 0.5
    present = torch.tensor([[True, True, False], [True, True, True]])
    clip = ClipTargets(torch.tensor([7, 8]), torch.rand(2, 3, 4), present, masks)
    frames = clip.by_frame()
    assert torch.equal(stack_masks([frames])[[1, 5]], torch.stack([masks[0, 1], masks[1, 2]]))
    assert torch.equal(frames.boxes[5], clip.boxes[1, 2])
    assert frames.classes.tolist() == [7, 7, 0, 8, 8, 8]


def predictions_of(layer: torch.nn.Module) -> Predictions:
    """Of two images with four queries; the masks are 2×2."""

    def masks(image, query):
        if not len(query):  # as a mask branch
            return torch.zeros(0, 2, 2)
        return layer((10.0 * image + query)[:, None]).view(-1, 2, 2)

    return Predictions(torch.zeros(1, 2, 4, 3), torch.rand(1, 2, 4, 4), masks)


def matches_of(*rows: tuple[int, int, int]) -> Matches:
    columns = torch.tensor([(0, *row) for row in rows], dtype=torch.int64).view(-1, 4)
    return Matches(*columns.T)


def test_masks_of_matched_queries_are_compared_with_those_of_their_targets():
    layer = torch.nn.Linear(1, 4)
    targets = targets_of(torch.rand(1, 2, 2) > 0.5, torch.rand(2, 2, 2) > 0.5)
    criterion = SetCriterion(3, losses=[MaskLoss(2.0, 3.0)])
    losses = criterion(predictions_of(layer), matches_of((1, 2, 2), (0, 3, 0)), targets)
    logits = layer(torch.tensor([[12.0], [3.0]])).view(2, 2, 2)
    wanted = torch.stack([targets[1].masks[1], targets[0].masks[0]])
    focal, dice = mask_loss_sums(logits, wanted)
    torch.testing.assert_close(losses["loss_mask"], 2.0 * focal / 3)
    torch.testing.assert_close(losses["loss_dice"], 3.0 * dice / 3)


def test_the_mask_branch_runs_without_a_match():
    """So that every parameter has a gradient, of zero."""
    layer = torch.nn.Linear(1, 4)
    targets = targets_of(torch.zeros(0, 2, 2).bool(), torch.zeros(0, 2, 2).bool())
    losses = SetCriterion(3, losses=[MaskLoss()])(predictions_of(layer), matches_of(), targets)
    assert losses["loss_mask"] == losses["loss_dice"] == 0
    sum(losses.values()).backward()
    assert torch.equal(layer.weight.grad, torch.zeros(4, 1))
