"""Eleven runs of the official tracker on a scripted world (tests/golden/README.md)."""

import json

import numpy as np
import pytest
from d2video.projects.trackformer.tracker.official import OfficialTracker
from d2video.projects.trackformer.tracker.tracker import Tracker
from d2video.projects.trackformer.tracker.tracks import Tracks

from tests.helpers.golden_io import GOLDEN
from tests.projects.TrackFormer.tracker.scripted_detector import ScriptedDetector

NUM_FRAMES = 18
WORLD = json.loads((GOLDEN / "trackformer_5_tracker_world.json").read_text())
RESULTS = json.loads((GOLDEN / "trackformer_5_tracker_results.json").read_text())

# Runs of which the whole state is stored.
STATES = {
    "A_default": {},
    "B_reid_strict": {
        "detection_score_thresh": 0.6,
        "track_score_thresh": 0.5,
        "inactive_patience": 5,
    },
    "C_reid_official": {"inactive_patience": 5},
    "E_reid_greedy": {"inactive_patience": 5, "reid_score_thresh": 1, "reid_greedy": True},
    "I_steps2_nonms_clip_dist2": {
        "detection_nms_thresh": 0,
        "track_nms_thresh": 0,
        "steps_termination": 2,
        "inactive_patience": 2,
        "clip_boxes": True,
    },
    "K_masks": {"inactive_patience": 5},
}
# Runs of which the track queries are stored: boxes and embeddings of the active and the inactive.
# Their settings are not, beyond what the names say; those below are the ones that reproduce them.
QUERIES = {
    "D_reid_similarity": (
        "sparse",
        {"inactive_patience": 5, "reid_score_thresh": 1, "reid_similarity_thresh": 1.0},
    ),
    "F_reid_sim_only_dense": (
        "dense",
        {
            "inactive_patience": 3,
            "reid_score_thresh": 1,
            "reid_similarity_thresh": 1.0,
            "reid_similarity_only": True,
        },
    ),
    "G_public_iou_dense": (
        "dense",
        {"inactive_patience": 5, "public_detections": "min_iou_0_5"},
    ),
    "H_public_center_dense": ("dense", {"public_detections": "center_distance"}),
    "J_dense_default": ("dense", {}),
}


def step(tracker, detector, frame):
    public = np.reshape(WORLD["public_dets"][frame], (-1, 4))
    return tracker.step(detector, tuple(WORLD["orig_size"]), public)


def check_state(tracks: Tracks, wanted: list[list]) -> None:
    """Stored are id, object, inactive, unseen, score and box of each track."""
    objects = tracks.embeddings[:, :8].argmax(1) if len(tracks) else tracks.ids
    counts = np.stack([tracks.ids, objects, tracks.inactive, tracks.unseen], axis=1)
    assert counts.tolist() == [track[:4] for track in wanted]
    check_boxes(tracks.scores, tracks.boxes, wanted)


def check_boxes(scores: np.ndarray, boxes: np.ndarray, wanted: list[list]) -> None:
    scores_of = [track[4] for track in wanted]
    boxes_of = [track[5] for track in wanted]
    np.testing.assert_allclose(scores, scores_of, atol=1e-6)
    np.testing.assert_allclose(boxes, np.reshape(boxes_of, (-1, 4)), atol=1e-4)


@pytest.mark.parametrize("name", STATES)
def test_states_and_answers(name):
    detector = ScriptedDetector(WORLD, RESULTS[name]["script"])
    tracker = OfficialTracker(**STATES[name])
    for frame, wanted in enumerate(RESULTS[name]["frames"]):
        answer = step(tracker, detector, frame)
        check_state(tracker.active, wanted["tracks"])
        check_state(tracker.inactive, wanted["inactive"])
        assert answer.ids.tolist() == [track[0] for track in wanted["tracks"]]
        check_boxes(answer.scores, answer.boxes, wanted["tracks"])
        assert answer.classes.tolist() == [0] * len(answer)
    assert frame == NUM_FRAMES - 1


@pytest.mark.parametrize("name", QUERIES)
def test_track_queries(name):
    archive = np.load(GOLDEN / "trackformer_5_tracker_io.npz")
    script, settings = QUERIES[name]
    detector = ScriptedDetector(WORLD, script)
    tracker = OfficialTracker(**settings)
    for frame in range(NUM_FRAMES):
        step(tracker, detector, frame)
    assert len(detector.asked[0][0]) == 0
    for frame in range(1, NUM_FRAMES):
        embeddings, boxes = detector.asked[frame]
        stored = f"{name}/frame{frame:02d}/track_query_"
        np.testing.assert_allclose(boxes, archive[f"{stored}boxes"], atol=1e-6)
        np.testing.assert_allclose(embeddings, archive[f"{stored}hs_embeds"], atol=1e-6)


def test_masks():
    """Stored for every third frame."""
    archive = np.load(GOLDEN / "trackformer_5_tracker_io.npz")
    width = WORLD["orig_size"][1]
    detector = ScriptedDetector(WORLD, "sparse", masks=True)
    tracker = OfficialTracker(**STATES["K_masks"])
    for frame in range(NUM_FRAMES):
        answer = step(tracker, detector, frame)
        assert detector.masked_rows == [len(answer)]
        detector.masked_rows.clear()
        if frame % 3 == 0:
            packed = archive[f"K_masks/frame{frame:02d}/track_masks_packed"]
            masks = np.unpackbits(packed, axis=-1)[..., :width].astype(bool)
            assert masks.any(axis=(1, 2)).any()
            assert (answer.masks != masks).mean() < 1e-5
        else:
            assert answer.masks.sum(0).max() == 1


def test_corrected_patience():
    """Object 1 (id 1), lost in frames 5-7 and 10-12, is known again in frame 13.

    Officially its patience of 5 is used up by then.
    """
    detector = ScriptedDetector(WORLD, "sparse")
    tracker = Tracker(inactive_patience=5)
    ids = []
    for frame in range(NUM_FRAMES):
        answer = step(tracker, detector, frame)
        is_object = tracker.active.embeddings[:, :8].argmax(1) == 1
        ids.append(answer.ids[is_object].tolist())
        assert answer.ids.max() < tracker._next_id
    assert ids == [[1]] * 5 + [[]] * 3 + [[1]] * 2 + [[]] * 3 + [[1]] * 5


def test_corrected_ids_have_no_gaps():
    detector = ScriptedDetector(WORLD, "sparse")
    tracker = Tracker()
    ids = [step(tracker, detector, frame).ids for frame in range(NUM_FRAMES)]
    distinct = np.unique(np.concatenate(ids)).tolist()
    assert distinct == list(range(len(distinct)))
    assert len(distinct) == len({t[0] for f in RESULTS["A_default"]["frames"] for t in f["tracks"]})
