"""What Roboflow writes into COCO's files besides the labels: a root category, and names of images."""

import re
from pathlib import PurePosixPath
from typing import Any

from d2video.formats.faults import Report, Tally
from d2video.formats.text import is_annotated

# <old name>_jpg.rf.<hash>.jpg; a frame's old name is <video>_mp4-0012.
_RENAMED = re.compile(r"(.+)_[A-Za-z]{3,4}\.rf\.[0-9A-Za-z]{8,}")
_FRAME = re.compile(r"(.+_(?:mp4|mov|avi|mkv|webm|m4v))-\d+", re.IGNORECASE)


def without_root(
    categories: dict[int, str], content: dict[str, Any], path: str, report: Report
) -> dict[int, str]:
    """Leave out the category that all others name as their ``supercategory``, if no object has it.

    Roboflow writes one by the project's name, whose own ``supercategory`` is "none". It would shift all
    classes by one. What is left out is told.

    Args:
        categories: id -> name of the file's ``content``.
        path: of the file, for messages.
    """
    above = {fields["id"]: fields.get("supercategory") for fields in content["categories"]}
    roots = [identity for identity, name in above.items() if name == "none"]
    if len(roots) != 1 or len(above) < 2:
        return categories
    (root,) = roots
    others = [name for identity, name in above.items() if identity != root]
    if any(name != categories[root] for name in others) or is_annotated(content, root):
        return categories
    tally = Tally(path, "categories")
    tally.used = len(above) - 1
    tally.leave_out(
        f"that is the supercategory of all others, without objects ({categories[root]!r})"
    )
    tally.tell(report)
    return {identity: name for identity, name in categories.items() if identity != root}


def origin(file_name: str) -> str | None:
    """The video, or else the image, that an image of Roboflow was made of, by its name.

    Augmented copies of an image, and frames of a video, have the same one. None for other names.
    """
    renamed = _RENAMED.fullmatch(PurePosixPath(file_name).stem)
    if renamed is None:
        return None
    frame = _FRAME.fullmatch(renamed[1])
    return frame[1] if frame else renamed[1]
