"""Boxes, areas and numbers of annotation files: what is one, and which boxes cannot be used."""

import math
from collections.abc import Sequence
from typing import Any

NO_BOX = [math.nan] * 4
_LARGEST_AREA = 10**10  # pixels; COCO's and YouTube-VIS' evaluation pass over what is larger


def is_number(value: Any) -> bool:
    """Whether a value from JSON is a finite number that a float holds exactly enough (True is not)."""
    return type(value) in (int, float) and abs(value) < 2**53  # False for NaN


def is_box(value: Any) -> bool:
    """Whether a value from JSON is a list of four numbers."""
    return isinstance(value, list) and len(value) == 4 and all(map(is_number, value))


def is_point(value: Any) -> bool:
    """Whether a value from JSON is a list of two numbers."""
    return isinstance(value, list) and len(value) == 2 and all(map(is_number, value))


def is_area(value: Any) -> bool:
    """Whether a value from JSON is a number of pixels that evaluation counts."""
    return is_number(value) and 0 <= value < _LARGEST_AREA


def unusable_box(
    box: Sequence[float], height: float = float("inf"), width: float = float("inf")
) -> str | None:
    """Why an object with this box is left out, in words that follow a count.

    Args:
        box: left, top, width, height in pixels, all finite.
        height, width: of the image, where known.

    Returns:
        None for a box of which a part with an area is inside the image.
    """
    left, top, box_width, box_height = box
    if box_width <= 0 or box_height <= 0:
        return "whose box has no area" if any(box) else "whose box is 0,0,0,0"
    inside = left < width and top < height and left + box_width > 0 and top + box_height > 0
    return None if inside else "whose box lies outside the image"
