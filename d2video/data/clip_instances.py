"""Training targets of a clip: boxes, classes, track ids and masks of all objects in all frames."""

from collections.abc import Sequence

import numpy as np
import torch
from detectron2.structures import BitMasks, Boxes, Instances
from fvcore.transforms.transform import Transform

from d2video.data.records import Annotation, xyxy_box
from d2video.formats.geometry.rle import to_rle
from d2video.formats.geometry.rle_checks import decode_counts
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
        with_masks: False: masks are neither read nor returned, and presence is read from boxes only.
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
        check_masks(kept, size)
        masks = np.zeros((*present.shape, *new_size), bool)
        filled = _fill_masks(masks, kept, row, size, transforms)

    keep = np.arange(len(row))
    if not official:
        present &= sound & _have_area(inside)
        if masks is not None:
            present &= filled
            masks[~present] = False
        boxes[~present] = 0
        keep = np.flatnonzero(present.any(axis=0))
        if masks is not None and len(keep) < len(row):
            masks = masks[:, keep]
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
            targets[-1].gt_masks = BitMasks(torch.from_numpy(masks[f]))
    return targets


def _have_area(boxes: np.ndarray) -> np.ndarray:
    """(...,4) XYXY boxes -> bool (...)."""
    return np.all(boxes[..., 2:] > boxes[..., :2], axis=-1)


class _SourcePixels:
    """For each output pixel the source pixel it shows.

    Masks go through all transforms in one gather instead of one pass a mask and transform.

    Attributes:
        index: int64 (h,w), places in a column-major mask. 0 means pixels from outside the frame,
            source pixels count from 1.
    """

    def __init__(self, size: tuple[int, int], transforms: Transform) -> None:
        height, width = size
        # float64, exact for any frame size, because not every transform takes integers.
        index = np.arange(1, height * width + 1, dtype=np.float64).reshape(width, height).T
        self.index = transforms.apply_segmentation(index).astype(np.int64)
        self._seen = _extent(self.index.any(1)), _extent(self.index.any(0))
        inner = self.index[self._seen]
        # The source row of each row in there and source column of each column, unless the frame is turned.
        self._axes: tuple[np.ndarray, np.ndarray] | None = None
        if inner.size:
            y, x = (inner[:, 0] - 1) % height, (inner[0] - 1) // height
            if np.array_equal(inner, 1 + y[:, None] + x * height):
                self._axes = y, x

    def showing(self, box: tuple[int, int, int, int]) -> tuple[slice, slice]:
        """The rows and the columns that may show a part of the source.

        Args:
            box: its first and last row and column.
        """
        if self._axes is None:
            return self._seen
        (y, x), (top, bottom, left, right) = self._axes, box
        shown = _extent((y >= top) & (y <= bottom)), _extent((x >= left) & (x <= right))
        rows, columns = (
            slice(seen.start + each.start, seen.start + each.stop)
            for seen, each in zip(self._seen, shown, strict=True)
        )
        return rows, columns


def _extent(flags: np.ndarray) -> slice:
    """From the first True of (N,) to the last."""
    places = np.flatnonzero(flags)
    return slice(int(places[0]), int(places[-1]) + 1) if len(places) else slice(0, 0)


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


def _fill_masks(
    masks: np.ndarray,
    frames: Sequence[Sequence[Annotation]],
    row: dict[int, int],
    size: tuple[int, int],
    transforms: Transform,
) -> np.ndarray:
    """Set the pixels of sound masks after the transforms; return which are not empty, bool (F,N).

    Args:
        masks: bool (F,N,h,w), all False.
        frames: F, each the annotations of the objects in it.
        row: {id: place among the N objects}.
        size: height and width of the frames before the transforms.
    """
    filled = np.zeros(masks.shape[:2], bool)
    places = [(f, row[a["id"]], a) for f, frame in enumerate(frames) for a in frame]
    if not places:
        return filled
    codes = [to_rle(a["segmentation"], *size)["counts"] for *_, a in places]
    counts, per_code, _ = decode_counts([c if isinstance(c, bytes) else c.encode() for c in codes])
    source, height = _SourcePixels(size, transforms), size[0]
    for (f, n, _), runs in zip(places, np.split(counts, np.cumsum(per_code)[:-1]), strict=True):
        borders = np.cumsum(runs)
        borders = borders[
            : len(borders) // 2 * 2
        ]  # of the foreground: where it begins, where it ends
        if not len(borders):
            continue
        first, last = int(borders[0]), int(borders[-1]) - 1
        y, spans = borders[::2] % height, borders[1::2] - borders[::2]
        goes_on = (y + spans > height).any()  # of a run, in the next column
        top, bottom = (0, height - 1) if goes_on else (y.min(), (y + spans).max() - 1)
        region = source.showing((top, bottom, first // height, last // height))
        # The mask from its first to its last pixel, between two of background.
        pixels = np.zeros(last - first + 3, bool)
        pixels[1:-1] = np.repeat(np.arange(len(borders) - 1) % 2 == 0, np.diff(borders))
        part = pixels.take(source.index[region] - first, mode="clip")
        masks[f, n][region] = part
        filled[f, n] = part.any()
    return filled
