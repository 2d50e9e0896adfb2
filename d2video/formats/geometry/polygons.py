"""Polygons from strangers' files, checked before C code sees them.

pycocotools takes time and memory with the length of an outline, whatever the size of the image, and
writes past the end of its buffers where coordinates do not fit into 32 bits.
"""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from d2video.formats.text import as_json

_FARTHEST = 2**20  # pixels from the corner of the image
_LONGEST = 2**21  # pixels of an outline: 160 MB in pycocotools


def find_polygon_fault(polygons: Sequence[Sequence[Any]], height: int, width: int) -> str | None:
    """What is wrong with the first faulty polygon, each a list x0, y0, x1, y1, ... in pixels.

    They may stick out of the image, as boxes may. Fewer than three points are no fault here.
    """
    for polygon in filter(None, polygons):
        if len(polygon) % 2:
            return f"a polygon has {len(polygon)} numbers, not pairs x, y"
        if not _is_near(polygon):
            other = next(n for n in polygon if not _is_near([n]))
            return (
                f"the coordinates of a polygon must be numbers below {_FARTHEST}, not "
                f"{as_json(other)}"
            )
        if _is_too_long(polygon):
            return f"the outline of a polygon is longer than {_LONGEST} pixels"
        if len(polygon) >= 6 and _is_outside(polygon, height, width):
            return f"a polygon lies outside the {width}x{height} image"
    return None


def _is_near(polygon: Sequence[Any]) -> bool:
    if not {*map(type, polygon)} <= {int, float}:
        return False
    # A NaN may hide from min and max, but not from the sum.
    low, high = min(polygon), max(polygon)
    return low > -_FARTHEST and high < _FARTHEST and not math.isnan(sum(polygon))


def _is_outside(polygon: Sequence[float], height: int, width: int) -> bool:
    x, y = polygon[:2]
    if 0 <= x <= width and 0 <= y <= height:  # in nearly all cases
        return False
    xs, ys = polygon[0::2], polygon[1::2]
    return max(xs) < 0 or min(xs) > width or max(ys) < 0 or min(ys) > height


def _is_too_long(polygon: Sequence[float]) -> bool:
    if len(polygon) * max(map(abs, polygon)) <= _LONGEST:  # each of the edges 2 times that at most
        return False
    points = [*zip(polygon[0::2], polygon[1::2], strict=True)]
    return sum(max(abs(c - a), abs(d - b)) for (a, b), (c, d) in pairwise([*points, points[0]])) > (
        _LONGEST
    )
