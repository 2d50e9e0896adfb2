"""Re-identification by detections, and public detections."""

import numpy as np
import pytest
from d2video.projects.trackformer.tracker.public_detections import (
    supported_by_centre,
    supported_by_iou,
)
from d2video.projects.trackformer.tracker.reid import match_by_look, match_by_place
from d2video.projects.trackformer.tracker.tracker import Tracker

from d2video.utils.errors import UserError
from tests.projects.TrackFormer.tracker.seen_frames import (
    BOX,
    FAR,
    NOTHING,
    SIZE,
    START,
    ids,
    seen,
    sees,
)


def test_similarity_needs_a_positive_threshold():
    for threshold, wanted in ((0.0, [1]), (0.01, [0])):
        tracker = Tracker(
            inactive_patience=2, reid_score_thresh=1, reid_similarity_thresh=threshold
        )
        tracker.step(START, SIZE)
        tracker.step(NOTHING, SIZE)
        assert ids(tracker.step(sees(seen(), [(0, 0.9, FAR)]), SIZE)) == wanted
    equal = np.ones((1, 4), np.float32)
    assert match_by_look(equal, equal, 0.0)[0].tolist() == []


def test_match_by_look():
    tracks = np.array([[0.0, 0], [1, 0], [9, 9]], np.float32)
    detections = np.array([[1.2, 0], [0.1, 0]], np.float32)
    for threshold, wanted in ((1.0, ([0, 1], [1, 0])), (0.15, ([0], [1]))):
        rows, columns = match_by_look(tracks, detections, threshold)
        assert (rows.tolist(), columns.tolist()) == wanted


def test_match_by_place():
    tracks = np.array(
        [[0.0, 0, 10, 10], [0, 0, 12, 10], [50, 50, 60, 60], [0, 0, 100, 100]], np.float32
    )
    detections = np.array(
        [[1.0, 0, 11, 10], [3, 0, 13, 10], [50, 61, 60, 71], [40, 40, 41, 41]], np.float32
    )
    # The first takes the nearest, the second what is left; the third's is too far by a hair; for
    # the last, the detection at hand is too small.
    rows, columns = match_by_place(tracks, detections)
    assert (rows.tolist(), columns.tolist()) == ([0, 1], [0, 1])
    detections[2, 1::2] -= 1  # exactly its area away
    rows, columns = match_by_place(tracks, detections)
    assert (rows.tolist(), columns.tolist()) == ([0, 1, 2], [0, 1, 2])


def test_supported_by_iou():
    boxes = np.array([[0.0, 0, 10, 10], [0, 0, 10, 11], [50, 50, 60, 60]], np.float32)
    public = np.array(
        [[0.0, 0, 10, 10], [0, 0, 10, 10], [50, 50, 60, 70], [0, 0, 10, 10]], np.float32
    )
    assert supported_by_iou(boxes, public[:1]).tolist() == [True, False, False]
    # A detection serves once: the second public box takes the second best. 1/2 is enough.
    assert supported_by_iou(boxes, public).tolist() == [True, True, True]
    public[2, 3] += 0.1
    assert supported_by_iou(boxes, public).tolist() == [True, True, False]
    assert supported_by_iou(boxes, public[:0]).tolist() == [False] * 3
    assert supported_by_iou(boxes[:0], public).tolist() == []


def test_supported_by_centre():
    boxes = np.array([[0.0, 0, 10, 10], [0, 0, 2, 2], [50, 50, 60, 60]], np.float32)
    public = np.array([[0.0, 0, 4, 4], [54, 59, 56, 79]], np.float32)
    # The small one is nearest to (2, 2), at a distance whose square, 2, is less than its area, 4.
    assert supported_by_centre(boxes, public).tolist() == [False, True, False]
    # The other is 14 from (55, 55), too far; at 10 the square is the area, not less.
    public[1, 1::2] -= 4
    assert supported_by_centre(boxes, public).tolist() == [False, True, False]
    public[1, 1::2] -= 0.1
    assert supported_by_centre(boxes, public).tolist() == [False, True, True]
    assert supported_by_centre(boxes, public[:0]).tolist() == [False] * 3


@pytest.mark.parametrize("rule", ["min_iou_0_5", "center_distance"])
def test_births_alone_need_public_detections(rule):
    tracker = Tracker(public_detections=rule)
    found = sees(found=[(0, 0.9, BOX), (1, 0.9, FAR)])
    assert ids(tracker.step(found, SIZE, np.zeros((0, 5)))) == []
    answer = tracker.step(found, SIZE, np.array([[*FAR, 0.2]]))
    assert ids(answer) == [0]
    assert answer.boxes.tolist() == [pytest.approx(FAR, abs=1e-4)]
    assert ids(tracker.step(sees({1: (0.9, FAR)}), SIZE, np.zeros((0, 4)))) == [0]
    with pytest.raises(UserError, match="public detections wanted .*PUBLIC_DETECTIONS.*has none"):
        tracker.step(NOTHING, SIZE)
