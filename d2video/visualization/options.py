"""How answers are drawn."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from numbers import Integral, Real
from typing import Any

from d2video.utils.errors import UserError

DEFAULT_TOPK = 5
DEFAULT_TRAIL_LENGTH = 30
# Least and greatest values; of whole numbers, too, where both are.
_RANGES: tuple[tuple[str, float, float], ...] = (
    ("score_threshold", 0.0, 1.0),
    ("label_size", 0.1, 10.0),
    ("trail_length", 0, 100_000),
    ("opacity", 0.0, 1.0),
    ("line_width", 1, 1000),
    ("scale", 1, 100),
    ("topk", 1, 100_000),
)


@dataclass(frozen=True)
class DrawingOptions:
    """How answers are drawn; a task uses those that concern it.

    Attributes:
        score_threshold: instances with a lower score are left out.
        classes: names of classes; instances and segments of others are left out, also of the results
            files; ``None``: all.
        labels: write class, score and track beside each object.
        label_size: of labels and class panels, times the size that suits the picture.
        masks: draw masks; without them, a panoptic model's instances are drawn as boxes.
        draw_boxes: draw boxes; ``None``: of instances whose mask is not drawn.
        trail_length: draw each track's path through this many frames, 0: none; ``None``:
            :data:`DEFAULT_TRAIL_LENGTH` for instances without masks, none for those with masks.
        opacity: of the masks' fill, 0 to 1; ``None``: 0.45, of panoptic maps 0.55.
        line_width: of outlines and boxes in pixels; ``None``: one that suits the picture.
        scale: whole number to enlarge everything by.
        topk: number of classes that a classifying model shows, at least 1.
        side_by_side: left of a restored image, show the input, enlarged by a bicubic to its size.

    Raises:
        UserError: a value is out of its range, or no number.
    """

    score_threshold: float = 0.5
    classes: Sequence[str] | None = None
    labels: bool = True
    label_size: float = 1.0
    masks: bool = True
    draw_boxes: bool | None = None
    trail_length: int | None = None
    opacity: float | None = None
    line_width: int | None = None
    scale: int = 1
    topk: int = DEFAULT_TOPK
    side_by_side: bool = False

    def __post_init__(self) -> None:
        for name, least, most in _RANGES:
            value = getattr(self, name)
            if value is None and getattr(type(self), name) is None:
                continue
            whole = isinstance(least, int)
            if (
                not isinstance(value, Integral if whole else Real)
                or not least <= float(value) <= most
            ):
                raise UserError(
                    f"drawing option {name} is {value!r}: it must be a {'whole ' if whole else ''}number "
                    f"from {least:g} to {most:g}"
                )


def drawing_options(chosen: Mapping[str, Any]) -> DrawingOptions:
    """The options with the chosen values.

    Raises:
        UserError: an option is unknown.
    """
    known = [each.name for each in fields(DrawingOptions)]
    for name in chosen:
        if name not in known:
            raise UserError(f"unknown drawing option '{name}': choose {', '.join(known)}")
    return DrawingOptions(**chosen)
