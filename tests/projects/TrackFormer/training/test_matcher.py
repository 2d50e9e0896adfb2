"""Matching with track queries beyond its golden values."""

import itertools

import pytest
import torch
from d2video.projects.trackformer.training.track_queries import NO_OBJECT, PADDED

from d2video.modeling.matcher import HungarianMatcher, MatchingCost
from d2video.modeling.predictions import Predictions
from d2video.modeling.targets import ImageTargets


def targets_of(*counts: int) -> list[ImageTargets]:
    return [ImageTargets(torch.randint(0, 3, (n,)), torch.rand(n, 4) * 0.5 + 0.2) for n in counts]


def predict(layers: int, images: int, queries: int) -> Predictions:
    sizes = (layers, images, queries)
    return Predictions(torch.randn(*sizes, 3), torch.rand(*sizes, 4))


@pytest.mark.parametrize("focal", [True, False])
def test_free_objects_go_to_the_cheapest_object_queries(focal):
    torch.manual_seed(0)
    targets = targets_of(5, 0, 3)
    rows = torch.tensor([[3, NO_OBJECT, 0], [PADDED] * 3, [PADDED, 1, NO_OBJECT]])
    predictions = predict(2, 3, 3 + 4)
    matcher = HungarianMatcher(MatchingCost(classes=2.0, focal=focal))
    matches = matcher(predictions, targets, rows)

    starts, free = [0, 5, 5], [[1, 2, 4], [], [0, 2]]
    assert matches.layer.tolist() == sorted(matches.layer.tolist())
    for layer, b in itertools.product(range(2), range(3)):
        mine = (matches.layer == layer) & (matches.batch == b)
        pairs = dict(zip(matches.query[mine].tolist(), (matches.target[mine] - starts[b]).tolist()))
        assert {q: o for q, o in pairs.items() if q < 3} == {
            q: o for q, o in enumerate(rows[b].tolist()) if o >= 0
        }
        found = {o: q - 3 for q, o in pairs.items() if q >= 3}
        assert sorted(found) == free[b]
        queries = Predictions(predictions.logits[:, b, 3:], predictions.boxes[:, b, 3:])
        cost = matcher.cost(queries, targets[b])[layer]
        best = min(
            sum(cost[q, o].item() for q, o in zip(queries, free[b]))
            for queries in itertools.permutations(range(4), len(free[b]))
        )
        assert sum(cost[q, o].item() for o, q in found.items()) == pytest.approx(best, abs=1e-5)


def test_more_free_objects_than_object_queries():
    """Crowds: the official code raises "cost matrix is infeasible"."""
    torch.manual_seed(1)
    predictions = predict(1, 1, 2 + 3)
    rows = torch.tensor([[NO_OBJECT, 6]])
    matches = HungarianMatcher()(predictions, targets_of(8), rows)
    assert matches.query.tolist() == [1, 2, 3, 4]
    assert matches.target[0] == 6
    assert 6 not in matches.target[1:].tolist()
    assert len(set(matches.target.tolist())) == 4


@pytest.mark.parametrize("rows", [None, torch.zeros(2, 0, dtype=torch.int64)])
def test_without_track_queries(rows):
    torch.manual_seed(2)
    predictions = predict(3, 2, 6)
    matches = HungarianMatcher()(predictions, targets_of(4, 2), rows)
    assert len(matches.query) == 3 * 6
    assert sorted(matches.of_layer(1).target.tolist()) == list(range(6))


def test_no_objects_at_all():
    predictions = predict(2, 2, 5)
    matches = HungarianMatcher()(predictions, targets_of(0, 0), torch.full((2, 2), NO_OBJECT))
    assert len(matches.layer) == 0
    assert matches.query.dtype == torch.int64


def test_divergence_is_named():
    predictions = predict(1, 1, 4)
    predictions.boxes[0, 0, 2, 0] = torch.nan
    with pytest.raises(FloatingPointError, match="non-finite"):
        HungarianMatcher()(predictions, targets_of(2))
