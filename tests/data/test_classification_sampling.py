"""Frame numbers of clips, against those of the official code (facts on VTN, 1.2 to 1.4)."""

import numpy as np
import pytest

from d2video.data.classification_sampling import (
    evaluation_frames,
    spaced_frames,
    training_frames,
)


def official(length, num_frames):
    """linspace over the clip, truncated."""
    return np.linspace(0, length - 1, num_frames).astype(np.int64)


def test_official_clip_of_16_frames_at_25_a_second():
    got = spaced_frames(5.12 * 25, 16)
    assert got[:6].tolist() == [0, 8, 16, 25, 33, 42]
    assert got[-1] == 127


@pytest.mark.parametrize("fps", [25, 30, 29.97, 60])
def test_clips_are_equally_long_at_all_rates(fps):
    rng = np.random.default_rng(0)
    clips = [training_frames(1000, fps, 5.12, 16, rng) for _ in range(50)]
    for clip in clips:
        np.testing.assert_array_equal(clip - clip[0], official(8 * 16 / 25 * fps, 16))
    starts = [clip[0] for clip in clips]
    assert min(starts) < 200
    assert max(starts) > 1000 - 5.12 * fps - 200
    assert max(clip[-1] for clip in clips) < 1000


def test_random_starts_reach_both_ends():
    rng = np.random.default_rng(0)
    clips = [training_frames(130, 25, 5.12, 16, rng) for _ in range(60)]
    assert {int(c[0]) for c in clips} == {0, 1, 2}
    assert max(c[-1] for c in clips) == 129


def test_short_video_in_training_keeps_the_distance_and_repeats_its_last_frame():
    clip = training_frames(30, 25, 5.12, 16, np.random.default_rng(0))
    assert clip.tolist() == [0, 8, 16, 25] + [29] * 12


def test_short_video_in_evaluation_is_spread():
    (clip,) = evaluation_frames(120, 25, 10, 250)
    np.testing.assert_array_equal(clip, official(120, 250))
    assert np.unique(clip).tolist() == list(range(120))


def test_full_video_evaluation():
    (clip,) = evaluation_frames(400, 30, 10, 250)
    np.testing.assert_array_equal(clip, official(300, 250))
    assert clip[-1] == 299
    (whole,) = evaluation_frames(400, 30, 0, 0)
    assert whole.tolist() == list(range(400))


def test_views_reach_from_the_beginning_to_the_end():
    views = evaluation_frames(400, 25, 4, 8, num_views=3)
    assert [int(v[0]) for v in views] == [0, 150, 300]
    assert views[-1][-1] == 399


def test_one_frame_is_the_middle_one():
    assert evaluation_frames(101, 25, 0, 1)[0].tolist() == [50]
    for clip in (training_frames(1, 25, 5.12, 4, np.random.default_rng(0)), spaced_frames(1, 4)):
        assert clip.tolist() == [0, 0, 0, 0]
