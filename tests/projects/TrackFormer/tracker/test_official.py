"""What the official tracker does otherwise."""

import pytest
from d2video.projects.trackformer.tracker.official import OfficialTracker
from d2video.projects.trackformer.tracker.tracker import Tracker
from d2video.projects.trackformer.training.official import OfficialTrackQuerySampler

from tests.projects.TrackFormer.tiny import NODE, build
from tests.projects.TrackFormer.tracker.seen_frames import (
    BOX,
    FAR,
    NEARLY,
    NOTHING,
    SIZE,
    START,
    ids,
    seen,
    sees,
)


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
    assert answer.boxes[0].tolist() == pytest.approx(NEARLY, abs=1e-4)
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
    assert answer.boxes.tolist() == [pytest.approx(FAR, abs=1e-4)]
    assert len(tracker.active) == 0
    wanted = BOX if official else FAR
    assert tracker.inactive.boxes.tolist() == [pytest.approx(wanted, abs=1e-4)]


def test_config_chooses():
    keys = (f"{NODE}.TRACKER.OFFICIAL", f"{NODE}.OFFICIAL_SAMPLING")
    for official in (False, True):
        model = build("detr", *(x for key in keys for x in (key, official)))
        assert type(model._tracker) is tracker_of(official)
        assert isinstance(model.sampler, OfficialTrackQuerySampler) == official
