"""Labels at a path: one export of a tool, or a folder of several, which may be zip archives."""

import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from d2video.formats.faults import LeftOut
from d2video.formats.recognition import Seen, no_format, places_at, recognised
from d2video.utils.errors import UserError
from d2video.video.image_io import IMAGE_SUFFIXES, in_natural_order
from d2video.video.video_file import VIDEO_SUFFIXES

_EXPORTS = {
    ".xml",
    ".zip",
}  # files; JSON files in a folder are more often parts that are held apart
_FOOTAGE = {*IMAGE_SUFFIXES, *VIDEO_SUFFIXES}
_NOTES = {".db", ".ini", ".md", ".txt"}  # what people and file managers leave in folders
_ADVICE = "for a set of several, put exports of one format into a folder of their own"


@dataclass(frozen=True)
class Exports:
    """What is at a path.

    Attributes:
        format: of all, one of :data:`~d2video.formats.recognition.RECOGNISERS`.
        places: the file or folder of each, by the name of its file, folder or archive without suffix.
        left_out: those that are not among them, or None.
    """

    format: str
    places: dict[str, Seen]
    left_out: LeftOut | None = None


def find_exports(path: str, format: str | None = None) -> Exports:
    """Find labels.

    Args:
        path: of a file, a folder or a zip archive; or of a folder that holds folders, archives and XML files
            of labels in one format, and besides only videos, images and notes.
        format: of :data:`~d2video.formats.recognition.RECOGNISERS`; None: recognised.

    Raises:
        UserError: the path does not exist, or it has no format that is known, or more than one.
    """
    name, one = Path(path).stem, recognised(path, format)
    if one is not None:
        beside = sum(map(_is_archive, _entries(one[1].path)))
        return Exports(
            one[0], {name: one[1]}, _left_out(path, 1, {"in archives beside it": beside})
        )
    folder = places_at(path)[-1].path
    entries = _entries(folder)
    children = [each for each in entries if each.is_dir() or each.suffix.lower() in _EXPORTS]
    known = _EXPORTS | _FOOTAGE | _NOTES
    others = [each.name for each in entries if each.is_file() and each.suffix.lower() not in known]
    if others:
        children = []
    found = {each: recognised(str(each), format) for each in children}
    formats = {one[0]: each.name for each, one in found.items() if one is not None}
    if len(formats) > 1:
        shown = ", ".join(f"{each} is {kind}" for kind, each in formats.items())
        raise UserError(
            f"{path} holds labels in several formats ({shown}): name one of these formats"
        )
    if not formats:
        if format is None:
            raise no_format(path, others)
        return Exports(format, {name: places_at(path)[0]})
    places: dict[str, Seen] = {}
    reasons: Counter[str] = Counter()
    for each, one in sorted(found.items(), key=lambda item: item[0].is_file()):
        if one is None:
            reasons["in another format, or without labels"] += _is_archive(each) or not _is_footage(
                each
            )
        elif each.stem in places:
            reasons["that are unpacked beside"] += 1
        else:
            places[each.stem] = one[1]
    return Exports(next(iter(formats)), places, _left_out(path, len(places), reasons))


def _entries(folder: str) -> list[Path]:
    """What is in a folder, in natural order; nothing if it is a file."""
    entries = Path(folder).iterdir() if os.path.isdir(folder) else ()
    return in_natural_order(each for each in entries if each.name[0] not in "._")


def _is_archive(path: Path) -> bool:
    return path.suffix.lower() == ".zip" and path.is_file()


def _is_footage(folder: Path) -> bool:
    return all(Path(name).suffix.lower() in _FOOTAGE for name in Seen(str(folder)).files)


def _left_out(path: str, used: int, reasons: dict[str, int]) -> LeftOut | None:
    reasons = {reason: count for reason, count in reasons.items() if count}
    return LeftOut(path, "exports", used, reasons, (_ADVICE,)) if reasons else None
