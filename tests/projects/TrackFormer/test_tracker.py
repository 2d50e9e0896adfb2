"""The tracker's rules one by one; test_tracker_golden.py has them together."""

import gc
from types import FunctionType, ModuleType, SimpleNamespace

import pytest
import torch
from d2video.projects.trackformer.config import add_trackformer_config
from d2video.projects.trackformer.network.frame_output import FrameOutput
from d2video.projects.trackformer.official import OfficialTracker
from d2video.projects.trackformer.tracker.public_detections import (
    supported_by_centre,
    supported_by_iou,
)
from d2video.projects.trackformer.tracker.reid import match_by_look, match_by_place
from d2video.projects.trackformer.tracker.tracker import Tracker
from detectron2.config import CfgNode as CN

from d2video.utils.errors import UserError

SIZE = (80, 100)
BOX = [10.0, 10, 30, 40]
FAR = [60.0, 40, 90, 70]
NEARLY = [10.0, 10, 30, 41]  # overlaps BOX by 30/31


def sees(tracks=None, found=(), classes=None, masks=None, shift=0.0):
    """A detector for one frame.

    Args:
        tracks: object to (score, box) that its track query answers; others: .05, FAR.
        found: (object, score, box) of each object query.
        classes: object to class, 0 if missing.
        masks: object to probabilities (H, W).
        shift: added to all embeddings, which are one-hot.
    """
    tracks, classes = tracks or {}, classes or {}

    def detect(embeddings, boxes):
        assert len(embeddings) == len(boxes)
        objects = [int(row.argmax()) for row in embeddings]
        rows = [(i, *tracks.get(i, (0.05, FAR))) for i in objects] + list(found)
        corners = torch.tensor([row[2] for row in rows]).reshape(-1, 4)
        corners = corners / torch.tensor([SIZE[1], SIZE[0]] * 2)
        centre, size = (corners[:, :2] + corners[:, 2:]) / 2, corners[:, 2:] - corners[:, :2]
        detect.called_with = embeddings, boxes

        def masks_of(indices):
            detect.mask_rows = indices.tolist()
            return torch.stack([masks[rows[i][0]] for i in indices])

        return FrameOutput(
            scores=torch.tensor([row[1] for row in rows]),
            classes=torch.tensor([classes.get(row[0], 0) for row in rows], dtype=torch.int64),
            boxes=torch.cat([centre, size], -1),
            embeddings=torch.eye(8)[[row[0] for row in rows]] + shift,
            masks=masks_of if masks else None,
        )

    return detect


def ids(answer):
    return answer.track_ids.tolist()


def seen(score=0.9, box=BOX):
    return {0: (score, box)}


START = sees(found=[(0, 0.9, BOX)])
NOTHING = sees()


# ---- one track ----------------------------------------------------------------------------------


def test_answer():
    tracker = Tracker()
    first = tracker.step(sees(found=[(3, 0.7, [-5.0, 10, 120, 40]), (4, 0.3, FAR)]), SIZE)
    assert first.image_size == SIZE
    assert first.pred_boxes.tensor.tolist() == [pytest.approx([-5, 10, 120, 40], abs=1e-4)]
    assert first.scores.tolist() == [pytest.approx(0.7)]
    assert ids(first) == [0]
    assert first.track_ids.dtype == first.pred_classes.dtype == torch.int64
    assert not first.has("pred_masks")
    second = sees({3: (0.8, BOX)}, [(1, 0.9, FAR)])
    answer = tracker.step(second, SIZE)
    assert ids(answer) == [0, 1]
    assert answer.pred_boxes.tensor[0].tolist() == pytest.approx(BOX, abs=1e-4)
    embeddings, boxes = second.called_with
    assert embeddings.tolist() == torch.eye(8)[[3]].tolist()
    assert boxes.tolist() == [pytest.approx([57.5 / 100, 25 / 80, 125 / 100, 30 / 80])]


def test_an_answer_may_be_changed():
    tracker = Tracker()
    answer = tracker.step(START, SIZE)
    answer.pred_boxes.scale(2, 2)
    answer.track_ids += 7
    second = sees(seen())
    assert ids(tracker.step(second, SIZE)) == [0]
    assert second.called_with[1].tolist() == [pytest.approx([0.2, 25 / 80, 0.2, 30 / 80])]


def test_no_tracks_and_no_detections():
    tracker = Tracker()
    for frame in (NOTHING, NOTHING, START, NOTHING, NOTHING):
        answer = tracker.step(frame, SIZE)
    assert len(answer) == len(tracker.active) == len(tracker.inactive) == 0
    assert answer.pred_boxes.tensor.shape == (0, 4)


def test_clip_boxes():
    tracker = Tracker(clip_boxes=True)
    answer = tracker.step(sees(found=[(3, 0.7, [-5.0, -1, 120, 90])]), SIZE)
    assert answer.pred_boxes.tensor.tolist() == [[0, 0, 100, 80]]


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
        assert answer.pred_classes.tolist() == wanted
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
        assert answer.pred_boxes.tensor[0].tolist() == pytest.approx(BOX, abs=1e-4)
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


# ---- what the official code does differently ----------------------------------------------------


def tracker_of(official):
    return OfficialTracker if official else Tracker


@pytest.mark.parametrize("official", [False, True])
def test_tracks_that_come_back_by_query(official):
    tracker = tracker_of(official)(inactive_patience=2, steps_termination=2)
    tracker.step(START, SIZE)
    for _ in range(3):
        tracker.step(NOTHING, SIZE)
    assert tracker.inactive.inactive.tolist() == [2]
    assert ids(tracker.step(sees(seen()), SIZE)) == [0]
    assert tracker.active.inactive.tolist() == ([2] if official else [0])
    assert tracker.active.unseen.tolist() == ([2] if official else [0])
    # Officially a single miss now ends it, as though it had been missed before.
    assert len(tracker.step(NOTHING, SIZE)) == (0 if official else 1)


@pytest.mark.parametrize("official", [False, True])
def test_tracks_that_come_back_by_a_detection(official):
    tracker = tracker_of(official)(inactive_patience=2, reid_greedy=True)
    tracker.step(START, SIZE)
    tracker.step(NOTHING, SIZE)
    assert tracker.inactive.inactive.tolist() == [1]
    answer = tracker.step(sees(found=[(5, 0.8, NEARLY), (6, 0.8, FAR)]), SIZE)
    assert ids(answer) == [0, 1]
    assert answer.pred_boxes.tensor[0].tolist() == pytest.approx(NEARLY, abs=1e-4)
    assert tracker.active.embeddings.argmax(1).tolist() == [5, 6]
    assert tracker.active.inactive.tolist() == [0, 0]
    assert tracker.active.unseen.tolist() == ([1, 0] if official else [0, 0])


@pytest.mark.parametrize("official", [False, True])
def test_suppressed_tracks(official):
    """Two tracks meet: the one with the lower score, the older one here, rests until they part."""
    tracker = tracker_of(official)(inactive_patience=3)
    start = [10.0, 12, 30, 60]
    tracker.step(sees(found=[(0, 0.9, start), (1, 0.9, FAR)]), SIZE)
    met = sees({0: (0.7, NEARLY), 1: (0.8, BOX)})
    assert ids(tracker.step(met, SIZE)) == [1]
    assert tracker.inactive.ids.tolist() == ([] if official else [0])
    if not official:  # as it was before it was suppressed
        assert tracker.inactive.boxes.tolist() == [pytest.approx(start, abs=1e-4)]
        assert tracker.inactive.scores.tolist() == [pytest.approx(0.9)]
    assert ids(tracker.step(met, SIZE)) == [1]
    apart = sees({0: (0.7, FAR), 1: (0.8, BOX)})
    assert ids(tracker.step(apart, SIZE)) == ([1] if official else [1, 0])


@pytest.mark.parametrize("patience", [-1, 0, 2])
def test_suppressed_tracks_have_no_new_patience(patience):
    """A duplicate that always sees the other track's object is asked as long as any lost track."""
    tracker = Tracker(inactive_patience=patience)
    tracker.step(sees(found=[(0, 0.9, BOX), (1, 0.9, FAR)]), SIZE)
    asked = []
    for _ in range(5):
        met = sees({0: (0.8, BOX), 1: (0.7, NEARLY)})
        assert ids(tracker.step(met, SIZE)) == [0]
        asked.append(len(met.called_with[0]))
    assert asked == [2] * (1 + max(patience, 0)) + [1] * (4 - max(patience, 0))


@pytest.mark.parametrize("official", [False, True])
def test_suppressed_births(official):
    tracker = tracker_of(official)()
    tracker.step(START, SIZE)
    second = sees(seen(0.5), [(1, 0.99, NEARLY), (2, 0.9, FAR)])
    answer = tracker.step(second, SIZE)
    assert ids(answer) == ([0, 2] if official else [0, 1])
    assert answer.scores[0].item() == pytest.approx(0.5)  # the known track stays, however sure
    third = sees({0: (0.9, BOX), 2: (0.9, FAR)}, [(4, 0.9, [40.0, 5, 50, 15])])
    assert ids(tracker.step(third, SIZE))[-1] == (3 if official else 2)


def test_a_track_suppressed_among_detections_rests_as_it_was():
    """A detection brings back a track onto an active one: not a duplicate, and no new patience."""
    for official in (False, True):
        tracker = tracker_of(official)(inactive_patience=4, reid_greedy=True)
        tracker.step(sees(found=[(0, 0.9, BOX), (1, 0.9, [10.0, 10, 30, 60])]), SIZE)
        tracker.step(sees({0: (0.9, BOX)}), SIZE)
        assert tracker.inactive.inactive.tolist() == [1]
        answer = tracker.step(sees({0: (0.9, BOX)}, [(3, 0.9, NEARLY)]), SIZE)
        assert ids(answer) == [0]
        assert tracker.inactive.ids.tolist() == ([] if official else [1])
        assert tracker.inactive.inactive.tolist() == ([] if official else [2])


def test_nms_can_be_off():
    tracker = Tracker(track_nms_thresh=0, detection_nms_thresh=0)
    two = [(0, 0.9, BOX), (1, 0.8, NEARLY)]
    assert ids(tracker.step(sees(found=two), SIZE)) == [0, 1]
    assert ids(tracker.step(sees({0: (0.9, BOX), 1: (0.8, BOX)}), SIZE)) == [0, 1]


@pytest.mark.parametrize("official", [False, True])
def test_box_of_a_resting_track(official):
    """With reid_similarity_only, one that its query has moved stands, officially, where it was."""
    tracker = tracker_of(official)(reid_similarity_only=True, inactive_patience=3)
    tracker.step(START, SIZE)
    answer = tracker.step(sees(seen(box=FAR)), SIZE)
    assert ids(answer) == [0]
    assert answer.pred_boxes.tensor.tolist() == [pytest.approx(FAR, abs=1e-4)]
    assert len(tracker.active) == 0
    wanted = BOX if official else FAR
    assert tracker.inactive.boxes.tolist() == [pytest.approx(wanted, abs=1e-4)]


# ---- re-identification by detections ------------------------------------------------------------


def test_similarity_needs_a_positive_threshold():
    for threshold, wanted in ((0.0, [1]), (0.01, [0])):
        tracker = Tracker(
            inactive_patience=2, reid_score_thresh=1, reid_similarity_thresh=threshold
        )
        tracker.step(START, SIZE)
        tracker.step(NOTHING, SIZE)
        assert ids(tracker.step(sees(seen(), [(0, 0.9, FAR)]), SIZE)) == wanted
    equal = torch.ones(1, 4)
    assert match_by_look(equal, equal, 0.0)[0].tolist() == []


def test_match_by_look():
    tracks = torch.tensor([[0.0, 0], [1, 0], [9, 9]])
    detections = torch.tensor([[1.2, 0], [0.1, 0]])
    for threshold, wanted in ((1.0, ([0, 1], [1, 0])), (0.15, ([0], [1]))):
        rows, columns = match_by_look(tracks, detections, threshold)
        assert (rows.tolist(), columns.tolist()) == wanted


def test_match_by_place():
    tracks = torch.tensor([[0.0, 0, 10, 10], [0, 0, 12, 10], [50, 50, 60, 60], [0, 0, 100, 100]])
    detections = torch.tensor(
        [[1.0, 0, 11, 10], [3, 0, 13, 10], [50, 61, 60, 71], [40, 40, 41, 41]]
    )
    # The first takes the nearest, the second what is left; the third's is too far by a hair; for
    # the last, the detection at hand is too small.
    rows, columns = match_by_place(tracks, detections)
    assert (rows.tolist(), columns.tolist()) == ([0, 1], [0, 1])
    detections[2, 1::2] -= 1  # exactly its area away
    rows, columns = match_by_place(tracks, detections)
    assert (rows.tolist(), columns.tolist()) == ([0, 1, 2], [0, 1, 2])


# ---- public detections --------------------------------------------------------------------------


def test_supported_by_iou():
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 11], [50, 50, 60, 60]])
    public = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 10], [50, 50, 60, 70], [0, 0, 10, 10]])
    assert supported_by_iou(boxes, public[:1]).tolist() == [True, False, False]
    # A detection serves once: the second public box takes the second best. 1/2 is enough.
    assert supported_by_iou(boxes, public).tolist() == [True, True, True]
    public[2, 3] += 0.1
    assert supported_by_iou(boxes, public).tolist() == [True, True, False]
    assert supported_by_iou(boxes, public[:0]).tolist() == [False] * 3
    assert supported_by_iou(boxes[:0], public).tolist() == []


def test_supported_by_centre():
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 2, 2], [50, 50, 60, 60]])
    public = torch.tensor([[0.0, 0, 4, 4], [54, 59, 56, 79]])
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
    assert ids(tracker.step(found, SIZE, torch.zeros(0, 5))) == []
    answer = tracker.step(found, SIZE, torch.tensor([[*FAR, 0.2]], dtype=torch.float64))
    assert ids(answer) == [0]
    assert answer.pred_boxes.tensor.tolist() == [pytest.approx(FAR, abs=1e-4)]
    assert ids(tracker.step(sees({1: (0.9, FAR)}), SIZE, torch.zeros(0, 4))) == [0]
    with pytest.raises(UserError, match="public detections wanted .*PUBLIC_DETECTIONS.*has none"):
        tracker.step(NOTHING, SIZE)


# ---- masks --------------------------------------------------------------------------------------


def maps(**values):
    """Object ("o0" …) to a constant probability."""
    return {int(name[1:]): torch.full(SIZE, value) for name, value in values.items()}


def test_masks_of_answered_rows_only():
    probabilities = maps(o0=0.6, o1=0.7, o2=0.99)
    probabilities[0][:10] = 0.8
    probabilities[1][:, :20] = 0.5
    frame = sees(found=[(2, 0.3, BOX), (0, 0.9, BOX), (1, 0.9, FAR)], masks=probabilities)
    tracker = Tracker()
    answer = tracker.step(frame, SIZE)
    assert frame.mask_rows == [1, 2]
    first = torch.zeros(SIZE, dtype=torch.bool)
    first[:10] = first[:, :20] = True
    assert answer.pred_masks.dtype == torch.bool
    assert answer.pred_masks.tolist() == [first.tolist(), (~first).tolist()]
    half = sees({1: (0.9, FAR)}, [(2, 0.9, BOX)], masks=maps(o1=0.5, o2=0.4))
    answer = tracker.step(half, SIZE)
    assert half.mask_rows == [1, 2]  # row 0, track 0, has gone
    assert not answer.pred_masks.any()
    empty = sees(masks=maps(o0=1.0))
    assert tracker.step(empty, SIZE).pred_masks.shape == (0, *SIZE)
    assert not hasattr(empty, "mask_rows")
    assert tracker._masks is None  # nothing is kept if no track is answered unseen


def test_masks_of_unseen_tracks():
    """Such a track keeps its mask, which goes before all others."""
    tracker = Tracker(steps_termination=2)
    left = torch.zeros(SIZE)
    left[:, :30] = 0.6
    both = [(0, 0.9, BOX), (1, 0.9, FAR)]
    tracker.step(sees(found=both, masks={0: left, 1: 1 - left}), SIZE)
    frame = sees({1: (0.9, FAR)}, [(2, 0.9, [50.0, 5, 60, 15])], masks=maps(o1=0.95, o2=0.2))
    answer = tracker.step(frame, SIZE)
    assert frame.mask_rows == [1, 2]
    assert ids(answer) == [0, 1, 2]
    assert answer.pred_masks[0].tolist() == (left > 0.5).tolist()
    assert answer.pred_masks[1].tolist() == (left < 0.5).tolist()
    assert not answer.pred_masks[2].any()
    nothing = sees(masks=maps(o3=0.0))
    answer = tracker.step(nothing, SIZE)
    assert ids(answer) == [1, 2]
    assert answer.pred_masks[0].tolist() == (left < 0.5).tolist()


# ---- state, settings ----------------------------------------------------------------------------


def tensors_of(tracker: Tracker) -> tuple[int, int]:
    """How many can be reached from it, and the bytes that they hold."""
    found, upcoming, seen = [], [tracker], {}
    while upcoming:
        thing = upcoming.pop()
        if id(thing) in seen or isinstance(thing, type | ModuleType | FunctionType):
            continue
        seen[id(thing)] = thing
        if isinstance(thing, torch.Tensor):
            found.append(thing)
        upcoming += gc.get_referents(thing)
    return len(found), sum(tensor.untyped_storage().nbytes() for tensor in found)


@pytest.mark.parametrize("frames", [300, pytest.param(10_000, marks=pytest.mark.slow)])
def test_the_state_does_not_grow(frames):
    """Tracks start, overlap, are missed and come back; of all that nothing stays."""
    generator = torch.Generator().manual_seed(0)
    identity = torch.eye(4)
    corner = torch.tensor([[0.2, 0.2], [0.2, 0.21], [0.6, 0.6], [0.8, 0.2]])
    boxes = torch.cat([corner, torch.full((4, 2), 0.2)], 1)
    small = (8, 10)
    masks = torch.rand(4, *small, generator=generator)

    def detect(embeddings, _):
        rows = embeddings.argmax(1) if len(embeddings) else torch.zeros(0, dtype=torch.int64)
        rows = torch.cat([rows, torch.arange(4)])
        scores = torch.rand(len(rows), generator=generator)
        classes = torch.zeros_like(rows)
        return FrameOutput(scores, classes, boxes[rows], identity[rows], lambda m: masks[rows[m]])

    tracker = Tracker(inactive_patience=3, steps_termination=2)

    def run(count):
        most = 0
        for _ in range(count):
            tracker.step(detect, small)
            most = max(most, len(tracker.active) + len(tracker.inactive))
        return most

    run(frames // 3)
    first_count, first_bytes = tensors_of(tracker)
    most = run(frames - frames // 3)
    count, size = tensors_of(tracker)
    assert count <= first_count + 4
    one_track = masks[0].numel() + 200  # bytes
    assert size <= first_bytes + most * one_track
    assert 3 < most < 50
    assert tracker._next_id > frames / 20  # much has happened
    for tracks in (tracker.active, tracker.inactive):
        for value in vars(tracks).values():  # no column hangs on to a frame's whole output
            assert value.untyped_storage().nbytes() <= 8 * value.numel()


def test_embeddings_have_no_history():
    weight = torch.ones(1, requires_grad=True)

    def detect(embeddings, boxes):
        output = START(embeddings, boxes)
        output.embeddings = output.embeddings * weight
        return output

    tracker = Tracker()
    tracker.step(detect, SIZE)
    assert not tracker.active.embeddings.requires_grad


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"detection_score_thresh": 1.1}, "TRACKER.DETECTION_SCORE_THRESH is 1.1"),
        ({"track_score_thresh": -0.1}, "TRACKER.TRACK_SCORE_THRESH is -0.1"),
        ({"detection_nms_thresh": 2}, "TRACKER.DETECTION_NMS_THRESH is 2"),
        ({"track_nms_thresh": float("nan")}, "TRACKER.TRACK_NMS_THRESH is nan"),
        ({"reid_score_thresh": 1.1}, "TRACKER.REID_SCORE_THRESH is 1.1"),
        ({"reid_similarity_thresh": -1}, "TRACKER.REID_SIMILARITY_THRESH is -1"),
        ({"steps_termination": 0}, "TRACKER.STEPS_TERMINATION is 0"),
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
        "STEPS_TERMINATION": ("steps_termination", 4),
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


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an accelerator")
def test_accelerator():
    def on_gpu(frame):
        def detect(embeddings, boxes):
            output = frame(embeddings.cpu(), boxes.cpu())
            inner = output.masks
            values = {n: getattr(output, n).cuda() for n in ("scores", "classes", "boxes")}
            masks = (lambda rows: inner(rows.cpu()).cuda()) if inner else None
            return FrameOutput(**values, embeddings=output.embeddings.cuda(), masks=masks)

        return detect

    probabilities = maps(o0=0.6, o1=0.7)
    frames = [
        sees(found=[(0, 0.9, BOX), (1, 0.8, FAR)], masks=probabilities),
        sees({0: (0.9, BOX)}, masks=probabilities),
        sees({0: (0.9, BOX), 1: (0.7, BOX)}, [(1, 0.9, FAR)], masks=probabilities),
    ]
    for settings in ({"steps_termination": 2}, {"inactive_patience": 3}):
        settings["reid_similarity_thresh"] = 0.1
        cpu, gpu = Tracker(**settings), Tracker(**settings)
        for frame in frames:
            wanted, answer = cpu.step(frame, SIZE), gpu.step(on_gpu(frame), SIZE)
            assert ids(answer) == ids(wanted)
            assert torch.equal(answer.pred_masks.cpu(), wanted.pred_masks)
        assert gpu.active.embeddings.is_cuda
