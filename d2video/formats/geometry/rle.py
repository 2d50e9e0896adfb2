"""Masks as COCO run-length codes.

Shapes: N: masks or tracks, L: frames, H×W: image.
"""

import itertools
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from pycocotools import mask as coco_mask

# Pixels that are looked at together: what a processor's cache holds.
_BATCH_PIXELS = 2**22
# pycocotools.mask.area (2.0.11, numpy 2) fails on longer lists: it puts their length in a byte. Its
# encode, decode, toBbox, merge, iou and frPyObjects take 70,000 masks.
_AREA_BATCH = 255


def encode_masks(masks: ArrayLike) -> list[dict]:
    """(N, H, W) bool to N compressed RLE dicts ``{"size": [H, W], "counts": bytes}``.

    The codes are those of ``pycocotools.mask.encode``. COCO counts run down the columns, and instead
    of transposing every pixel only the few where a run begins are put in that order, which takes a
    quarter of the time (tracks of 360x640 on a CPU). Masks that lie in the same part of the image,
    as those of a track do, are quickest together.
    """
    masks = np.asarray(masks)
    count, height, width = masks.shape
    batch = max(_BATCH_PIXELS // max(height * width, 1), 1)
    batches = (masks[start : start + batch] for start in range(0, count, batch))
    return [*itertools.chain.from_iterable(map(_encode_batch, batches))]


def encode_tracks(masks: ArrayLike) -> list[list[dict | None]]:
    """(N, L, H, W) bool to N lists of L compressed RLE dicts, None where a mask is empty."""
    masks = np.asarray(masks)
    empty = empty_mask(*masks.shape[2:])
    return [[None if rle == empty else rle for rle in encode_masks(track)] for track in masks]


def empty_mask(height: int, width: int) -> dict[str, Any]:
    """The compressed RLE of a mask without pixels."""
    return coco_mask.frPyObjects(
        {"size": [height, width], "counts": [height * width]}, height, width
    )


def encode_labels(labels: np.ndarray) -> dict[int, dict]:
    """(H, W) whole numbers to the compressed RLE of each number but 0, ascending.

    All pixels are looked at once, however many numbers there are.
    """
    height, width = labels.shape
    columns = labels.ravel(order="F")
    starts = np.flatnonzero(columns[1:] != columns[:-1]) + 1
    starts = np.concatenate([[0], starts])
    ends = np.append(starts[1:], columns.size)
    values = columns[starts]
    runs = np.argsort(values, kind="stable")
    runs = runs[values[runs] != 0]
    numbers, first = np.unique(values[runs], return_index=True)
    codes = []
    for own in np.split(runs, first[1:]) if len(runs) else ():
        borders = np.stack([starts[own], ends[own]], axis=1).ravel()
        counts = np.diff(borders, prepend=0, append=columns.size).astype(np.uint32)
        codes.append({"size": [height, width], "counts": counts if counts[-1] else counts[:-1]})
    masks = coco_mask.frPyObjects(codes, height, width) if codes else []
    return dict(zip(numbers.tolist(), masks, strict=True))


def encode_part(part: np.ndarray, top: int, left: int, height: int, width: int) -> dict[str, Any]:
    """A mask that lies in a rectangle of an H×W image, ``part`` bool (h, w), as compressed RLE.

    The time is that of the rectangle, not of the image.
    """
    # With background above and below, no run goes on in the next column.
    rows, columns = part.shape
    framed = np.zeros((columns, rows + 2), bool)
    framed[:, 1:-1] = part.T
    flat = framed.ravel()
    column, y = np.divmod(np.flatnonzero(flat[1:] != flat[:-1]), rows + 2)
    starts = (column + left) * height + y + top
    # Where one run ends and the next begins at once, in the next column, they are one.
    meet = np.flatnonzero(np.diff(starts) == 0)
    starts = np.delete(starts, [*meet, *(meet + 1)])
    starts = starts[starts < height * width]
    counts = np.diff(starts, prepend=0, append=height * width)
    return coco_mask.frPyObjects(
        {"size": [height, width], "counts": counts.tolist()}, height, width
    )


def mask_areas(masks: list[dict[str, Any]]) -> np.ndarray:
    """Pixels of N compressed RLEs, (N,) int64."""
    batches = [masks[i : i + _AREA_BATCH] for i in range(0, len(masks), _AREA_BATCH)]
    return np.concatenate([np.zeros(0, np.int64), *map(coco_mask.area, batches)])


def to_rle(segmentation: list | dict, height: int, width: int) -> dict:
    """Sound polygons, uncompressed or compressed RLE of an H×W image as compressed RLE."""
    if isinstance(segmentation, list):
        return coco_mask.merge(coco_mask.frPyObjects(segmentation, height, width))
    if isinstance(segmentation["counts"], list):
        return coco_mask.frPyObjects(segmentation, height, width)
    return segmentation


def _encode_batch(masks: np.ndarray) -> list[dict]:
    """(N, H, W) bool to N compressed RLE dicts."""
    count, height, width = masks.shape
    pixels = height * width
    starts, per_mask = _run_starts(masks)
    # With the end of every mask put in, all run lengths are differences of neighbours.
    number = np.arange(count)
    ends = np.cumsum(per_mask) + number
    borders = np.empty(len(starts) + count, np.int64)
    borders[np.arange(len(starts)) + np.repeat(number, per_mask)] = starts
    borders[ends] = (number + 1) * pixels
    runs = np.diff(borders, prepend=0).astype(np.uint32)
    cuts = [0, *(ends + 1).tolist()]
    codes = [
        {"size": [height, width], "counts": runs[first:last]}
        for first, last in itertools.pairwise(cuts)
    ]
    return coco_mask.frPyObjects(codes, height, width)


def _run_starts(masks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where runs begin, except each mask's first run of background.

    Returns:
        starts: ascending places in the (N, W, H) array that the counts are defined on.
        per_mask: (N,) how many of them are in each mask.
    """
    count, height, width = masks.shape
    covered = np.any(masks, axis=0)
    rows = np.flatnonzero(covered.any(axis=1))
    if not rows.size:
        return np.zeros(0, dtype=np.int64), np.zeros(count, dtype=np.int64)
    top, bottom = int(rows[0]), int(rows[-1]) + 1
    columns = np.flatnonzero(covered[top:bottom].any(axis=0))
    left, right = int(columns[0]), min(int(columns[-1]) + 2, width)
    # A run may go on from the foot of a column to the head of the next. Otherwise a row of
    # background on both sides is enough.
    if top == 0 or bottom == height:
        top, bottom = 0, height
    else:
        top, bottom = top - 1, bottom + 1
    part = masks[:, top:bottom, left:right]
    changes = np.empty(part.shape, dtype=bool)
    np.not_equal(part[:, 1:], part[:, :-1], out=changes[:, 1:])
    np.not_equal(part[:, 0, 1:], part[:, -1, :-1], out=changes[:, 0, 1:])
    changes[:, 0, 0] = part[:, 0, 0]

    # Half the width halves the time of the divisions and of the sort.
    index = np.int32 if masks.size < 2**31 else np.int64
    row, x = np.divmod(np.flatnonzero(changes).astype(index), index(right - left))
    mask, y = np.divmod(row, index(bottom - top))
    starts = (mask * width + x + left) * height + y + top
    starts.sort()
    return starts, np.bincount(mask, minlength=count)
