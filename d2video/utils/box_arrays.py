"""Boxes as numpy arrays: formats, overlaps and non-maximum suppression.

For code that runs without torch; ``d2video.structures.boxes`` has the same for tensors. "cxcywh" is
(centre x, centre y, width, height), "xyxy" is (x0, y0, x1, y1).
"""

import numpy as np


def cxcywh_to_xyxy(boxes: np.ndarray) -> np.ndarray:
    """(..., 4) cxcywh to xyxy."""
    centre, half = boxes[..., :2], boxes[..., 2:] / 2
    return np.concatenate([centre - half, centre + half], axis=-1)


def xyxy_to_cxcywh(boxes: np.ndarray) -> np.ndarray:
    """(..., 4) xyxy to cxcywh."""
    low, high = boxes[..., :2], boxes[..., 2:]
    return np.concatenate([(low + high) / 2, high - low], axis=-1)


def area(boxes: np.ndarray) -> np.ndarray:
    """(...) of (..., 4) xyxy."""
    return (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])


def iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(n, m) intersections over unions of boxes (n, 4) and (m, 4) xyxy; NaN where neither has an area."""
    a, b = a[:, None], b[None]
    size = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
    size = np.maximum(size, 0)
    intersection = size[..., 0] * size[..., 1]
    with np.errstate(invalid="ignore", divide="ignore"):
        return intersection / (area(a) + area(b) - intersection)


def nms(boxes: np.ndarray, scores: np.ndarray, threshold: float) -> np.ndarray:
    """Non-maximum suppression, as ``torchvision.ops.nms`` does it.

    Args:
        boxes: (n, 4) xyxy.
        scores: (n,); of equal ones the first goes before.
        threshold: greatest IoU of two boxes that are both left.

    Returns:
        the boxes that are left, (m,) int64, from the highest score on.
    """
    order = np.argsort(-scores, kind="stable")
    overlaps = iou(boxes[order], boxes[order]).astype(np.float64) > threshold
    left = np.ones(len(order), dtype=bool)
    # Only boxes that overlap a later one can suppress any.
    for place in np.flatnonzero(np.triu(overlaps, 1).any(1)):
        if left[place]:
            left[place + 1 :] &= ~overlaps[place, place + 1 :]
    return order[left]
