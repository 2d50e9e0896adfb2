import json
import re

import numpy as np
import pytest

from d2video.config import get_cfg
from d2video.data.clip_sampling import RandomRangeSampler, WindowSampler, build_clip_sampler
from d2video.utils.errors import UserError
from tests.helpers import GOLDEN as GOLDEN_DIR

GOLDEN = json.loads((GOLDEN_DIR / "vistr_data.json").read_text())


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.mark.parametrize("case", GOLDEN["training_clip_indices"])
def test_window_equals_official_vistr(case, rng):
    length, num_frames, key_frame = map(int, re.findall(r"\d+", case))
    indices = WindowSampler(num_frames=num_frames)(length, key_frame, rng)
    assert indices == GOLDEN["training_clip_indices"][case]


@pytest.mark.parametrize("key_frame", [0, 3, 20, 39])
def test_random_range_draws_distinct_frames_around_the_key_frame(key_frame, rng):
    sampler = RandomRangeSampler(num_frames=5, frame_range=6)
    seen = set()
    for _ in range(300):
        indices = sampler(40, key_frame, rng)
        assert len(set(indices)) == 5
        assert indices == sorted(indices)
        assert key_frame in indices
        seen |= set(indices)
    # At the ends the range moves inwards; everywhere it holds 13 frames.
    first = min(max(key_frame - 6, 0), 40 - 13)
    assert seen == set(range(first, first + 13))


def test_random_range_widens_to_hold_the_clip(rng):
    assert RandomRangeSampler(num_frames=7, frame_range=1)(7, 2, rng) == list(range(7))


@pytest.mark.parametrize("length", [1, 2, 3])
def test_short_videos_repeat_cyclically(length, rng):
    window = WindowSampler(num_frames=4)(length, length - 1, rng)
    assert RandomRangeSampler(num_frames=4, frame_range=20)(length, length - 1, rng) == window
    assert set(window) == set(range(length))


def test_reproducibility(rng):
    sampler = RandomRangeSampler(num_frames=6, frame_range=10)
    clips = [sampler(30, 12, rng) for _ in range(20)]
    again = np.random.default_rng(0)
    assert clips == [sampler(30, 12, again) for _ in range(20)]


def test_built_from_config():
    cfg = get_cfg()
    assert build_clip_sampler(cfg).num_frames == cfg.INPUT.CLIP.NUM_FRAMES
    cfg.INPUT.CLIP.SAMPLER = "RandomRangeSampler"
    cfg.INPUT.CLIP.RANGE = 3
    assert build_clip_sampler(cfg).frame_range == 3
    cfg.INPUT.CLIP.SAMPLER = "Nearest"
    with pytest.raises(UserError, match=r"INPUT\.CLIP\.SAMPLER is 'Nearest'.*WindowSampler"):
        build_clip_sampler(cfg)
    cfg.INPUT.CLIP.NUM_FRAMES = 0
    with pytest.raises(UserError, match="NUM_FRAMES is 0"):
        build_clip_sampler(cfg)
