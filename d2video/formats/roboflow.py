"""What Roboflow writes into COCO's files besides the labels: a root category, and names of images."""

import re
from pathlib import PurePosixPath
from typing import Any

from d2video.formats.faults import Report, Tally
from d2video.formats.text import is_annotated

# <old name>_jpg.rf.<hash>.jpg; a frame's old name is <video>_mp4-0012.
_RENAMED = re.compile(r"(.+)_[A-Za-z]{3,4}\.rf\.[0-9A-Za-z]{8,}")
_FRAME = re.compile(r"(.+_(?:mp4|mov|avi|mkv|webm|m4v))-\d+", re.IGNORECASE)


def root_category(content: dict[str, Any], path: str, report: Report) -> Any:
    """The id of the category that all others name as their ``supercategory``, if no object has it; or None.

    Roboflow writes one by the project's name, whose own ``supercategory`` is "none". It would shift all
    classes by one, and may have the name of one. It is reported as left out.

    Args:
        content: of a file, which may be faulty.
        path: of the file, for messages.
    """
    given = content.get("categories")
    fields = [each for each in given if isinstance(each, dict)] if isinstance(given, list) else []
    roots = [each for each in fields if each.get("supercategory") == "none"]
    if len(roots) != 1 or len(fields) < 2:
        return None
    (root,) = roots
    others = [each.get("supercategory") for each in fields if each is not root]
    if any(name != root.get("name") for name in others) or is_annotated(content, root.get("id")):
        return None
    tally = Tally(path, "categories")
    tally.used = len(others)
    tally.leave_out(
        f"that is the supercategory of all others, without objects ({root.get('name')!r})"
    )
    tally.tell(report)
    return root.get("id")


def origin(file_name: str) -> str | None:
    """The video, or else the image, that an image of Roboflow was made of, by its name.

    Augmented copies of an image, and frames of a video, have the same one. None for other names.
    """
    renamed = _RENAMED.fullmatch(PurePosixPath(file_name).stem)
    if renamed is None:
        return None
    frame = _FRAME.fullmatch(renamed[1])
    return frame[1] if frame else renamed[1]
