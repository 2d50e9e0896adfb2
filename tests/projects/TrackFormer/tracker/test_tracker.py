"""The tracker's rules one by one; test_tracker_golden.py has them together."""

import gc
from types import FunctionType, ModuleType, SimpleNamespace

import numpy as np
import pytest
from d2video.projects.trackformer.config import add_trackformer_config
from d2video.projects.trackformer.tracker.frame_output import FrameOutput
from d2video.projects.trackformer.tracker.tracker import Tracker
from detectron2.config import CfgNode as CN

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


def test_answer():
    tracker = Tracker()
    first = tracker.step(sees(found=[(3, 0.7, [-5.0, 10, 120, 40]), (4, 0.3, FAR)]), SIZE)
    assert first.boxes.tolist() == [pytest.approx([-5, 10, 120, 40], abs=1e-4)]
    assert first.scores.tolist() == [pytest.approx(0.7)]
    assert ids(first) == [0]
    assert first.ids.dtype == first.classes.dtype == np.int64
    assert first.masks is None
    second = sees({3: (0.8, BOX)}, [(1, 0.9, FAR)])
    answer = tracker.step(second, SIZE)
    assert ids(answer) == [0, 1]
    assert answer.boxes[0].tolist() == pytest.approx(BOX, abs=1e-4)
    embeddings, boxes = second.called_with
    assert embeddings.tolist() == np.eye(8)[[3]].tolist()
    assert boxes.tolist() == [pytest.approx([57.5 / 100, 25 / 80, 125 / 100, 30 / 80])]


def test_an_answer_may_be_changed():
    tracker = Tracker()
    answer = tracker.step(START, SIZE)
    answer.boxes *= 2
    answer.ids += 7
    second = sees(seen())
    assert ids(tracker.step(second, SIZE)) == [0]
    assert second.called_with[1].tolist() == [pytest.approx([0.2, 25 / 80, 0.2, 30 / 80])]


def test_no_tracks_and_no_detections():
    tracker = Tracker()
    for frame in (NOTHING, NOTHING, START, NOTHING, NOTHING):
        answer = tracker.step(frame, SIZE)
    assert len(answer) == len(tracker.active) == len(tracker.inactive) == 0
    assert answer.boxes.shape == (0, 4)


def test_clip_boxes():
    tracker = Tracker(clip_boxes=True)
    answer = tracker.step(sees(found=[(3, 0.7, [-5.0, -1, 120, 90])]), SIZE)
    assert answer.boxes.tolist() == [[0, 0, 100, 80]]


@pytest.mark.parametrize("score", [0.5, 0.51])
def test_scores_must_exceed_the_thresholds(score):
    passes = score > 0.5
    tracker = Tracker(detection_score_thresh=0.5)
    assert len(tracker.step(sees(found=[(0, score, BOX)]), SIZE)) == passes
    tracker = Tracker(track_score_thresh=0.5)
    tracker.step(START, SIZE)
    assert len(tracker.step(sees(seen(score)), SIZE)) == passes
    tracker = Tracker(reid_score_thresh=0.5, inactive_patience=1)
    tracker.step(START, SIZE)
    tracker.step(NOTHING, SIZE)
    assert len(tracker.step(sees(seen(score)), SIZE)) == passes


def test_tracked_classes():
    frames = sees(found=[(0, 0.9, BOX), (1, 0.9, FAR)], classes={1: 2})
    for classes, wanted in (((0,), [0]), ((2,), [2]), ((0, 2), [0, 2]), (None, [0, 2]), ((1,), [])):
        answer = Tracker(tracked_classes=classes).step(frames, SIZE)
        assert answer.classes.tolist() == wanted
    tracker = Tracker()
    tracker.step(START, SIZE)
    assert len(tracker.step(sees(seen(), classes={0: 1}), SIZE)) == 0


@pytest.mark.parametrize("patience", [-1, 0, 1, 3])
def test_patience(patience):
    """An inactive track is asked in so many frames after the miss."""
    tracker = Tracker(inactive_patience=patience)
    tracker.step(START, SIZE)
    asked = []
    for _ in range(6):
        frame = sees()
        tracker.step(frame, SIZE)
        asked.append(len(frame.called_with[0]))
    assert asked == [1] + [1] * max(patience, 0) + [0] * (5 - max(patience, 0))


def test_steps_termination_keeps_the_old_box():
    tracker = Tracker(steps_termination=3)
    tracker.step(START, SIZE)
    for _ in range(2):
        answer = tracker.step(NOTHING, SIZE)
        assert ids(answer) == [0]
        assert answer.boxes[0].tolist() == pytest.approx(BOX, abs=1e-4)
        assert answer.scores.tolist() == [pytest.approx(0.9)]
    assert len(tracker.step(NOTHING, SIZE)) == 0


def test_inactive_tracks_without_area_are_dropped():
    tracker = Tracker(inactive_patience=5)
    tracker.step(sees(found=[(0, 0.9, [10.0, 10, 10, 40])]), SIZE)
    tracker.step(NOTHING, SIZE)
    assert len(tracker.inactive) == 0


def test_reset():
    tracker = Tracker(inactive_patience=5)
    tracker.step(sees(found=[(0, 0.9, BOX), (1, 0.9, FAR)]), SIZE)
    tracker.step(sees(seen()), SIZE)
    tracker.reset()
    again = sees(found=[(0, 0.9, BOX)])
    assert ids(tracker.step(again, SIZE)) == [0]
    assert len(again.called_with[0]) == 0


def arrays_of(tracker: Tracker) -> tuple[int, int]:
    """How many can be reached from it, and the bytes that they hold."""
    found, upcoming, seen = [], [tracker], {}
    while upcoming:
        thing = upcoming.pop()
        if id(thing) in seen or isinstance(thing, type | ModuleType | FunctionType):
            continue
        seen[id(thing)] = thing
        if isinstance(thing, np.ndarray):
            found.append(thing)
        upcoming += gc.get_referents(thing)
    return len(found), sum(array.nbytes for array in found if array.base is None)


@pytest.mark.parametrize("frames", [300, pytest.param(10_000, marks=pytest.mark.slow)])
def test_the_state_does_not_grow(frames):
    """Tracks start, overlap, are missed and come back; of all that nothing stays."""
    random = np.random.default_rng(0)
    identity = np.eye(4, dtype=np.float32)
    corner = np.array([[0.2, 0.2], [0.2, 0.21], [0.6, 0.6], [0.8, 0.2]], np.float32)
    boxes = np.concatenate([corner, np.full((4, 2), 0.2, np.float32)], 1)
    small = (8, 10)
    masks = random.random((4, *small), np.float32)

    def detect(embeddings, _):
        rows = embeddings.argmax(1) if len(embeddings) else np.zeros(0, np.int64)
        rows = np.concatenate([rows, np.arange(4)])
        scores = random.random(len(rows), np.float32)

        def masks_of(asked):
            return masks[rows[asked]].argmax(0), masks[rows[asked]].max(0)

        return FrameOutput(scores, np.zeros_like(rows), boxes[rows], identity[rows], masks_of)

    tracker = Tracker(inactive_patience=3, steps_termination=2)

    def run(count):
        most = 0
        for _ in range(count):
            tracker.step(detect, small)
            most = max(most, len(tracker.active) + len(tracker.inactive))
        return most

    run(frames // 3)
    first_count, first_bytes = arrays_of(tracker)
    most = run(frames - frames // 3)
    count, size = arrays_of(tracker)
    assert count <= first_count + 4
    one_track = 8 * masks[0].size + 200  # bytes
    assert size <= first_bytes + most * one_track
    assert 3 < most < 50
    assert tracker._next_id > frames / 20  # much has happened
    for tracks in (tracker.active, tracker.inactive):
        for value in vars(tracks).values():  # no column hangs on to a frame's whole output
            base = value if value.base is None else value.base
            assert base.nbytes <= 8 * value.size


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"detection_score_thresh": 1.1}, "TRACKER.DETECTION_SCORE_THRESH is 1.1"),
        ({"track_score_thresh": -0.1}, "TRACKER.TRACK_SCORE_THRESH is -0.1"),
        ({"detection_nms_thresh": 2}, "TRACKER.DETECTION_NMS_THRESH is 2"),
        ({"track_nms_thresh": float("nan")}, "TRACKER.TRACK_NMS_THRESH is nan"),
        ({"reid_score_thresh": 1.1}, "TRACKER.REID_SCORE_THRESH is 1.1"),
        ({"reid_similarity_thresh": -1}, "TRACKER.REID_SIMILARITY_THRESH is -1"),
        ({"public_detections": "iou"}, "TRACKER.PUBLIC_DETECTIONS is 'iou'"),
    ],
)
def test_settings_are_checked(settings, message):
    with pytest.raises(UserError, match=f"MODEL.TRACKFORMER.{message}"):
        Tracker(**settings)


def test_from_config():
    cfg = CN({"MODEL": CN({"TRACKFORMER": CN()})})
    add_trackformer_config(cfg)
    by_config, by_default = vars(Tracker.from_config(cfg)), vars(Tracker(clip_boxes=True))
    settings = [name for name, value in by_default.items() if not hasattr(value, "ids")]
    assert {n: by_config[n] for n in settings} == {n: by_default[n] for n in settings}

    node = cfg.MODEL.TRACKFORMER
    node.TRACKED_CLASSES, node.OVERFLOW_BOXES = [], True
    keys = {
        "DETECTION_SCORE_THRESH": ("detection_score_thresh", 0.31),
        "TRACK_SCORE_THRESH": ("track_score_thresh", 0.32),
        "DETECTION_NMS_THRESH": ("detection_nms_thresh", 0.33),
        "TRACK_NMS_THRESH": ("track_nms_thresh", 0.34),
        "INACTIVE_PATIENCE": ("inactive_patience", 5),
        "REID_SCORE_THRESH": ("reid_score_thresh", 0.35),
        "REID_SIMILARITY_THRESH": ("reid_similarity_thresh", 2.5),
        "REID_SIMILARITY_ONLY": ("reid_similarity_only", True),
        "REID_GREEDY": ("reid_greedy", True),
        "PUBLIC_DETECTIONS": ("public_detections", "min_iou_0_5"),
    }
    assert {*keys, "OFFICIAL"} == set(node.TRACKER)
    for key, (_, value) in keys.items():
        node.TRACKER[key] = value
    tracker = SimpleNamespace(**vars(Tracker.from_config(cfg)))
    assert {name: getattr(tracker, name) for name, _ in keys.values()} == dict(keys.values())
    assert tracker.tracked_classes is None
    assert not tracker.clip_boxes


def test_tracks_are_looked_for_where_they_move():
    """The centre moves by 10 pixels a frame; the object is not seen once, and then goes on."""
    tracker = Tracker(moved_on=True, inactive_patience=5)
    asked = []
    for place in (10.0, 20.0, None, 40.0, 50.0):
        frame = sees({}) if place is None else sees({3: (0.9, [place, 20, place + 8, 40])})
        if not asked:
            frame = sees(found=[(3, 0.9, [place, 20, place + 8, 40])])
        tracker.step(frame, SIZE)
        boxes = frame.called_with[1]
        asked.append([round(x * SIZE[1], 2) for x in boxes[:, 0].tolist()])
    assert asked == [[], [14.0], [34.0], [44.0], [54.0]]
