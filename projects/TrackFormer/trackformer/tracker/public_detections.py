"""Tracks may start only where a detector that came with the sequence has found something.

The protocol of MOT challenges with public detections.

Shapes: D: the network's new detections, P: public boxes.
"""

import numpy as np

from d2video.utils.box_arrays import area, iou, xyxy_to_cxcywh


def supported_by_iou(boxes: np.ndarray, public: np.ndarray) -> np.ndarray:
    """Each public box, in order, supports the detection that it overlaps most, of those left.

    The IoU must be at least 0.5.

    Args:
        boxes: (D, 4) xyxy.
        public: (P, 4) xyxy.

    Returns:
        (D,) bool.
    """
    overlap = np.nan_to_num(iou(boxes, public), nan=0.0)  # two boxes without area
    return _greedy(-overlap, np.full(len(boxes), -0.5, np.float32))


def supported_by_centre(boxes: np.ndarray, public: np.ndarray) -> np.ndarray:
    """Each public box, in order, supports the detection with the nearest centre, of those left.

    The squared distance must be less than the area of the detection.

    Args:
        boxes: (D, 4) xyxy.
        public: (P, 4) xyxy.

    Returns:
        (D,) bool.
    """
    offset = xyxy_to_cxcywh(boxes)[:, None, :2] - xyxy_to_cxcywh(public)[None, :, :2]
    # "Less than" as "at most the next smaller number".
    limits = np.nextafter(area(boxes), np.float32(-np.inf))
    return _greedy(np.square(offset).sum(-1), limits)


def _greedy(cost: np.ndarray, limits: np.ndarray) -> np.ndarray:
    """Columns of the cost (D, P) in order take the cheapest row left, if within its limit (D,)."""
    taken = np.zeros(len(cost), dtype=bool)
    if len(cost):
        for column in cost.T:
            row = int(np.where(taken, np.inf, column).argmin())
            taken[row] |= column[row] <= limits[row]
    return taken


RULES = {"min_iou_0_5": supported_by_iou, "center_distance": supported_by_centre}
