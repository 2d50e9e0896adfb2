"""Training targets of a clip: boxes, classes, track ids and masks of all objects in all frames."""

from collections.abc import Sequence

import numpy as np
import pycocotools.mask as mask_util
import torch
from detectron2.structures import BitMasks, Boxes, Instances
from fvcore.transforms.transform import Transform
from torch import Tensor

from d2video.data.records import Annotation, xyxy_box
from d2video.formats.geometry.rle import to_rle
from d2video.formats.geometry.segmentation import find_segmentation_faults
from d2video.utils.errors import BrokenFile, UserError


def clip_instances(
    annotations: Sequence[Sequence[Annotation]],
    classes: dict[int, int],
    size: tuple[int, int],
    new_size: tuple[int, int],
    transforms: Transform,
    *,
    official: bool = False,
    with_masks: bool = True,
    clip_boxes: bool = True,
) -> list[Instances]:
    """Targets of the frames of a clip after the transforms.

    Row i of every frame is the same object, the i-th of ``classes``. An object is absent from a
    frame (``gt_ids`` -1, zero box, empty mask) where it is not annotated, where its box has no area
    and where the transforms leave nothing of its box or mask in the image; objects that are absent
    from all frames are dropped.

    Args:
        annotations: F frames, each the annotations of the objects in it.
        classes: {track id: class} of the objects to describe.
        size: height and width of the frames before the transforms.
        new_size: and after them.
        transforms: geometry that the frames went through.
        official: as the official VisTR code: the zero boxes of absent objects go through the
            transforms like others (a flip makes them (W,0,W,0)), objects that a crop removes stay
            present with degenerate boxes, and none is dropped.
        with_masks: False: masks are neither read nor returned, and boxes alone tell presence.
        clip_boxes: False: boxes reach beyond the image where the annotations or the transforms have
            them do so. What of them is inside tells presence all the same.

    Returns:
        F Instances with ``gt_boxes`` (XYXY, pixels, inside the image if clipped), ``gt_classes``,
        ``gt_ids`` (int64) and, with masks, ``gt_masks`` (BitMasks).

    Raises:
        BrokenFile: a mask is damaged.
        UserError: it is missing.
    """
    row = {track: i for i, track in enumerate(classes)}
    kept = [[a for a in frame if a["id"] in row] for frame in annotations]
    present = np.zeros((len(kept), len(row)), bool)
    boxes = np.zeros((len(kept), len(row), 4))
    for f, frame in enumerate(kept):
        rows = [row[a["id"]] for a in frame]
        present[f, rows] = True
        for i, a in zip(rows, frame, strict=True):
            boxes[f, i] = xyxy_box(a)

    sound = _have_area(boxes)  # a flip would turn a box of negative size into one of positive size
    boxes = transforms.apply_box(boxes.reshape(-1, 4)).reshape(boxes.shape)
    # Where the frame is in the image after the transforms, which may pad it.
    corners = np.array([[0.0, 0.0, size[1], size[0]]])
    frame_area = transforms.apply_box(corners).clip(0, np.tile(new_size[::-1], 2)).reshape(2, 2)
    inside = boxes.clip(np.tile(frame_area[0], 2), np.tile(frame_area[1], 2))
    boxes = inside if clip_boxes else boxes
    masks = None
    if with_masks:
        masks = torch.zeros(*present.shape, *new_size, dtype=torch.bool)
        source = _source_pixels(size, transforms)
        check_masks(kept, size)
        for f, frame in enumerate(kept):
            if frame:
                masks[f, [row[a["id"]] for a in frame]] = _masks(frame, size, source)

    keep = np.arange(len(row))
    if not official:
        present &= sound & _have_area(inside)
        if masks is not None:
            present &= masks.flatten(2).any(-1).numpy()
            masks[torch.from_numpy(~present)] = False
        boxes[~present] = 0
        keep = np.flatnonzero(present.any(axis=0))
    ids = np.where(present, np.fromiter(row, np.int64, len(row)), -1)
    gt_classes = torch.tensor([*classes.values()], dtype=torch.int64)[keep]
    targets = []
    for f in range(len(kept)):
        targets.append(
            Instances(
                new_size,
                gt_boxes=Boxes(torch.from_numpy(boxes[f, keep].astype(np.float32))),
                gt_classes=gt_classes.clone(),
                gt_ids=torch.from_numpy(ids[f, keep]),
            )
        )
        if masks is not None:
            targets[-1].gt_masks = BitMasks(masks[f, keep])
    return targets


def _have_area(boxes: np.ndarray) -> np.ndarray:
    """(...,4) XYXY boxes -> bool (...)."""
    return np.all(boxes[..., 2:] > boxes[..., :2], axis=-1)


def _source_pixels(size: tuple[int, int], transforms: Transform) -> Tensor:
    """For each output pixel the source pixel it shows, as an index into a column-major mask.

    Masks go through all transforms in one gather instead of one pass a mask and transform. 0 stands
    for pixels from outside the frame, source pixels count from 1. int64 (h,w).
    """
    height, width = size
    # float64, exact for any frame size, because not every transform takes integers.
    index = np.arange(1, height * width + 1, dtype=np.float64).reshape(width, height).T
    return torch.from_numpy(transforms.apply_segmentation(index).astype(np.int64))


def check_masks(annotations: Sequence[Sequence[Annotation]], size: tuple[int, int]) -> None:
    """Refuse damaged masks: pycocotools reads past the end of such RLE, and worse.

    ``annotations`` are those of each frame, whose height and width is ``size``.

    Raises:
        BrokenFile: a mask is damaged or of another size.
        UserError: there is none.
    """
    if not all("segmentation" in a for frame in annotations for a in frame):
        raise UserError(
            "an object has no segmentation; complete the annotation file, set MODEL.MASK_ON False, "
            "or choose a mapper for a model of boxes"
        )
    objects = [a for frame in annotations for a in frame]
    for k, fault in find_segmentation_faults([a["segmentation"] for a in objects], *size):
        raise BrokenFile(
            f"the mask of object {objects[k]['id']}: {fault}: correct the annotation file"
        )


def _masks(frame: Sequence[Annotation], size: tuple[int, int], source: Tensor) -> Tensor:
    """Masks of the annotations of one frame after the transforms, bool (N,h,w)."""
    decoded = mask_util.decode([to_rle(a["segmentation"], *size) for a in frame])
    # uint8 (H,W,N), column-major: a row of the transpose is a mask in the order of `source`.
    flat = np.zeros((len(frame), size[0] * size[1] + 1), np.uint8)
    flat[:, 1:] = decoded.T.reshape(len(frame), -1)
    gathered = torch.from_numpy(flat).index_select(1, source.flatten())
    return gathered.view(-1, *source.shape).bool()
