"""The JSON files of SA-V's train split: the masks of a video's objects in every fourth frame."""

import re
from dataclasses import dataclass
from typing import Any

from d2video.formats.faults import EntryError
from d2video.formats.geometry.boxes import is_number
from d2video.formats.labels.recognition import Seen
from d2video.formats.text import as_json, read_json

_FPS = 24  # of the videos; "fps" is that of the rows
_STEP = 4


@dataclass(frozen=True)
class Masklets:
    """A JSON file.

    Attributes:
        path: of the file.
        rows: a list for each labelled frame, of as many masks as there are ids; None for some that are
            absent.
        ids: of the objects.
        step: frames from one row to the next.
        size: height and width that the file states, or None.
    """

    path: str
    rows: list[list[Any]]
    ids: list[int]
    step: int
    size: tuple[int, int] | None


def is_masklets(file: Seen) -> bool:
    """Whether a file looks like one of these, by its start."""
    head = file.head
    if head.startswith("{"):
        return '"masklet"' in head or ('"masks"' in head and '"fps"' in head)
    return re.match(r"\[\s*\[", head) is not None and '"counts"' in head


def read_masklets(path: str, step: int | None) -> Masklets:
    """Read a file; ``step`` None: 4 frames, or by the file's ``fps``.

    Raises:
        UserError: it is not JSON.
        EntryError: it is not of this form. The masks are not looked at.
    """
    content = read_json(path)
    fields = content if isinstance(content, dict) else {}
    rows = fields.get("masklet", fields.get("masks")) if fields else content
    if not isinstance(rows, list) or not rows or not all(isinstance(row, list) for row in rows):
        raise EntryError(f"{path} has no 'masklet', a list of lists of masks: give a file of SA-V")
    count = len(rows[0])
    for number, row in enumerate(rows):
        if len(row) != count:
            raise EntryError(
                f"{path}: row {number} of 'masklet' has {len(row)} masks, and the first {count}; correct it"
            )
    ids = fields.get("masklet_id", [*range(count)])
    is_list = isinstance(ids, list) and all(type(each) is int for each in ids)
    if not is_list or len(ids) != count or len({*ids}) != count:
        raise EntryError(
            f"{path}: 'masklet_id' is {as_json(ids)}, and not {count} different whole numbers; correct it"
        )
    height: Any = fields.get("video_height")
    width: Any = fields.get("video_width")
    size = (int(height), int(width)) if is_number(height) and is_number(width) else None
    return Masklets(path, rows, ids, step or _stated_step(fields, path), size)


def _stated_step(fields: dict[str, Any], path: str) -> int:
    fps = fields.get("fps")
    if fps is None:
        return _STEP
    fps = fps[0] if isinstance(fps, list) and fps else fps
    if not is_number(fps) or fps <= 0 or _FPS % fps:
        raise EntryError(
            f"{path}: 'fps' is {as_json(fps)}, and {_FPS} is not a multiple of it: give frame_step"
        )
    return int(_FPS // fps)
