"""Box formats and overlaps for set prediction.

Shapes: N, M: numbers of boxes. "cxcywh" is (centre x, centre y, width, height), "xyxy" is (x0, y0, x1, y1).
"""

import torch
from torch import Tensor


def box_cxcywh_to_xyxy(boxes: Tensor) -> Tensor:
    """(..., 4) cxcywh to xyxy."""
    centre, size = boxes[..., :2], boxes[..., 2:]
    return torch.cat([centre - size / 2, centre + size / 2], dim=-1)


def box_xyxy_to_cxcywh(boxes: Tensor) -> Tensor:
    """(..., 4) xyxy to cxcywh."""
    low, high = boxes[..., :2], boxes[..., 2:]
    return torch.cat([(low + high) / 2, high - low], dim=-1)


def _area(boxes: Tensor) -> Tensor:
    return (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])


def box_iou(a: Tensor, b: Tensor, eps: float = 0.0) -> tuple[Tensor, Tensor]:
    """Intersection over union of boxes paired by broadcasting.

    For all pairs of (N, 4) and (M, 4) pass ``a[:, None]`` and ``b[None]``; equal shapes give the
    element-wise form.

    Args:
        a, b: (..., 4) xyxy, broadcastable.
        eps: added to both the intersection and the union (VisTR uses 1e-6, DETR 0).

    Returns:
        iou (...) and union (...), the union without ``eps``.
    """
    low = torch.maximum(a[..., :2], b[..., :2])
    high = torch.minimum(a[..., 2:], b[..., 2:])
    size = (high - low).clamp(min=0)
    intersection = size[..., 0] * size[..., 1]
    union = _area(a) + _area(b) - intersection
    return (intersection + eps) / (union + eps), union


def generalized_box_iou(a: Tensor, b: Tensor, eps: float = 0.0) -> Tensor:
    """Generalised IoU (Rezatofighi et al., 2019, eq. 4) of boxes paired by broadcasting.

    Args:
        a, b: (..., 4) xyxy, broadcastable; x1 >= x0 and y1 >= y0.
        eps: added to numerators and denominators alike (VisTR 1e-6, DETR 0).

    Returns:
        (...) in (-1, 1].
    """
    iou, union = box_iou(a, b, eps)
    size = torch.maximum(a[..., 2:], b[..., 2:]) - torch.minimum(a[..., :2], b[..., :2])
    hull = size[..., 0] * size[..., 1]
    return iou - ((hull - union) + eps) / (hull + eps)
