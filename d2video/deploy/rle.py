"""COCO's compressed run-length codes, in numpy."""

from typing import Any

import numpy as np

# A count is at most seven groups of five bits: an image has fewer than 2 ** 34 pixels.
_GROUPS = 7


def encode_mask(mask: np.ndarray) -> dict[str, Any]:
    """A mask (H, W) bool as ``{"size": [H, W], "counts": text}``, as ``pycocotools.mask.encode`` gives it."""
    height, width = mask.shape
    flat = mask.ravel(order="F")
    borders = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    start = [0] if flat.size and flat[0] else []  # codes begin with background
    counts = np.diff(np.concatenate([start, borders, [flat.size]]), prepend=0).astype(np.int64)
    return {"size": [height, width], "counts": _compressed(counts)}


def _compressed(counts: np.ndarray) -> str:
    """From the fourth on, a count is written as the difference to the last but one; five bits a
    character, the lowest first, whose sixth bit says that more follow."""
    values = counts.copy()
    values[3:] -= counts[1:-2]
    rest = values[:, None] >> (5 * np.arange(_GROUPS + 1))
    bits = rest[:, :-1] & 31
    after = rest[:, 1:]
    # It ends where what is left is only the sign, which the fifth bit has.
    ends = np.where(bits & 16, after == -1, after == 0)
    last = ends.argmax(1)
    group = np.arange(_GROUPS)
    characters = (bits | np.where(group < last[:, None], 32, 0)) + 48
    return characters[group <= last[:, None]].astype(np.uint8).tobytes().decode("ascii")
