"""How answers are drawn."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from d2video.utils.errors import UserError

DEFAULT_TOPK = 5
DEFAULT_TRAIL_LENGTH = 30


@dataclass(frozen=True)
class DrawingOptions:
    """How answers are drawn; a task uses those that concern it.

    Attributes:
        score_threshold: instances with a lower score are left out.
        draw_boxes: draw the boxes of instances that have masks too.
        trail_length: draw each track's path through this many frames, 0: none; ``None``:
            :data:`DEFAULT_TRAIL_LENGTH` for instances without masks, none for those with masks.
        scale: whole number to enlarge everything by.
        topk: number of classes that a classifying model shows, at least 1.
        side_by_side: left of a restored image, show the input, enlarged by a bicubic to its size.
    """

    score_threshold: float = 0.5
    draw_boxes: bool = False
    trail_length: int | None = None
    scale: int = 1
    topk: int = DEFAULT_TOPK
    side_by_side: bool = False


def drawing_options(chosen: Mapping[str, Any]) -> DrawingOptions:
    """The options with the chosen values.

    Raises:
        UserError: there is no option of a name.
    """
    known = [each.name for each in fields(DrawingOptions)]
    for name in chosen:
        if name not in known:
            raise UserError(f"there is no drawing option {name}: choose {', '.join(known)}")
    return DrawingOptions(**chosen)
