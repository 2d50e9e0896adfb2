"""Sheets of pictures: what a model is trained on, by kind of sample; images side by side."""

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import torch
from detectron2.structures import BitMasks, Instances, PolygonMasks
from torch import Tensor
from torchvision.utils import make_grid

from d2video.utils.errors import UserError
from d2video.video.frame_names import image_stem
from d2video.visualization.instances import draw_instances
from d2video.visualization.labels import Label, draw_labels
from d2video.visualization.options import DrawingOptions
from d2video.visualization.primitives import enlarge, label_font_size, label_of_class

_GAP = 4  # pixels between the pictures
_CELL_SIDE = 192  # pixels of the shorter side, about, of a small picture that is enlarged
_PATCH_SIDE = 256  # at most, of a patch that is shown enlarged


def draw_sample(
    sample: dict[str, Any],
    class_names: Sequence[str] | None,
    columns: int,
    image_format: str = "RGB",
) -> tuple[np.ndarray, str]:
    """One sheet of a mapped training sample, drawn by its kind, which its keys tell.

    Args:
        sample: what a dataset mapper returned in training (docs/extend/architecture.md).
        class_names: by contiguous class index; None shows the index.
        columns: frames in a row.
        image_format: order of the sample's channels, "RGB" or "BGR".

    Returns:
        uint8 array (H,W,3), RGB, and a name for its file.

    Raises:
        UserError: the sample holds no pictures.
    """
    if "target" in sample:
        return draw_patch(sample), f"{sample['task']}.png"
    cells, name = label_cells(sample, class_names, image_format)
    return sheet(cells, columns), f"{image_stem(name)}.jpg"


def label_cells(
    sample: dict[str, Any], class_names: Sequence[str] | None, image_format: str = "RGB"
) -> tuple[list[np.ndarray], str]:
    """The pictures of a sample's frames, or of its image, with their labels, and the sample's name; for
    the arguments see :func:`draw_sample`.

    Raises:
        UserError: the sample holds no pictures.
    """
    if "previous" in sample:
        return _pair_cells(sample, class_names, image_format), sample["file_name"]
    if "frame_indices" in sample:
        return _clip_cells(sample, class_names, image_format), f"video_{sample['video_id']}"
    if "frame_index" in sample and "image" in sample:
        return _labelled_cells(sample, class_names, image_format), sample["file_name"]
    if "instances" in sample:
        cell = _cell(sample["image"], sample["instances"], "", class_names, image_format)
        return [cell], sample["file_name"]
    raise UserError(
        f"a training sample with {', '.join(sorted(sample))} cannot be drawn: "
        "choose another INPUT.DATASET_MAPPER"
    )


def _clip_cells(
    sample: dict[str, Any], class_names: Sequence[str] | None, image_format: str
) -> list[np.ndarray]:
    """The frames of a clip, each with its index in the video."""
    keys = ("image", "instances", "frame_indices")
    frames = zip(*(sample[key] for key in keys), strict=True)
    return [
        _cell(image, targets, f"{index}", class_names, image_format)
        for image, targets, index in frames
    ]


def _pair_cells(
    sample: dict[str, Any], class_names: Sequence[str] | None, image_format: str
) -> list[np.ndarray]:
    """The previous frames, the earliest first, and the frame twice: with the objects that track queries
    of the previous frame may find, and with those that are new."""
    previous, targets = sample["previous"], sample["instances"]
    known = torch.isin(targets.gt_ids, previous[0]["instances"].gt_ids)
    shown = [(each["image"], each["instances"], "previous") for each in reversed(previous)]
    shown += [(sample["image"], targets[known], "track queries")]
    shown += [(sample["image"], targets[~known], "new")]
    return [
        _cell(image, objects, caption, class_names, image_format)
        for image, objects, caption in shown
    ]


def _labelled_cells(
    sample: dict[str, Any], class_names: Sequence[str] | None, image_format: str
) -> list[np.ndarray]:
    """The frames of a clip of classification, each with its number, the first with the class."""
    label = label_of_class(sample["label"], class_names)
    numbers = [str(number) for number in sample["frame_index"].tolist()]
    captions = [f"{numbers[0]} {label}", *numbers[1:]]
    frames = [pixels_of(image, image_format) for image in sample["image"]]
    return [
        captioned(enlarge(frame, scale_of(*frame.shape[:2])), caption)
        for frame, caption in zip(frames, captions, strict=True)
    ]


def _cell(
    image: Tensor,
    targets: Instances,
    caption: str,
    class_names: Sequence[str] | None,
    image_format: str,
) -> np.ndarray:
    pixels, found = pixels_of(image, image_format), _as_predictions(targets)
    options = DrawingOptions(draw_boxes=True, scale=scale_of(*pixels.shape[:2]))
    drawn = draw_instances(pixels, found, class_names, options)
    return captioned(drawn, caption)


def scale_of(height: int, width: int) -> int:
    """By which small pictures are enlarged, so that there is room for labels."""
    return max(1, round(_CELL_SIDE / min(height, width)))


def pixels_of(image: Tensor, image_format: str) -> np.ndarray:
    """(3,h,w) to uint8 (h,w,3), RGB."""
    channels = slice(None) if image_format == "RGB" else slice(None, None, -1)
    return np.ascontiguousarray(image.permute(1, 2, 0).numpy()[:, :, channels])


def captioned(cell: np.ndarray, caption: str) -> np.ndarray:
    """Frame a picture and write a caption into its lower left corner; changes it."""
    cv2.rectangle(cell, (0, 0), (cell.shape[1] - 1, cell.shape[0] - 1), (255, 255, 255))
    if caption:
        font_size = label_font_size(cell)
        draw_labels(cell, [Label(caption, (255, 255, 255), (0, cell.shape[0]) * 2)], font_size)
    return cell


def sheet(cells: list[np.ndarray], columns: int) -> np.ndarray:
    """Pictures of one size, row by row."""
    columns = min(columns, len(cells))
    cells += [np.zeros_like(cells[0])] * (-len(cells) % columns)
    return np.vstack([np.hstack(cells[i : i + columns]) for i in range(0, len(cells), columns)])


def draw_patch(sample: dict[str, Any], restored: Tensor | None = None) -> np.ndarray:
    """One sheet of a patch for image restoration: uint8 (H,W,3), RGB; pixels are squares.

    Args:
        restored: of the target's size; it stands between the input and the target.
    """
    image, target = sample["image"], sample["target"]
    factor = target.shape[-1] // image.shape[-1]
    enlarged = image.repeat_interleave(factor, -2).repeat_interleave(factor, -1)
    panels = [enlarged, target] if restored is None else [enlarged, restored, target]
    return arrange(panels, max(1, _PATCH_SIDE // target.shape[-1]))


def _as_predictions(targets: Instances) -> Instances:
    """The objects present in one frame or image, under the field names that are drawn."""
    found = Instances(targets.image_size)
    if targets.has("gt_ids"):
        targets = targets[targets.gt_ids >= 0]
        found.track_ids = targets.gt_ids
    found.pred_boxes, found.pred_classes = targets.gt_boxes, targets.gt_classes
    if targets.has("gt_masks"):
        masks = targets.gt_masks
        if isinstance(masks, PolygonMasks):  # of detectron2's mapper
            masks = BitMasks.from_polygon_masks(masks, *targets.image_size)
        found.pred_masks = masks.tensor
    return found


def arrange(panels: list[Tensor], scale: int) -> np.ndarray:
    """Images (3,h,w) of one size in one picture, uint8 (H,W,3): four in two rows, fewer in one row.

    Args:
        scale: whole number to enlarge by; pixels stay squares.
    """
    columns = 2 if len(panels) == 4 else len(panels)
    pixels = torch.stack([panel.float().cpu() for panel in panels]).clamp(0, 255).round().byte()
    grid = make_grid(pixels, columns, padding=_GAP, pad_value=255)[:, _GAP:-_GAP, _GAP:-_GAP]
    return grid.permute(1, 2, 0).numpy().repeat(scale, 0).repeat(scale, 1)
