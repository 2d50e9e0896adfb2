"""The segmentation of an object as annotation files hold it, checked under one rule for all formats.

It is a list of polygons, each one flat list x0, y0, x1, y1, ... in pixels, or a COCO run-length code
(RLE) of the image's size, compressed or not. None and an empty list say that there is none.
"""

from collections.abc import Sequence
from typing import Any

from pycocotools import mask as coco_mask

from d2video.formats.faults import Tally
from d2video.formats.geometry.misplaced import describe_misplaced
from d2video.formats.geometry.polygons import find_polygon_fault
from d2video.formats.geometry.rle import mask_areas, to_rle
from d2video.formats.geometry.rle_checks import find_mask_faults, find_runs_fault


def find_segmentation_faults(
    segmentations: Sequence[Any], height: int, width: int
) -> list[tuple[int, str]]:
    """The segmentations that cannot be used, each with what it is or what is wrong with it.

    A polygon of fewer than three points covers nothing; it is not a fault, and
    :func:`without_short_polygons` leaves it out.

    Args:
        segmentations: as read from JSON, one a frame or one an object.
        height, width: of the image, in pixels.

    Returns:
        (place in the list, what is wrong), ascending.
    """
    faults: dict[int, str | None] = {}
    coded: list[Any] = [None] * len(segmentations)
    for k, each in enumerate(segmentations):
        if each is None or each == []:
            continue
        # Most are polygons: alternatives are looked for only if they are faulty.
        if isinstance(each, list) and {*map(type, each)} == {list} and min(map(len, each)) >= 6:
            fault = find_polygon_fault(each, height, width)
            faults[k] = fault and (describe_misplaced(each) or fault)
            continue
        faults[k] = describe_misplaced(each)
        if faults[k] is not None:
            continue
        if isinstance(each, list):
            faults[k] = find_polygon_fault(each, height, width)
        elif isinstance(each["counts"], list):
            faults[k] = find_runs_fault(each, height, width)
        else:
            coded[k] = each
    if any(each is not None for each in coded):
        faults |= find_mask_faults(coded, height, width)
    return sorted((k, fault) for k, fault in faults.items() if fault is not None)


def without_short_polygons(segmentation: Any, polygons: Tally) -> Any:
    """A sound segmentation without polygons of fewer than three points, which ``polygons`` counts.

    None if there is none, or nothing is left of it.
    """
    if not isinstance(segmentation, list):
        return segmentation
    kept = [polygon for polygon in segmentation if len(polygon) >= 6]
    polygons.used += len(kept)
    polygons.leave_out("with fewer than three points", len(segmentation) - len(kept))
    return kept or None


def is_empty(segmentation: Any, height: int, width: int) -> bool:
    """Whether a sound segmentation covers no pixel.

    Of polygons only small ones of up to eight points are looked at: more points on one line would be
    strange, and looking at all would take long.
    """
    is_list = isinstance(segmentation, list)
    if is_list and any(len(each) > 16 or abs(_area(each)) >= 1 for each in segmentation):
        return False
    return not mask_areas([to_rle(segmentation, height, width)])[0]


def box_around(segmentation: Any) -> list[float]:
    """Left, top, width, height of polygons' points or of a compressed RLE's pixels."""
    if isinstance(segmentation, dict):
        return coco_mask.toBbox(segmentation).tolist()
    xs = [x for polygon in segmentation for x in polygon[0::2]]
    ys = [y for polygon in segmentation for y in polygon[1::2]]
    return [min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)]


def _area(polygon: list[float]) -> float:
    """With a sign."""
    xs, ys = polygon[0::2], polygon[1::2]
    pairs = zip(xs, ys, [*xs[1:], xs[0]], [*ys[1:], ys[0]], strict=True)
    return sum(x * next_y - next_x * y for x, y, next_x, next_y in pairs) / 2
