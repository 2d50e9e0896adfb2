"""The shapes of one of labelme's JSON files, joined to objects."""

import base64
import io
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image
from pycocotools import mask as coco_mask

from d2video.formats.faults import EntryError
from d2video.formats.geometry.boxes import is_point
from d2video.formats.geometry.rle import encode_part
from d2video.formats.geometry.turned_shapes import ellipse_polygon
from d2video.formats.labels.label_set import LabelledVideo
from d2video.formats.text import as_json

# Types without an area.
NO_OBJECTS = frozenset({"point", "points", "line", "linestrip"})
# What damaged base64 and PNG raise.
_DAMAGE = (OSError, SyntaxError, TypeError, ValueError, Image.DecompressionBombError)


@dataclass(frozen=True)
class Shape:
    """A shape of an image of height H and width W.

    Attributes:
        corners: left, top, right, bottom in pixels.
        polygon: x0, y0, x1, y1, ...; None of other types.
        mask: compressed RLE; None of other types.
        is_turned: it is a rectangle that was turned.
    """

    corners: tuple[float, float, float, float]
    polygon: list[float] | None = None
    mask: dict[str, Any] | None = None
    is_turned: bool = False


@dataclass
class Instance:
    """An object in an image.

    Attributes:
        number: of its first shape in the file.
        label: as in the file.
        group_id: None: the shape is an object of its own.
        shapes: its parts.
    """

    number: int
    label: str
    group_id: int | None
    shapes: list[Shape] = field(default_factory=list)

    def geometry(self, video: LabelledVideo) -> dict[str, Any]:
        """``box``, ``segmentation`` and ``checked`` as :meth:`LabelledVideo.add` takes them.

        The mask is the union of polygons, circles and masks. A rectangle is not one: it widens the box,
        and an object that has only rectangles has no mask.

        Raises:
            EntryError: a polygon cannot be.
        """
        boxes = [each for each in self.shapes if each.polygon is None and each.mask is None]
        polygons = [each.polygon for each in self.shapes if each.polygon is not None]
        masks = [each.mask for each in self.shapes if each.mask is not None]
        segmentation: Any = polygons
        if masks:
            drawn = video.mask_of(polygons)
            segmentation = coco_mask.merge(masks if drawn is None else [*masks, drawn])
        found = {"segmentation": segmentation or None, "checked": bool(masks)}
        if not boxes:
            return found
        lefts, tops, rights, bottoms = zip(*(each.corners for each in self.shapes), strict=True)
        left, top = min(lefts), min(tops)
        box = left, top, max(rights) - left, max(bottoms) - top
        return {"box": box, **found}


def shape_type(fields: dict[str, Any]) -> str:
    """
    Raises:
        EntryError: it is not one of labelme's types.
    """
    kind = fields.get("shape_type") or "polygon"  # old files have no types
    if not isinstance(kind, str) or kind not in {*_READERS, *NO_OBJECTS}:
        known = ", ".join([*_READERS, *sorted(NO_OBJECTS)])
        raise EntryError(f"its shape_type, {as_json(kind)}, is not one of {known}; correct it")
    return kind


def read_shape(kind: str, fields: dict[str, Any], size: tuple[int, int]) -> Shape:
    """A shape of a type with an area, in an image of this height and width.

    Raises:
        EntryError: its points are not as its type has them, or its mask cannot be read or is not as large
            as its points say.
    """
    points = fields.get("points")
    if not isinstance(points, list) or not all(map(is_point, points)):
        raise EntryError(
            f"its points, {as_json(points)}, are not a list of pairs [x, y]; correct them"
        )
    counts, read = _READERS[kind]
    if counts and len(points) not in counts:
        known = " or ".join(map(str, counts))
        raise EntryError(f"a {kind} has {known} points, and it has {len(points)}; correct it")
    return read([(x, y) for x, y in points], fields, size)


_Points = list[tuple[float, float]]


def _corners(points: Iterable[tuple[float, float]]) -> tuple[float, float, float, float]:
    xs, ys = zip(*points, strict=True)
    return min(xs), min(ys), max(xs), max(ys)


def _polygon(points: _Points, fields: dict[str, Any], size: tuple[int, int]) -> Shape:
    flat = [number for point in points for number in point]
    return Shape(_corners(points or [(0, 0)]), polygon=flat)


def _rectangle(points: _Points, fields: dict[str, Any], size: tuple[int, int]) -> Shape:
    """Of two opposite corners, or of all four."""
    is_upright = len(points) == 2 or len({x for x, _ in points}) == len({y for _, y in points}) == 2
    return Shape(_corners(points), is_turned=not is_upright)


def _circle(points: _Points, fields: dict[str, Any], size: tuple[int, int]) -> Shape:
    (x, y), border = points
    radius = math.dist((x, y), border)
    corners = x - radius, y - radius, x + radius, y + radius
    return Shape(corners, polygon=ellipse_polygon((x, y), (radius, radius)))


def _mask(points: _Points, fields: dict[str, Any], size: tuple[int, int]) -> Shape:
    # Fractions come from moving a mask; labelme cuts them off, too. The last pixel is inclusive.
    left, top, right, bottom = map(int, _corners(points))
    crop = _read_crop(fields.get("mask"), bottom + 1 - top, right + 1 - left)
    height, width = size
    # The part inside the image; of a mask that lies outside it is empty.
    crop = crop[max(-top, 0) : max(height - top, 0), max(-left, 0) : max(width - left, 0)]
    mask = encode_part(crop, max(top, 0), max(left, 0), height, width)
    return Shape((left, top, right + 1, bottom + 1), mask=mask)


def _read_crop(text: Any, height: int, width: int) -> np.ndarray:
    """bool (height, width) of a PNG in base64 whose pixels are 0 and 1, or 0 and 255."""
    try:
        content = base64.b64decode(text, validate=True)
        # The size is known before the pixels are decoded.
        with Image.open(io.BytesIO(content), formats=("PNG",)) as image:
            if image.size != (width, height):
                raise EntryError(
                    f"its mask is {image.width}x{image.height} pixels and its points span "
                    f"{width}x{height}; correct it"
                )
            pixels = np.asarray(image)
    except EntryError:
        raise
    except _DAMAGE as error:
        raise EntryError(
            f"its mask, {as_json(text)}, is not a PNG in base64; write it again"
        ) from error
    if pixels.ndim != 2:
        raise EntryError("its mask has colours, not only 0 and another value; write it again")
    return pixels != 0


_READERS: dict[
    str, tuple[tuple[int, ...], Callable[[_Points, dict[str, Any], tuple[int, int]], Shape]]
] = {
    "polygon": ((), _polygon),
    # With four corners, and as a rotation, X-AnyLabeling writes them.
    "rectangle": ((2, 4), _rectangle),
    "oriented_rectangle": ((4,), _rectangle),
    "rotation": ((4,), _rectangle),
    "circle": ((2,), _circle),
    "mask": ((2,), _mask),
}
