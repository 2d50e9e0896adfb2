"""Corruptions against the official ones, and generated rain."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from d2video.projects.ipt.corruption import add_noise, add_rain, cut_rain, downscale, generate_rain

from tests.helpers.golden_io import GOLDEN


@pytest.fixture(scope="module")
def golden():
    with np.load(GOLDEN / "ipt_degradation_contrastive.npz") as archive:
        return {key: torch.from_numpy(archive[key]) for key in archive.files}


@pytest.mark.parametrize(("task", "scale"), [(0, 2), (1, 3), (2, 4)])
def test_downscaling_is_the_official_one(golden, task, scale):
    hr, lr = golden[f"task{task}.hr"], golden[f"task{task}.lr"]
    assert torch.equal(downscale(hr, scale), lr)
    assert torch.equal(downscale(hr[0], scale), lr[0])
    unpadded = F.interpolate(hr, lr.shape[-2:], mode="bicubic", antialias=True)
    assert not torch.equal(unpadded.round().clamp(0, 255), lr)


def test_rain_is_the_official_one(golden):
    assert torch.equal(add_rain(golden["task3.hr"], golden["rain"]), golden["task3.lr"])


@pytest.mark.parametrize(("task", "sigma"), [(4, 30), (5, 50)])
def test_noise_is_the_official_one(golden, task, sigma):
    hr, lr = golden[f"task{task}.hr"], golden[f"task{task}.lr"]
    noisy = add_noise(hr, sigma, np.random.RandomState(1234 + task))
    assert noisy.dtype == torch.float32
    assert torch.equal(noisy, lr.float())
    free = add_noise(hr.double(), sigma, np.random.RandomState(1234 + task), clamp=False)
    assert free.min() < 0
    assert free.max() > 255
    assert torch.equal(free.clamp(0, 255), lr)


def test_generated_rain_is_sparse_bright_and_directed():
    seen = [generate_rain(96, 128, np.random.default_rng(seed)) for seed in range(20)]
    assert all(rain.shape == (1, 96, 128) and rain.dtype == torch.float32 for rain in seen)
    assert all(rain.min() >= 0 and 20 < rain.max() <= 160 for rain in seen)
    assert torch.equal(seen[3], generate_rain(96, 128, np.random.default_rng(3)))
    # Streaks lean 30 degrees at most: neighbours one above the other are more alike.
    down = torch.stack([(rain[:, 1:] - rain[:, :-1]).abs().mean() for rain in seen])
    across = torch.stack([(rain[..., 1:] - rain[..., :-1]).abs().mean() for rain in seen])
    assert (down < across).all()


def test_cut_rain():
    rng = np.random.default_rng(0)
    streaks = np.arange(20 * 30, dtype=np.uint16).reshape(20, 30).astype(np.uint8)
    cut = cut_rain([streaks], 7, 9, rng)
    windows = np.lib.stride_tricks.sliding_window_view(streaks, (7, 9))
    assert (windows == cut[0].numpy()).all((2, 3)).any()
    # Repeated where it is too small.
    large = cut_rain([streaks], 50, 31, rng)
    assert large.shape == (1, 50, 31)
    assert torch.equal(large[:, :20], large[:, 20:40])
    corners = {float(cut_rain([streaks[:3, :3]], 2, 2, rng)[0, 0, 0]) for _ in range(60)}
    assert corners == {0, 1, 30, 31}
