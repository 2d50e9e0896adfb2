"""Resizing as the model's training saw it, in numpy.

Shapes: H×W: an image, h×w: its new size.
"""

import cv2
import numpy as np

from d2video.utils.shortest_edge import shortest_edge_size

# Pillow's weights of 8-bit images are whole numbers of 2 ** -22.
_BITS = 22


def resize_shortest_edge(image: np.ndarray, min_size: int, max_size: int) -> np.ndarray:
    """An image, uint8 (H, W, 3), resized by INPUT.MIN_SIZE_TEST and MAX_SIZE_TEST; 0: not resized."""
    if not min_size:
        return image
    height, width = image.shape[:2]
    return resize(image, shortest_edge_size(height, width, min_size, max_size))


def resize(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize uint8 (H, W, 3) to (h, w, 3), bit for bit as Pillow's antialiased BILINEAR does.

    Each axis is resized by itself, the columns first, and rounded to 8 bits. (OpenCV's resizing does not
    smooth where it shrinks, and its answers differ visibly.)
    """
    for axis in (1, 0):
        if image.shape[axis] != size[axis]:
            image = _resize_axis(image, axis, size[axis])
    return image


def _resize_axis(image: np.ndarray, axis: int, size: int) -> np.ndarray:
    first, weights = _taps(image.shape[axis], size)
    shape = [1, 1, 1]
    shape[axis] = size
    total: np.ndarray | int = 1 << (_BITS - 1)
    for tap, weight in enumerate(weights):
        # Beyond the edge the weight is 0.
        index = np.minimum(first + tap, image.shape[axis] - 1)
        total = total + image.take(index, axis).astype(np.int32) * weight.reshape(shape)
    return np.clip(np.asarray(total) >> _BITS, 0, 255).astype(np.uint8)


def _taps(old: int, new: int) -> tuple[np.ndarray, np.ndarray]:
    """The first pixel (new,) int64 that each new pixel sees, and the weights (taps, new) int32."""
    scale = old / new
    support = max(scale, 1.0)
    centre = (np.arange(new) + 0.5) * scale
    first = np.maximum((centre - support + 0.5).astype(np.int64), 0)
    last = np.minimum((centre + support + 0.5).astype(np.int64), old)
    weights = []
    total = np.zeros(new)
    for tap in range(int(np.ceil(support)) * 2 + 1):
        distance = np.abs((tap + first - centre + 0.5) * (1.0 / support))
        weight = np.where((distance < 1) & (first + tap < last), 1.0 - distance, 0.0)
        total = total + weight
        weights.append(weight)
    exact = np.stack(weights) / total
    return first, (exact * (1 << _BITS) + 0.5).astype(np.int32)


def upsample(logits: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Float32 (N, H, W) resized bilinearly to (N, h, w), without smoothing, as torch's ``interpolate``."""
    height, width = size
    resized = [cv2.resize(each, (width, height), interpolation=cv2.INTER_LINEAR) for each in logits]
    return np.stack(resized) if resized else np.zeros((0, height, width), np.float32)
