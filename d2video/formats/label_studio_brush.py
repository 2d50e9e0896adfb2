"""Masks that Label Studio's brush writes: run lengths in a stream of bits, not COCO's RLE."""

from typing import Any

import numpy as np

from d2video.formats.faults import EntryError
from d2video.formats.text import as_json

_CHANNELS = 4  # red, green, blue, alpha


class _Bits:
    """Whole numbers from a stream of bits, the highest bit first."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._bits = np.unpackbits(np.frombuffer(content, np.uint8))
        self._place = 0

    def number(self, width: int) -> int:
        """The next ``width`` bits, at most 32."""
        first, last = self._place // 8, (self._advance(width) + 7) // 8
        value = int.from_bytes(self._content[first:last], "big")
        return value >> (8 * last - self._place) & ((1 << width) - 1)

    def numbers(self, count: int, width: int) -> np.ndarray:
        """The next ``count`` numbers of ``width`` bits each, (count,) int64."""
        first = self._place
        bits = self._bits[first : self._advance(count * width)].reshape(count, width)
        return bits @ (1 << np.arange(width - 1, -1, -1))

    def _advance(self, width: int) -> int:
        self._place += width
        if self._place > len(self._bits):
            raise EntryError("its rle ends within a run; export it again")
        return self._place


def decode_brush(rle: Any, height: int, width: int) -> np.ndarray:
    """The pixels of which a mask covers something, bool (height, width).

    The stream holds 32 bits with the number of values, 5 with the bits of a value - 1, four times 4 with
    the bits of a length - 1. Then, for each run: 1 bit whether one value is repeated, 2 which of the four
    a length has, the length - 1, and one value or as many as the length. Values are red, green, blue and
    alpha of each pixel, by rows.

    Args:
        rle: as read from JSON: numbers 0 to 255.

    Raises:
        EntryError: it is damaged, or is of another size.
    """
    try:
        stream = _Bits(bytes(iter(rle)))  # of a number, bytes would be as many zeros
    except (TypeError, ValueError):
        raise EntryError(
            f"its rle, {as_json(rle)}, is not a list of bytes; export it again"
        ) from None
    count = stream.number(32)
    if count != height * width * _CHANNELS:
        raise EntryError(
            f"its rle is for {count / _CHANNELS:g} pixels, and an image of {width}x{height} has "
            f"{height * width}; give the image that was labelled"
        )
    value_bits = stream.number(5) + 1
    length_bits = [stream.number(4) + 1 for _ in range(4)]
    is_set = np.zeros(count, bool)
    place = 0
    while place < count:
        is_run = stream.number(1)
        end = place + stream.number(length_bits[stream.number(2)]) + 1
        if end > count:
            raise EntryError("its rle has more values than it says; export it again")
        if is_run:
            is_set[place:end] = stream.number(value_bits) > 0
        else:
            is_set[place:end] = stream.numbers(end - place, value_bits) > 0
        place = end
    return is_set.reshape(height, width, _CHANNELS)[..., -1]
