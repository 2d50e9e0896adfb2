"""Masks of answered and of unseen tracks."""

import numpy as np
from d2video.projects.trackformer.tracker.tracker import Tracker

from tests.projects.TrackFormer.tracker.seen_frames import BOX, FAR, SIZE, ids, maps, sees


def test_masks_of_answered_rows_only():
    probabilities = maps(o0=0.6, o1=0.7, o2=0.99)
    probabilities[0][:10] = 0.8
    probabilities[1][:, :20] = 0.5
    frame = sees(found=[(2, 0.3, BOX), (0, 0.9, BOX), (1, 0.9, FAR)], masks=probabilities)
    tracker = Tracker()
    answer = tracker.step(frame, SIZE)
    assert frame.mask_rows == [1, 2]
    first = np.zeros(SIZE, bool)
    first[:10] = first[:, :20] = True
    assert answer.masks.dtype == bool
    assert answer.masks.tolist() == [first.tolist(), (~first).tolist()]
    half = sees({1: (0.9, FAR)}, [(2, 0.9, BOX)], masks=maps(o1=0.5, o2=0.4))
    answer = tracker.step(half, SIZE)
    assert half.mask_rows == [1, 2]  # row 0, track 0, has gone
    assert not answer.masks.any()
    empty = sees(masks=maps(o0=1.0))
    assert tracker.step(empty, SIZE).masks.shape == (0, *SIZE)
    assert not hasattr(empty, "mask_rows")
    assert tracker._owners is None  # nothing is kept if no track is answered unseen


def test_masks_of_unseen_tracks():
    """Such a track keeps its mask, which goes before all others."""
    tracker = Tracker(steps_termination=2)
    left = np.zeros(SIZE, np.float32)
    left[:, :30] = 0.6
    both = [(0, 0.9, BOX), (1, 0.9, FAR)]
    tracker.step(sees(found=both, masks={0: left, 1: 1 - left}), SIZE)
    frame = sees({1: (0.9, FAR)}, [(2, 0.9, [50.0, 5, 60, 15])], masks=maps(o1=0.95, o2=0.2))
    answer = tracker.step(frame, SIZE)
    assert frame.mask_rows == [1, 2]
    assert ids(answer) == [0, 1, 2]
    assert answer.masks[0].tolist() == (left > 0.5).tolist()
    assert answer.masks[1].tolist() == (left < 0.5).tolist()
    assert not answer.masks[2].any()
    nothing = sees(masks=maps(o3=0.0))
    answer = tracker.step(nothing, SIZE)
    assert ids(answer) == [1, 2]
    assert answer.masks[0].tolist() == (left < 0.5).tolist()


def test_of_equal_probabilities_the_older_track_has_the_pixel():
    tracker = Tracker(steps_termination=2)
    both = [(0, 0.9, BOX), (1, 0.9, FAR)]
    halves = maps(o0=0.0, o1=0.0)
    halves[0][:40] = halves[1][40:] = 1.0
    tracker.step(sees(found=both, masks=halves), SIZE)
    # Track 0 is seen everywhere, for certain; track 1 is not, and stays where it was.
    answer = tracker.step(sees({0: (0.9, BOX)}, masks=maps(o0=1.0)), SIZE)
    assert ids(answer) == [0, 1]
    assert answer.masks[0].all()
    # Now the other way round.
    tracker.reset()
    tracker.step(sees(found=both, masks=halves), SIZE)
    answer = tracker.step(sees({1: (0.9, FAR)}, masks=maps(o1=1.0)), SIZE)
    assert answer.masks[0].tolist() == (halves[0] == 1).tolist()
    assert answer.masks[1].tolist() == (halves[1] == 1).tolist()
