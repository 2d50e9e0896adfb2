"""Polygons from strangers' files, checked before C code sees them.

pycocotools takes time and memory with the length of an outline, whatever the size of the image, and
writes past the end of its buffers where coordinates do not fit into 32 bits.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

_FARTHEST = 2**20  # pixels from the corner of the image
_LONGEST = 2**21  # pixels of an outline: 160 MB in pycocotools


def find_polygon_fault(polygons: Sequence[Any]) -> str | None:
    """What is wrong with the first faulty polygon, each a list x0, y0, x1, y1, ... in pixels.

    They may stick out of the image.
    """
    for polygon in polygons:
        if not isinstance(polygon, list) or len(polygon) < 6 or len(polygon) % 2:
            return "a polygon is a list of at least 3 pairs x, y"
        # Written so that NaN fails.
        if not all(type(n) in (int, float) and abs(n) < _FARTHEST for n in polygon):
            return f"the coordinates of a polygon must be numbers below {_FARTHEST}"
        if _is_too_long(polygon):
            return f"the outline of a polygon is longer than {_LONGEST} pixels"
    return None


def _is_too_long(polygon: list[float]) -> bool:
    if len(polygon) * max(map(abs, polygon)) <= _LONGEST:  # each of the edges 2 times that at most
        return False
    points = [*zip(polygon[0::2], polygon[1::2], strict=True)]
    return sum(max(abs(c - a), abs(d - b)) for (a, b), (c, d) in pairwise([*points, points[0]])) > (
        _LONGEST
    )
