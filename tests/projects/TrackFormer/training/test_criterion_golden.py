"""Costs, matches, losses and gradients against arrays of the official implementation."""

import pytest
import torch
from d2video.projects.trackformer.training.track_queries import NO_OBJECT, no_object_weights

from d2video.modeling.criterion import matching_metrics
from d2video.modeling.matcher import HungarianMatcher, MatchingCost
from d2video.modeling.predictions import Predictions
from d2video.modeling.targets import ImageTargets
from tests.helpers.golden_io import load
from tests.projects.TrackFormer.golden_models import golden_criterion

FILE = "trackformer_4_matcher_criterion.npz"
# float32 sums of a few hundred terms in another order; the losses reach 100.
RTOL, ATOL = 1e-5, 1e-6
CASES = sorted(load(FILE, "none")[2]["cases"])


def case_data(case: str) -> tuple[dict, list[ImageTargets], torch.Tensor | None, dict]:
    """Arrays, targets and (2, n) track rows of a case, and its settings."""
    _, data, config = load(FILE, f"{case}/")
    targets, rows = [], []
    for i in range(2):
        labels, boxes = (data[f"target{i}/{name}"] for name in ("labels", "boxes"))
        targets.append(ImageTargets(labels, boxes, ids=data[f"target{i}/track_ids"]))
        if f"target{i}/track_query_match_ids" in data:
            count = len(data[f"target{i}/track_query_boxes"])
            wrong = data[f"target{i}/track_queries_fal_pos_mask"][:count]
            row = torch.full((count,), NO_OBJECT)
            row[~wrong] = data[f"target{i}/track_query_match_ids"]
            rows.append(row)
    return data, targets, torch.stack(rows) if rows else None, config["cases"][case]


@pytest.mark.parametrize("case", CASES)
def test_costs_matches_losses_gradients(case):
    data, targets, rows, spec = case_data(case)
    names = ["aux0/", "aux1/", ""]
    logits = torch.stack([data[f"{name}pred_logits"] for name in names]).requires_grad_()
    boxes = torch.stack([data[f"{name}pred_boxes"] for name in names]).requires_grad_()
    first = 0 if rows is None else rows.shape[1]
    focal = spec["focal_loss"]

    predictions = Predictions(logits, boxes)
    matcher = HungarianMatcher(
        MatchingCost(spec["cost_class"], spec["cost_bbox"], spec["cost_giou"], focal=focal)
    )
    for b, target in enumerate(targets):
        free = torch.ones(len(target), dtype=torch.bool)
        if rows is not None:
            free[rows[b][rows[b] >= 0]] = False
        queries = Predictions(predictions.logits[:, b, first:], predictions.boxes[:, b, first:])
        cost = matcher.cost(queries, target)[-1]
        official = data[f"cost_image{b}"][first:]
        torch.testing.assert_close(cost[:, free], official[:, free], rtol=RTOL, atol=ATOL)

    matches = matcher(predictions, targets, rows)
    starts = [0, len(targets[0])]
    for layer, official in zip([2, 0, 1], spec["matches_last_then_aux"], strict=True):
        mine = matches.of_layer(layer)
        for b, (queries, objects) in enumerate(official):
            assert mine.query[mine.batch == b].tolist() == queries
            assert (mine.target[mine.batch == b] - starts[b]).tolist() == objects

    factors = spec["weight_dict"]
    criterion = golden_criterion(
        spec["criterion_num_classes"], focal, spec.get("eos_coef", 0.0), factors
    )
    weights = None
    if rows is not None:
        usual = criterion.class_loss.no_object_weight
        wrong = 1.0 if spec["track_query_false_positive_eos_weight"] else usual
        weights = no_object_weights(rows, logits.shape[2] - first, usual, wrong)
    classes = torch.cat([target.classes for target in targets])
    losses = criterion(predictions, matches, targets, weights)
    assert criterion.assign(predictions, matches, targets).num_targets == spec["num_boxes"]
    assert set(losses) == set(factors)
    for name, factor in factors.items():
        expected = data[f"loss/{name}"] * factor
        torch.testing.assert_close(losses[name], expected, rtol=RTOL, atol=ATOL)
    total = sum(losses.values())
    torch.testing.assert_close(total, data["loss_total_weighted"], rtol=RTOL, atol=ATOL)
    total.backward()
    for layer, name in enumerate(names):
        for mine, short in ((logits, "logits"), (boxes, "boxes")):
            expected = data[f"{name}grad_pred_{short}"]
            torch.testing.assert_close(mine.grad[layer], expected, rtol=RTOL, atol=ATOL)

    last = matches.of_layer(2)
    error, objects = matching_metrics(logits[-1], last, classes, criterion.class_loss)
    torch.testing.assert_close(error, data["loss/class_error"], rtol=RTOL, atol=ATOL)
    if not focal:  # the official count is meaningless for focal logits
        counts = torch.tensor([len(target) for target in targets])
        cardinality = (objects - counts).abs().mean()
        torch.testing.assert_close(cardinality, data["loss/cardinality_error"])
