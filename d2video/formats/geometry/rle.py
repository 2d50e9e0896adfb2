"""Masks as COCO run-length codes.

Shapes: N: masks or tracks, L: frames, H×W: image.
"""

import itertools
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from pycocotools import mask as coco_mask

from d2video.formats.geometry.mask_runs import MaskRuns, runs_of_masks

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
    codes = (encode_runs(runs_of_masks(each)) for each in batches)
    return [*itertools.chain.from_iterable(codes)]


def encode_runs(runs: MaskRuns) -> list[dict]:
    """N masks, of which the runs are known, as :func:`encode_masks` gives them."""
    height, width = runs.size
    pixels, count = height * width, len(runs.per_mask)
    # With the end of every mask put in, all run lengths are differences of neighbours.
    number = np.arange(count)
    ends = np.cumsum(runs.per_mask) + number
    borders = np.empty(len(runs.starts) + count, np.int64)
    borders[np.arange(len(runs.starts)) + np.repeat(number, runs.per_mask)] = runs.starts
    borders[ends] = (number + 1) * pixels
    lengths = np.diff(borders, prepend=0).astype(np.uint32)
    cuts = [0, *(ends + 1).tolist()]
    codes = [
        {"size": [height, width], "counts": lengths[first:last]}
        for first, last in itertools.pairwise(cuts)
    ]
    return coco_mask.frPyObjects(codes, height, width) if codes else []


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
    """A mask within a rectangle of an H×W image, ``part`` bool (h, w), as compressed RLE.

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
