"""Tracks may start only where a detector that came with the sequence has found something.

The protocol of MOT challenges with public detections.

Shapes: D: the network's new detections, P: public boxes.
"""

import torch
from torch import Tensor

from d2video.structures.boxes import box_iou, box_xyxy_to_cxcywh


def supported_by_iou(boxes: Tensor, public: Tensor) -> Tensor:
    """Each public box, in order, supports the detection that it overlaps most, of those left.

    The IoU must be at least 0.5.

    Args:
        boxes: (D, 4) xyxy.
        public: (P, 4) xyxy.

    Returns:
        (D,) bool.
    """
    iou, _ = box_iou(boxes[:, None], public[None])
    iou = iou.nan_to_num(0.0)  # two boxes without area
    return _greedy(-iou, torch.full((len(boxes),), -0.5))


def supported_by_centre(boxes: Tensor, public: Tensor) -> Tensor:
    """Each public box, in order, supports the detection with the nearest centre, of those left.

    The squared distance must be less than the area of the detection.

    Args:
        boxes: (D, 4) xyxy.
        public: (P, 4) xyxy.

    Returns:
        (D,) bool.
    """
    offset = box_xyxy_to_cxcywh(boxes)[:, None, :2] - box_xyxy_to_cxcywh(public)[None, :, :2]
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    # "Less than" as "at most the next smaller number".
    return _greedy(offset.square().sum(-1), area.nextafter(torch.tensor(-torch.inf)))


def _greedy(cost: Tensor, limits: Tensor) -> Tensor:
    """Columns of the cost (D, P) in order take the cheapest row left, if within its limit (D,)."""
    taken = torch.zeros(len(cost), dtype=torch.bool)
    if len(cost):
        for column in cost.unbind(1):
            row = int(column.masked_fill(taken, torch.inf).argmin())
            taken[row] |= column[row] <= limits[row]
    return taken


RULES = {"min_iou_0_5": supported_by_iou, "center_distance": supported_by_centre}
