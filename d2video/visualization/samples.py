"""Sheets of pictures: the frames of a training clip, images side by side."""

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import torch
from detectron2.structures import Instances
from torch import Tensor
from torchvision.utils import make_grid

from d2video.visualization.instances import draw_instances

_GAP = 4  # pixels between the pictures
_PATCH_SIDE = 256  # at most, of a patch that is shown enlarged


def draw_clip(
    sample: dict[str, Any], class_names: Sequence[str], columns: int, image_format: str = "RGB"
) -> np.ndarray:
    """One sheet with the frames of a mapped training clip.

    Args:
        sample: what a dataset mapper returned in training (docs/architecture.md).
        class_names: by contiguous class index.
        columns: frames in a row.
        image_format: order of the sample's channels, "RGB" or "BGR".

    Returns:
        uint8 array (rows * h, columns * w, 3), RGB; each frame carries its index in the video.
    """
    channels = slice(None) if image_format == "RGB" else slice(None, None, -1)
    cells = []
    for image, targets, index in zip(
        sample["image"], sample["instances"], sample["frame_indices"], strict=True
    ):
        pixels = np.ascontiguousarray(image.permute(1, 2, 0).numpy()[:, :, channels])
        cell = draw_instances(pixels, _as_predictions(targets), class_names, draw_boxes=True)
        cv2.rectangle(cell, (0, 0), (cell.shape[1] - 1, cell.shape[0] - 1), (255, 255, 255))
        place = (3, cell.shape[0] - 4)
        for colour, thickness in (((0, 0, 0), 3), ((255, 255, 255), 1)):
            cv2.putText(cell, f"{index}", place, cv2.FONT_HERSHEY_SIMPLEX, 0.5, colour, thickness)
        cells.append(cell)
    columns = min(columns, len(cells))
    cells += [np.zeros_like(cells[0])] * (-len(cells) % columns)
    return np.vstack([np.hstack(cells[i : i + columns]) for i in range(0, len(cells), columns)])


def draw_patch(sample: dict[str, Any]) -> np.ndarray:
    """One sheet of a patch for image restoration: uint8 (H,W,3), RGB; pixels are squares."""
    image, target = sample["image"], sample["target"]
    factor = target.shape[-1] // image.shape[-1]
    enlarged = image.repeat_interleave(factor, -2).repeat_interleave(factor, -1)
    return arrange([enlarged, target], max(1, _PATCH_SIDE // target.shape[-1]))


def _as_predictions(targets: Instances) -> Instances:
    """The objects present in one frame, under the field names that are drawn."""
    shown = targets[targets.gt_ids >= 0]
    return Instances(
        shown.image_size,
        pred_boxes=shown.gt_boxes,
        pred_classes=shown.gt_classes,
        pred_masks=shown.gt_masks.tensor,
        track_ids=shown.gt_ids,
    )


def arrange(panels: list[Tensor], scale: int) -> np.ndarray:
    """Images (3,h,w) of one size in one picture, uint8 (H,W,3): four in two rows, fewer in one row.

    Args:
        scale: whole number to enlarge by; pixels stay squares.
    """
    columns = 2 if len(panels) == 4 else len(panels)
    pixels = torch.stack([panel.float().cpu() for panel in panels]).clamp(0, 255).round().byte()
    grid = make_grid(pixels, columns, padding=_GAP, pad_value=255)[:, _GAP:-_GAP, _GAP:-_GAP]
    return grid.permute(1, 2, 0).numpy().repeat(scale, 0).repeat(scale, 1)
