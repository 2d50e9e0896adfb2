"""Nearest sampling by the rules of torch and of Pillow, in numpy."""

import numpy as np


def resize_nearest(images: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(..., h, w) at another size (..., H, W), as torch's ``interpolate`` with "nearest"."""
    for axis, new in zip((-2, -1), size, strict=True):
        if images.shape[axis] != new:
            images = images.take(nearest_in_torch(images.shape[axis], new), axis)
    return images


def nearest_in_torch(old: int, new: int) -> np.ndarray:
    """Which of ``old`` cells each of ``new`` cells takes, (new,) int64, as torch's "nearest" does."""
    scale = np.float32(old) / np.float32(new)
    return np.minimum((np.arange(new, dtype=np.float32) * scale).astype(np.int64), old - 1)


def nearest_in_pillow(old: int, new: int) -> np.ndarray:
    """As :func:`nearest_in_torch`, by Pillow's rule: the cell under the middle. Pillow adds the step again
    and again, and the rounding of its sums decides ties."""
    scale = old / new
    places = np.cumsum(np.concatenate([[scale * 0.5], np.full(new - 1, scale)]))
    return np.minimum(places.astype(np.int64), old - 1)
