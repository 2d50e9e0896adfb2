"""The text form of COCO run-length codes, taken apart without trusting it.

pycocotools reads past the end of a code that was cut off, so files from elsewhere are checked here
first. A code is a row of bytes ``48 + (more << 5) + five bits``: five bits of a number each, low
bits first, ``more`` set on all bytes of a number but its last, whose highest bit is the sign.
Numbers 0 to 2 are run lengths (background first, down the columns), every later one is the
difference from the run two places before.
"""

import re
import reprlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from d2video.formats.geometry.misplaced import describe_misplaced
from d2video.formats.text import as_json

_QUOTED = re.compile(r"""\s*(?P<bytes>b?)(?P<mark>['"]).*(?P=mark)\s*""", re.DOTALL)
_BYTES_PER_NUMBER = 7  # 35 bits: more than any run of a 32-bit pixel count needs


def decode_counts(codes: Sequence[bytes]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Run lengths of M codes at once.

    Args:
        codes: M compressed ``counts``.

    Returns:
        ``counts`` (R,) int64, the runs of the first code, then those of the second, and so on; ``per_code``
        (M,) int64, how many runs each code has; ``well_formed`` (M,) bool, False where a byte is not in the
        alphabet, or a number is cut off or longer than any run can be. The counts of such a code mean
        nothing.
    """
    lengths = np.fromiter(map(len, codes), dtype=np.int64, count=len(codes))
    well_formed = lengths > 0
    if not well_formed.any():
        return np.zeros(0, np.int64), np.zeros(len(codes), np.int64), well_formed
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

    per_code = np.bincount(row[starts], minlength=len(codes))
    first = np.repeat(np.cumsum(per_code) - per_code, per_code)
    column = np.arange(len(numbers)) - first
    counts = numbers.copy()
    # A cumulative sum undoes the differences, of odd and of even runs in turn. The first run is in
    # no difference, so that the sum there is that of all codes before.
    for chosen in (column % 2 == 1, (column % 2 == 0) & (column > 0)):
        summed = np.cumsum(np.where(chosen, numbers, 0))
        counts[chosen] = (summed - summed[first])[chosen]
    return counts, per_code, well_formed


class RunSums(NamedTuple):
    """Sums over the runs of M codes.

    Attributes:
        well_formed: (M,) bool, see :func:`decode_counts`; what follows means nothing elsewhere.
        least: (M,) int64, the shortest run if it is below 0, else 0.
        total: (M,) int64, pixels that the runs cover.
    """

    well_formed: np.ndarray
    least: np.ndarray
    total: np.ndarray


def sum_counts(codes: Sequence[bytes]) -> RunSums:
    """The runs of M compressed ``counts``, in memory of the order of the codes themselves."""
    counts, per_code, well_formed = decode_counts(codes)
    least, total = np.zeros((2, len(codes)), np.int64)
    filled = per_code > 0
    if filled.any():
        first = (np.cumsum(per_code) - per_code)[filled]
        least[filled] = np.minimum(np.minimum.reduceat(counts, first), 0)
        total[filled] = np.add.reduceat(counts, first)
    return RunSums(well_formed, least, total)


def find_mask_faults(masks: Sequence[Any], height: int, width: int) -> list[tuple[int, str]]:
    """The frames whose mask is neither None nor a sound compressed RLE of the video's size.

    Args:
        masks: one entry a frame, as read from JSON.
        height, width: of the video, in pixels.

    Returns:
        (frame, what is wrong with it), ascending.
    """
    faults = {t: _describe_fault(mask, height, width) for t, mask in enumerate(masks)}
    coded = [t for t, mask in enumerate(masks) if mask is not None and faults[t] is None]
    counts = [masks[t]["counts"] for t in coded]
    sums = sum_counts(
        [c if isinstance(c, bytes) else c.encode("utf-8", "surrogatepass") for c in counts]
    )
    for t, well_formed, least, total in zip(coded, *map(np.ndarray.tolist, sums), strict=True):
        if not well_formed:
            faults[t] = _describe_malformed(masks[t]["counts"])
        elif least < 0:
            faults[t] = "'counts' holds a run of negative length"
        elif total != height * width:
            faults[t] = f"the runs of 'counts' cover {total} pixels, the image has {height * width}"
    return [(t, fault) for t, fault in faults.items() if fault is not None]


def find_runs_fault(rle: dict[Any, Any], height: int, width: int) -> str | None:
    """What is wrong with an uncompressed RLE, whose ``counts`` are a list, for an image of this size."""
    fault = _size_fault(rle.get("size"), height, width)
    if fault is not None:
        return fault
    counts = rle["counts"]
    if not {*map(type, counts)} <= {int} or min(counts, default=0) < 0:
        return "the runs of 'counts' must be whole numbers from 0 on"
    if sum(counts) != height * width:
        return f"the runs of 'counts' cover {sum(counts)} pixels, the image has {height * width} pixels"
    return None


def _describe_malformed(counts: str | bytes) -> str:
    """What a code is that has bytes outside the alphabet, or ends within a number."""
    text = counts if isinstance(counts, str) else counts.decode("utf-8", "replace")
    if match := _QUOTED.fullmatch(text):
        if match["bytes"]:
            return (
                f"'counts' is a Python bytes literal, {reprlib.repr(text)}: write the text that "
                "counts.decode() gives"
            )
        return f"'counts' is in quotation marks, {reprlib.repr(text)}: write it without them"
    return "'counts' is not a COCO run-length code (cut off or not of its alphabet)"


def _describe_fault(mask: Any, height: int, width: int) -> str | None:
    """What is wrong with a mask, short of its run lengths."""
    if mask is None:
        return None
    if not isinstance(mask, dict) or "size" not in mask or "counts" not in mask:
        found = describe_misplaced(mask) or "polygons: write them as RLE"
        return f"a mask is null or {{size, counts}}, not {found}"
    fault = _size_fault(mask["size"], height, width)
    if fault is None and not isinstance(mask["counts"], str | bytes):
        return "'counts' must be a string (compressed RLE)"
    return fault


def _size_fault(size: Any, height: int, width: int) -> str | None:
    """What is wrong with the ``size`` of a mask of an image of this size."""
    whole = isinstance(size, list | tuple) and {*map(type, size)} <= {int}
    if whole and [*size] == [height, width]:
        return None
    fault = f"the mask's size is {as_json(size)}, the image's [{height}, {width}]"
    if whole and [*size] == [width, height]:
        fault += ": the height comes first"
    return fault
