"""The text form of COCO run-length codes, taken apart without trusting it.

pycocotools reads past the end of a code that was cut off, so files from elsewhere are checked here
first. A code is a row of bytes ``48 + (more << 5) + five bits``: five bits of a number each, low
bits first, ``more`` set on all bytes of a number but its last, whose highest bit is the sign.
Numbers 0 to 2 are run lengths (background first, down the columns), every later one is the
difference from the run two places before.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

_MOST_AT_ONCE = 2**20  # numbers; a clip's masks are far fewer
_BYTES_PER_NUMBER = 7  # 35 bits: more than any run of a 32-bit pixel count needs


def decode_counts(codes: Sequence[bytes]) -> tuple[np.ndarray, np.ndarray]:
    """Run lengths of M codes at once.

    Args:
        codes: M compressed ``counts``.

    Returns:
        counts: (M, L) int64, padded with zeros to the longest code.
        well_formed: (M,) bool; False where a byte is none of the alphabet or a number is cut off
            or longer than any run can be. Such a row of ``counts`` means nothing.
    """
    lengths = np.fromiter(map(len, codes), dtype=np.int64, count=len(codes))
    well_formed = lengths > 0
    if not well_formed.any():
        return np.zeros((len(codes), 0), dtype=np.int64), well_formed
    data = np.frombuffer(b"".join(codes), dtype=np.uint8).astype(np.int64) - 48
    row = np.repeat(np.arange(len(codes)), lengths)
    more = (data & 0x20) != 0

    # The last byte of a code ends a number in any case, so that a fault stays within its row.
    code_end = np.cumsum(lengths)[lengths > 0] - 1
    number_end = ~more
    number_end[code_end] = True
    ends = np.flatnonzero(number_end)
    starts = np.concatenate([[0], ends[:-1] + 1])
    well_formed[row[(data < 0) | (data > 63)]] = False
    well_formed[row[code_end[more[code_end]]]] = False
    well_formed[row[starts[ends - starts >= _BYTES_PER_NUMBER]]] = False

    place = np.arange(len(data)) - np.repeat(starts, ends - starts + 1)
    shift = 5 * np.minimum(place, _BYTES_PER_NUMBER - 1)
    numbers = np.add.reduceat((data & 0x1F) << shift, starts)
    numbers -= ((data[ends] >> 4) & 1) << (shift[ends] + 5)

    number_row = row[starts]
    per_row = np.bincount(number_row, minlength=len(codes))
    column = np.arange(len(starts)) - np.repeat(np.cumsum(per_row) - per_row, per_row)
    # Pairs of (even, odd) runs: a sum down the pairs undoes the differences of both. The first run
    # is in no difference.
    pairs = np.zeros((len(codes), (int(per_row.max()) + 1) // 2, 2), dtype=np.int64)
    pairs.reshape(len(codes), -1)[number_row, column] = numbers
    first = pairs[:, 0, 0].copy()
    pairs[:, 0, 0] = 0
    counts = pairs.cumsum(axis=1)
    counts[:, 0, 0] = first
    counts = counts.reshape(len(codes), -1)
    counts[np.arange(counts.shape[1]) >= per_row[:, None]] = 0
    return counts, well_formed


class RunSums(NamedTuple):
    """What the runs of M codes come to.

    Attributes:
        well_formed: (M,) bool, see :func:`decode_counts`; what follows means nothing elsewhere.
        least: (M,) int64, the shortest run if it is below 0, else 0.
        total: (M,) int64, pixels that the runs cover.
    """

    well_formed: np.ndarray
    least: np.ndarray
    total: np.ndarray


def sum_counts(codes: Sequence[bytes]) -> RunSums:
    """The runs of M compressed ``counts``, in memory of the order of the codes themselves.

    Codes of like lengths are decoded together, so that no long one pads all others.
    """
    lengths = np.fromiter(map(len, codes), dtype=np.int64, count=len(codes))
    order = np.argsort(lengths, kind="stable")
    found = RunSums(np.zeros(len(codes), bool), *np.zeros((2, len(codes)), np.int64))
    first = 0
    while first < len(codes):
        # Ascending: of the rows from `first` on, each would pad those before it to its own length.
        padded = lengths[order[first:]] * np.arange(1, len(codes) - first + 1)
        rows = order[first : first + max(1, int(np.searchsorted(padded, _MOST_AT_ONCE, "right")))]
        counts, found.well_formed[rows] = decode_counts([codes[row] for row in rows])
        found.least[rows] = counts.min(axis=1, initial=0)
        found.total[rows] = counts.sum(axis=1)
        first += len(rows)
    return found


def find_mask_faults(masks: Sequence[Any], height: int, width: int) -> list[tuple[int, str]]:
    """The frames whose mask is neither None nor a sound compressed RLE of the video's size.

    Args:
        masks: one entry a frame, as read from JSON.
        height: of the video, pixels.
        width: of the video, pixels.

    Returns:
        (frame, what is wrong with it), ascending.
    """
    faults: list[tuple[int, str]] = []
    frames: list[int] = []
    codes: list[bytes] = []
    for frame, mask in enumerate(masks):
        if mask is None:
            continue
        problem = _describe_fault(mask, height, width)
        if problem is not None:
            faults.append((frame, problem))
            continue
        counts = mask["counts"]
        codes.append(
            counts if isinstance(counts, bytes) else counts.encode("utf-8", "surrogatepass")
        )
        frames.append(frame)

    runs = sum_counts(codes)
    sound = runs.well_formed & (runs.least >= 0) & (runs.total == height * width)
    for bad in np.flatnonzero(~sound).tolist():
        if not runs.well_formed[bad]:
            fault = "'counts' is not a COCO run-length code (cut off or not of its alphabet)"
        elif runs.least[bad] < 0:
            fault = "'counts' holds a run of negative length"
        else:
            fault = (
                f"the runs of 'counts' cover {runs.total[bad]} pixels, the frame has "
                f"{height * width}"
            )
        faults.append((frames[bad], fault))
    return sorted(faults)


def find_mask_fault(masks: Sequence[Any], height: int, width: int) -> tuple[int, str] | None:
    """The first of :func:`find_mask_faults`."""
    return next(iter(find_mask_faults(masks, height, width)), None)


def find_rle_fault(mask: Any, height: int, width: int) -> str | None:
    """What is wrong with an RLE of this size, compressed or, with ``counts`` a list, not."""
    if isinstance(mask, dict) and isinstance(mask.get("counts"), list):
        counts = mask["counts"]
        sound = all(type(n) is int and n >= 0 for n in counts) and sum(counts) == height * width
        if mask.get("size") != [height, width] or not sound:
            return f"it must be of the image's size and its runs sum to {height * width} pixels"
        return None
    found = find_mask_fault([mask], height, width)
    return None if found is None else found[1]


def _describe_fault(mask: Any, height: int, width: int) -> str | None:
    """What is wrong with a mask, short of its run lengths."""
    if not isinstance(mask, dict) or "size" not in mask or "counts" not in mask:
        return f"a mask is null or {{size, counts}}, not {_short(mask)}"
    if mask["size"] != [height, width]:
        return f"the mask's size is {_short(mask['size'])}, the video's [{height}, {width}]"
    if not isinstance(mask["counts"], str | bytes):
        return "'counts' must be a string (compressed RLE)"
    return None


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + "..."
