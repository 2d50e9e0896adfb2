"""Linking by overlap."""

import copy

import pytest
import torch
from detectron2.structures import Boxes, Instances

from d2video.evaluation.mot.iou_tracker import link_by_iou


def _frame(*boxes, classes=None) -> Instances:
    frame = Instances(
        (100, 100), pred_boxes=Boxes(torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4))
    )
    frame.scores = torch.linspace(0.9, 0.5, len(boxes))
    if classes is not None:
        frame.pred_classes = torch.tensor(classes)
    return frame


def _ids(frames, **options) -> list[list[int]]:
    return [frame.track_ids.tolist() for frame in link_by_iou(frames, **options)]


A, B = (0, 0, 10, 10), (30, 30, 40, 40)


def test_ids_follow_the_boxes_whatever_their_order():
    frames = [_frame(A, B), _frame((31, 31, 41, 41), (1, 0, 11, 10)), _frame((2, 0, 12, 10))]
    before = copy.deepcopy(frames)
    assert _ids(frames) == [[0, 1], [1, 0], [0]]
    for frame, original in zip(frames, before):
        assert frame.get_fields().keys() == original.get_fields().keys()
    linked = link_by_iou(frames)
    assert linked[0].track_ids.dtype == torch.int64
    assert torch.equal(linked[1].scores, frames[1].scores)
    assert torch.equal(linked[1].pred_boxes.tensor, frames[1].pred_boxes.tensor)


def test_the_sum_of_overlaps_decides_not_the_best_pair():
    # IoU of track 0 with the new boxes: .6 and .43; of track 1 with them: .54 and .03. The best
    # pair first would leave track 1 and a box without a partner.
    frames = [
        _frame((0, 0, 10, 10), (5.5, 0, 15.5, 10)),
        _frame((2.5, 0, 12.5, 10), (-4, 0, 6, 10)),
    ]
    assert _ids(frames) == [[0, 1], [1, 0]]


@pytest.mark.parametrize(("threshold", "linked"), [(0.33, True), (0.34, False)])
def test_threshold(threshold, linked):
    frames = [_frame((0, 0, 10, 10)), _frame((5, 0, 15, 10))]  # IoU 1/3
    assert _ids(frames, iou_threshold=threshold) == [[0], [0 if linked else 1]]


def test_pairs_below_the_threshold_draw_nobody_away():
    # With a threshold of .5: track 0 has .54 with the first box, .29 with the second; track 1 has
    # .45 with the first. The sum of .29 and .45 is larger, but neither may be linked.
    frames = [
        _frame((0, 0, 10, 10), (6.8, 0, 16.8, 10)),
        _frame((3, 0, 13, 10), (-5.5, 0, 4.5, 10)),
    ]
    assert _ids(frames, iou_threshold=0.5) == [[0, 1], [0, 2]]


@pytest.mark.parametrize(
    ("max_age", "expected"), [(0, [[0], [], [1], [], [], [2]]), (1, [[0], [], [0], [], [], [1]])]
)
def test_tracks_survive_max_age_frames(max_age, expected):
    frames = [_frame(A), _frame(), _frame(A), _frame(), _frame(), _frame(A)]
    assert _ids(frames, max_age=max_age) == expected
    assert _ids(frames, max_age=2) == [[0], [], [0], [], [], [0]]


def test_classes_are_kept_apart():
    frames = [_frame(A, classes=[0]), _frame(A, (1, 0, 11, 10), classes=[1, 0])]
    assert _ids(frames) == [[0], [1, 0]]


def test_no_overlap_is_no_link_at_any_threshold():
    assert _ids([_frame(A), _frame(B)], iou_threshold=0.0) == [[0], [1]]
    assert _ids([]) == []


def test_a_track_that_moved_on_leaves_nothing_behind():
    there = (8, 0, 18, 10)
    frames = [_frame(A), _frame((4, 0, 14, 10)), _frame(there, A)]
    assert _ids(frames, max_age=5) == [[0], [0], [0, 1]]
