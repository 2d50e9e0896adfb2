"""TrailHistory: which lines, how long, and what they look like."""

import numpy as np
import pytest
import torch
from detectron2.structures import Boxes, Instances

from d2video.visualization.instances import draw_instances, track_colour
from d2video.visualization.trails import TrailHistory, draw_trails

SIZE = (100, 200)


def boxes_at(places: dict[int, tuple[float, float]]) -> Instances:
    """Boxes of 10×20 pixels by track id and upper left corner."""
    corners = torch.tensor([[x, y, x + 10, y + 20] for x, y in places.values()]).reshape(-1, 4)
    return Instances(SIZE, pred_boxes=Boxes(corners.float()), track_ids=torch.tensor(list(places)))


def lines(trails: TrailHistory) -> set[tuple[int, int, tuple[float, ...]]]:
    return {(i, age, tuple(ends.reshape(-1).tolist())) for i, age, ends in trails.segments()}


def test_lines_join_successive_places():
    trails = TrailHistory(5)
    for t in range(3):
        trails.add(boxes_at({7: (20 * t, 40), 2: (100, 40)}))
    assert lines(trails) == {
        (7, 1, (5, 60, 25, 60)),
        (7, 0, (25, 60, 45, 60)),
        (2, 1, (105, 60, 105, 60)),
        (2, 0, (105, 60, 105, 60)),
    }


def test_gaps_are_not_bridged_and_lost_tracks_are_forgotten():
    trails = TrailHistory(4)
    seen = [{1: (0, 0)}, {1: (10, 0)}, {}, {1: (40, 0)}, {1: (50, 0)}, {}, {}]
    expected = [0, 1, 1, 1, 1, 1, 1]
    for places, count in zip(seen, expected, strict=True):
        trails.add(boxes_at(places))
        assert len(trails.segments()) == count
    assert lines(trails) == {(1, 2, (45, 20, 55, 20))}
    for count in (0, 0):
        trails.add(boxes_at({}))
        assert len(trails.segments()) == count


def test_memory_is_bounded():
    trails = TrailHistory(3)
    for t in range(50):
        trails.add(boxes_at({t: (0, 0), t + 1: (50, 0), 1000: (t, 0)}))
    assert {track_id for track_id, _, _ in trails.segments()} <= {48, 49, 50, 1000}
    assert sum(len(places) for places in trails._frames) == 3 * 3


def test_what_has_no_place_is_left_out():
    trails = TrailHistory(3)
    empty = Instances(SIZE, pred_boxes=Boxes(torch.zeros(1, 4)), track_ids=torch.tensor([1]))
    without_ids = Instances(SIZE, pred_boxes=Boxes(torch.tensor([[0.0, 0, 9, 9]])))
    for each in (empty, empty, without_ids, without_ids, Instances(SIZE)):
        trails.add(each)
        assert trails.segments() == []


@pytest.mark.parametrize("scale", [1, 3])
def test_picture(scale):
    trails = TrailHistory(9)
    for t in range(8):
        trails.add(boxes_at({4: (20 * t, 40)}))
    canvas = np.full((scale * SIZE[0], scale * SIZE[1], 3), 100, np.uint8)
    draw_trails(canvas, trails, 8, scale=scale)
    # From (5, 60) to (145, 60), thin to thick, in the colour of the track.
    changed = (canvas != 100).any(-1)
    rows, columns = changed.nonzero()
    assert abs(columns.min() - 5 * scale) <= 6
    assert abs(columns.max() - 145 * scale) <= 6
    assert abs(rows.mean() - 60 * scale) < 1
    assert (canvas[60 * scale, 20 * scale : 140 * scale] == track_colour(4)).mean() > 0.9
    assert changed[:, 12 * scale].sum() < changed[:, 140 * scale].sum()
    assert changed[:, 140 * scale].sum() >= 7


def test_trails_beyond_the_border_and_beside_no_instances():
    trails = TrailHistory(9)
    for x in (-1000, 90, 5000):
        trails.add(boxes_at({4: (x, 40)}))
    grey = np.full((*SIZE, 3), 100, np.uint8)
    drawn = draw_instances(grey, boxes_at({}), trails=trails)
    assert (drawn[60] != 100).any(-1).all()
    assert (grey == 100).all()
