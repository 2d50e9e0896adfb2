"""Whether the boxes of a file are in the layout of its format, x, y, width, height in pixels.

Corners, centres or fractions of the image read as that are boxes all the same. They give themselves
away as a whole: many leave their images or lie elsewhere than their masks, and in the right layout
hardly any does. Nothing is ever converted here.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from d2video.formats.faults import Doubt

_SLACK = 2.0  # pixels that a sound box may reach beyond the image, or differ from a small mask's
_SLACK_SHARE = 0.02  # of the image's side, likewise
_SAME = 0.5  # IoU of a box and its mask's box from which on they agree
_FEW, _SHARE = 3, 0.1  # fewer odd boxes, or a smaller share, say nothing of the layout ...
_MOST = 0.5  # ... unless they are more than this share of a few boxes
_BETTER = 4  # times fewer boxes must be odd in another layout

_Convert = Callable[[np.ndarray], np.ndarray]


def _from_centres(boxes: np.ndarray) -> np.ndarray:
    half = boxes[:, 2:] / 2
    return np.concatenate([boxes[:, :2] - half, boxes[:, :2] + half], axis=1)


def _from_corners(boxes: np.ndarray) -> np.ndarray:
    return boxes


def _from_sizes(boxes: np.ndarray) -> np.ndarray:
    return np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)


# name with x first, name with y first, four numbers → corners x0, y0, x1, y1 (or y0, x0, y1, x1)
_FORMS: tuple[tuple[str, str, _Convert], ...] = (
    ("x, y, width, height", "y, x, height, width", _from_sizes),
    ("corners x0, y0, x1, y1", "corners y0, x0, y1, x1", _from_corners),
    (
        "centre and size cx, cy, width, height",
        "centre and size cy, cx, height, width",
        _from_centres,
    ),
)
_PIXELS, _FRACTIONS = "", " as fractions of the image"
_UNITS = (_PIXELS, _FRACTIONS, " in percent of the image")


def layout_doubt(
    path: str,
    boxes: ArrayLike,
    sizes: ArrayLike,
    mask_boxes: ArrayLike | None = None,
    *,
    whole_bodies: bool = False,
) -> Doubt | None:
    """Whether another layout fits the boxes of a file better than x, y, width, height in pixels.

    Args:
        path: of the file.
        boxes: (N, 4) as the file has them, finite; 0,0,0,0 says nothing and does not count.
        sizes: (N, 2) height and width of each box's image in pixels, inf where unknown.
        mask_boxes: (N, 4) x, y, width, height of what the mask of each covers, NaN where there is none.
        whole_bodies: boxes show hidden parts, too, and those outside of the image: only a box whose
            centre is outside is odd.

    Returns:
        the doubt, with how many boxes are odd and the layout in which fewest of all, or of the odd ones,
        are; None if few are odd, or no layout is better and half are not odd.
    """
    numbers = np.asarray(boxes, dtype=np.float64).reshape(-1, 4)
    image = np.asarray(sizes, dtype=np.float64).reshape(-1, 2)[:, ::-1]  # width, height
    masks = np.full(numbers.shape, np.nan)
    if mask_boxes is not None:
        masks = _from_sizes(np.asarray(mask_boxes, dtype=np.float64).reshape(-1, 4))
    stated = numbers.any(axis=1)
    numbers, image, masks = numbers[stated], image[stated], masks[stated]

    # What is within the first pixel, or percent, of its image is in fractions.
    tiny = (np.abs(numbers) <= 1).all(axis=1) & (image > 2 * _SLACK).all(axis=1)
    masked = np.isfinite(masks).all(axis=1)

    def odd(layout: _Layout) -> np.ndarray:
        are_odd = _are_odd(layout.corners, image, masks, whole_bodies)
        if whole_bodies and layout.convert is _from_centres:
            are_odd |= ~masked  # whatever lies inside may be a centre
        return are_odd if layout.unit == _FRACTIONS else are_odd | tiny

    as_they_are, *others = _layouts(numbers, image)
    are_odd = odd(as_they_are)
    total, found = len(numbers), int(np.count_nonzero(are_odd))
    many = found > _MOST * total
    if not found or not (many or (found >= _FEW and found >= _SHARE * total)):
        return None
    or_masks = " or contradict their masks" if masked.any() else ""
    text = (
        f"{found} of {total} boxes ({100 * found / total:.0f} %), read as x, y, width, height in "
        f"pixels, leave their image or lie within its first pixel{or_masks}"
    )
    convert = "fit: if they were written so, convert them"
    still_odd = [odd(layout) for layout in others]
    everywhere = [int(np.count_nonzero(each)) for each in still_odd]
    fewest = min(everywhere)
    if fewest * _BETTER <= found:
        name = others[everywhere.index(fewest)].name
        return Doubt(path, f"{text}; read as {name}, {total - fewest} of {total} {convert}")
    # Files of several sources have a part of their boxes in another layout. Without masks most layouts would
    # also fit boxes that just leave their image: in these two they rarely have a size.
    for layout, each in zip(others, still_odd, strict=True):
        is_corners = layout.convert is _from_corners and layout.unit == _PIXELS
        if not is_corners and layout.unit != _FRACTIONS:
            each |= ~masked
    among_odd = [int(np.count_nonzero(each & are_odd)) for each in still_odd]
    fewest = min(among_odd)
    if found >= _FEW and fewest * _BETTER <= found:
        name = others[among_odd.index(fewest)].name
        return Doubt(path, f"{text}; read as {name}, {found - fewest} of these {found} {convert}")
    if many and found >= _FEW:
        return Doubt(path, f"{text}; no other layout fits them: compare them with the images")
    return None


class _Layout(NamedTuple):
    """(N, 4) corners in pixels of the boxes, read in a layout."""

    name: str
    unit: str
    convert: _Convert
    corners: np.ndarray


def _layouts(numbers: np.ndarray, image: np.ndarray) -> Iterator[_Layout]:
    """All of them, the format's own first."""
    known = np.isfinite(image).all(axis=1, keepdims=True)
    sides = np.where(known, image, 1)
    for unit, scale in zip(_UNITS, (np.ones_like(sides), sides, sides / 100), strict=True):
        for x_first, y_first, convert in _FORMS:
            corners, scales = convert(numbers), np.tile(scale, 2)
            yield _Layout(x_first + unit, unit, convert, corners * scales)
            yield _Layout(y_first + unit, unit, convert, corners[:, [1, 0, 3, 2]] * scales)


def _are_odd(
    corners: np.ndarray, image: np.ndarray, masks: np.ndarray, whole_bodies: bool
) -> np.ndarray:
    """(N,) bool: no box of this image and of this mask."""
    low, high = corners[:, :2], corners[:, 2:]
    slack = np.maximum(_SLACK, _SLACK_SHARE * np.where(np.isfinite(image), image, 0))
    if whole_bodies:
        centre = (low + high) / 2
        outside = (centre < -slack) | (centre > image + slack)
    else:
        outside = (low < -slack) | (high > image + slack)
    odd = outside.any(axis=1) | (high <= low).any(axis=1)

    both = np.minimum(high, masks[:, 2:]) - np.maximum(low, masks[:, :2])
    shared = both.clip(min=0).prod(axis=1)
    union = (high - low).prod(axis=1) + (masks[:, 2:] - masks[:, :2]).prod(axis=1) - shared
    # Comparisons with NaN, where there is no mask, are False.
    apart = (shared < _SAME * union) & (np.abs(corners - masks).max(axis=1) > 2 * _SLACK)
    return odd | apart
