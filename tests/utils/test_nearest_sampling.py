"""Nearest sampling against torch and Pillow."""

import numpy as np
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from d2video.utils.nearest_sampling import nearest_in_pillow, nearest_in_torch, resize_nearest


@settings(max_examples=80, deadline=None)
@given(st.integers(1, 70), st.integers(1, 300))
def test_nearest_pixels(old, new):
    line = Image.fromarray(np.arange(old, dtype=np.int32)[:, None])
    pillow = np.asarray(line.resize((1, new), Image.Resampling.NEAREST))[:, 0]
    np.testing.assert_array_equal(nearest_in_pillow(old, new), pillow)
    cells = torch.arange(old, dtype=torch.float32)[None, None]
    in_torch = F.interpolate(cells, size=new, mode="nearest")[0, 0].long().numpy()
    np.testing.assert_array_equal(nearest_in_torch(old, new), in_torch)


def test_masks_are_resized_as_by_torch():
    random = np.random.default_rng(0)
    for _ in range(60):
        old, new = (tuple(map(int, random.integers(1, 900, 2))) for _ in range(2))
        rows, columns = (np.arange(size, dtype=np.float32) for size in old)
        image = rows[:, None] * 1000 + columns
        wanted = F.interpolate(torch.from_numpy(image)[None, None], new, mode="nearest")[0, 0]
        assert np.array_equal(resize_nearest(image, new), wanted.numpy())
