"""Baseline of trackers: detections linked by IoU."""

from collections.abc import Sequence

import numpy as np
import torch
from detectron2.structures import Boxes, Instances, pairwise_iou
from scipy.optimize import linear_sum_assignment
from torch import Tensor


def link_by_iou(
    frames: Sequence[Instances], iou_threshold: float = 0.3, max_age: int = 1
) -> list[Instances]:
    """Give detections track ids by how much their boxes overlap those of the frame before.

    SORT (Bewley et al., 2016) without the Kalman filter: tracks and detections of the same class
    are assigned to each other so that the sum of IoUs is largest; detections without a track start
    one.

    Args:
        frames: in order, with ``pred_boxes`` (XYXY) and, where classes are to be kept apart,
            ``pred_classes``; they stay as they are.
        iou_threshold: pairs that overlap less are not linked.
        max_age: for so many frames without a detection a track waits where it was last seen; 0
            ends it with the first.

    Returns:
        copies of the frames with ``track_ids`` (int64), from 0 in order of appearance.
    """
    # Live tracks, K: boxes and classes as last seen, ids, and frames since then.
    empty = torch.zeros(0, dtype=torch.int64)
    tracks = {"boxes": torch.zeros(0, 4), "classes": empty, "ids": empty, "unseen": empty}
    num_ids = 0
    linked = []
    for frame in frames:
        boxes = frame.pred_boxes.tensor.detach().cpu().float()
        classes = torch.zeros(len(frame), dtype=torch.int64)
        if frame.has("pred_classes"):
            classes = frame.pred_classes.cpu()
        overlap = pairwise_iou(Boxes(tracks["boxes"]), Boxes(boxes))
        overlap[tracks["classes"][:, None] != classes] = 0
        old, new = _assign(overlap.numpy(), iou_threshold)

        ids = torch.full((len(frame),), -1, dtype=torch.int64)
        ids[new] = tracks["ids"][old]
        fresh = ids < 0
        ids[fresh] = torch.arange(num_ids, num_ids + int(fresh.sum()))
        num_ids += int(fresh.sum())

        tracks["unseen"] += 1
        waiting = tracks["unseen"] <= max_age
        waiting[old] = False
        seen = {"boxes": boxes, "classes": classes, "ids": ids, "unseen": torch.zeros_like(ids)}
        tracks = {key: torch.cat([seen[key], tracks[key][waiting]]) for key in tracks}
        result = Instances(frame.image_size, **frame.get_fields())
        result.track_ids = ids.to(frame.pred_boxes.device)
        linked.append(result)
    return linked


def _assign(overlap: np.ndarray, threshold: float) -> tuple[Tensor, Tensor]:
    """Rows and columns of the pairs whose sum is largest, none of them below the threshold."""
    # Pairs below it must not draw others away from good ones.
    overlap = np.where(overlap >= threshold, overlap, 0)
    rows, columns = linear_sum_assignment(overlap, maximize=True)
    good = overlap[rows, columns] > 0
    return torch.from_numpy(rows[good]), torch.from_numpy(columns[good])
