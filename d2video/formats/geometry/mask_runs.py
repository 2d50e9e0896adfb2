"""Where the runs of masks begin: what run-length codes are made of."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class MaskRuns(NamedTuple):
    """The runs of N masks, each H×W.

    Attributes:
        starts: (R,) int64, places in the (N, W, H) array where a pixel differs from the one before, or,
            at the beginning of a mask, from background; ascending.
        per_mask: (N,) int64, how many of them are in each mask.
        size: H and W.
    """

    starts: np.ndarray
    per_mask: np.ndarray
    size: tuple[int, int]

    def split(self, counts: Sequence[int]) -> list["MaskRuns"]:
        """The runs of the first masks, of the next ones, and so on, as many as ``counts`` say."""
        parts, pixels, mask, run = [], self.size[0] * self.size[1], 0, 0
        for count in counts:
            per_mask = self.per_mask[mask : mask + count]
            starts = self.starts[run : run + per_mask.sum()]
            parts.append(MaskRuns(starts - mask * pixels, per_mask, self.size))
            mask, run = mask + count, run + len(starts)
        return parts


def runs_of_masks(masks: np.ndarray) -> MaskRuns:
    """The runs of masks (N, H, W) bool."""
    count, height, width = masks.shape
    covered = np.any(masks, axis=0)
    rows = np.flatnonzero(covered.any(axis=1))
    if not rows.size:
        return MaskRuns(np.zeros(0, np.int64), np.zeros(count, np.int64), (height, width))
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
    return MaskRuns(starts.astype(np.int64), np.bincount(mask, minlength=count), (height, width))
