"""Shapes as CVAT's XML has them: boxes, polygons, ellipses and masks of pixels."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from d2video.formats.faults import EntryError
from d2video.formats.geometry.boxes import is_number
from d2video.formats.geometry.rle import encode_part
from d2video.formats.geometry.turned_shapes import ellipse_polygon, turned
from d2video.formats.xml_text import Node

_KEYS = {
    "box": ("xtl", "ytl", "xbr", "ybr"),
    "ellipse": ("cx", "cy", "rx", "ry"),
    "mask": ("left", "top", "width", "height"),
    "polygon": (),
}


@dataclass(frozen=True, slots=True)
class Shape:
    """A shape in one frame.

    Attributes:
        kind: "box", "ellipse", "mask" or "polygon".
        numbers: of a box left, top, right, bottom; of an ellipse the centre and the radii; of a polygon
            x, y, x, y, ...; of a mask left, top, width, height and the runs of its rectangle's rows, the
            first of them background. In pixels.
        rotation: of a box or an ellipse about its centre, in degrees, clockwise.
        occluded: by another object; the shape is as if it were not.
    """

    kind: str
    numbers: tuple[float, ...]
    rotation: float
    occluded: bool


def is_shape(node: Node) -> bool:
    """Whether an element is a shape that covers pixels; others are points, lines, skeletons and so on."""
    return node.tag in _KEYS


def read_shape(node: Node) -> Shape:
    """
    Raises:
        EntryError: a number is missing or malformed.
    """
    given = node.attributes
    numbers = [_number(given, key) for key in _KEYS[node.tag]]
    if node.tag == "polygon":
        numbers = _numbers(given, "points", given.get("points", "").replace(";", ",").split(","))
    elif node.tag == "mask":
        numbers += _numbers(given, "rle", given.get("rle", "").split(","))
    rotation = _number(given, "rotation") if "rotation" in given else 0.0
    return Shape(node.tag, tuple(numbers), rotation, given.get("occluded") == "1")


def can_move(first: Shape, second: Shape) -> bool:
    """Whether :func:`between` knows the shapes between these."""
    same = first.kind == second.kind
    return same and (first.kind in ("box", "ellipse") or first.numbers == second.numbers)


def between(first: Shape, second: Shape, part: float) -> Shape:
    """The shape at ``part``, 0 to 1, of the way: each number linear, as in CVAT, the shorter way round."""
    numbers = tuple(a + (b - a) * part for a, b in zip(first.numbers, second.numbers, strict=True))
    turn = (second.rotation - first.rotation + 180) % 360 - 180
    return Shape(first.kind, numbers, first.rotation + turn * part, first.occluded)


def is_turned(shape: Shape) -> bool:
    """Whether it is a box that is not upright."""
    return shape.kind == "box" and shape.rotation % 180 != 0


def geometry(shape: Shape, size: tuple[int, int]) -> dict[str, Any]:
    """The shape as arguments of :meth:`~d2video.formats.labels.label_set.LabelledVideo.add`.

    Args:
        size: height and width of the frame.

    Raises:
        EntryError: a mask's runs are not those of its rectangle, or this leaves the frame.
    """
    if shape.kind == "polygon":
        return {"segmentation": [[*shape.numbers]]}
    if shape.kind == "mask":
        return {"segmentation": _mask(shape.numbers, size), "checked": True}
    if shape.kind == "ellipse":
        cx, cy, rx, ry = shape.numbers
        return {"segmentation": [ellipse_polygon((cx, cy), (rx, ry), shape.rotation)]}
    left, top, right, bottom = shape.numbers
    if not is_turned(shape):
        return {"box": (left, top, right - left, bottom - top)}
    half = np.array([right - left, bottom - top]) / 2
    corners = turned(np.array([[1, 1], [1, -1], [-1, -1], [-1, 1]]) * half, shape.rotation)
    width, height = np.ptp(corners, axis=0).tolist()
    return {"box": ((left + right - width) / 2, (top + bottom - height) / 2, width, height)}


def _mask(numbers: tuple[float, ...], size: tuple[int, int]) -> dict[str, Any]:
    values = np.array(numbers)
    if (values % 1 != 0).any() or (values < 0).any():
        raise EntryError(
            "left, top, width, height and rle must be whole numbers from 0 on; correct them"
        )
    left, top, width, height = values[:4].astype(int).tolist()
    runs = values[4:].astype(int)
    if left + width > size[1] or top + height > size[0]:
        raise EntryError(
            f"its mask is {width}x{height} at {left}, {top}, outside the frame of {size[1]}x{size[0]}; give "
            "the frames that were labelled"
        )
    if runs.sum() != width * height:
        raise EntryError(
            f"the runs of its rle cover {runs.sum()} pixels, and {width}x{height} are {width * height}; "
            "correct them"
        )
    part = np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(height, width)
    return encode_part(part, top, left, *size)


def _number(given: Mapping[str, str], key: str) -> float:
    if key not in given:
        raise EntryError(f"it has no {key}; complete it")
    return _numbers(given, key, [given[key]])[0]


def _numbers(given: Mapping[str, str], key: str, texts: list[str]) -> list[float]:
    try:
        numbers = [*map(float, texts)]
    except ValueError:
        numbers = [math.nan]
    if not is_number(sum(map(abs, numbers))):  # of all at once, since masks have many
        raise EntryError(f"its {key}, {given.get(key, '')[:40]!r}, must be numbers; correct it")
    return numbers
