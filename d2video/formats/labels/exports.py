"""Labels at a path: one export of a tool, or a folder of several, which may be zip archives."""

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from d2video.formats.faults import LeftOut
from d2video.formats.labels.recognition import Seen, no_format, places_at, recognised
from d2video.utils.errors import UserError
from d2video.video.image_io import IMAGE_SUFFIXES, holds_files, in_natural_order, visible_files
from d2video.video.video_file import VIDEO_SUFFIXES

_FOOTAGE = {*IMAGE_SUFFIXES, *VIDEO_SUFFIXES}
# Files that are exports. JSON files in one folder are more often parts that are to stay apart.
_EXPORTS = {".xml", ".zip"}
_NOTES = {".db", ".ini", ".md", ".txt"}  # what people and file managers leave in folders
_ADVICE = "for a set of several, put exports of one format into a folder of their own"


@dataclass(frozen=True)
class Exports:
    """What is at a path.

    Attributes:
        format: of all, one of :data:`~d2video.formats.labels.recognition.RECOGNISERS`.
        places: the file or folder of each, by the name of its file, folder or archive.
        others: how many are not among them, by reason.
        looks_like: another format that is recognised, where the one that was asked for is not.
    """

    format: str
    places: dict[str, Seen]
    others: Counter[str] = field(default_factory=Counter)
    looks_like: str | None = None

    def left_out(self, path: str) -> LeftOut | None:
        """The report of the others, if there are any."""
        others = +self.others
        return LeftOut(path, "exports", len(self.places), others, (_ADVICE,)) if others else None


def find_exports(path: str, format: str | None = None) -> Exports:
    """Find labels.

    Args:
        path: of a file, a folder or a zip archive; or of a folder or archive that holds folders, archives and
            XML files of labels in one format, and besides only videos, images and notes.
        format: of :data:`~d2video.formats.labels.recognition.RECOGNISERS`; None: recognised.

    Raises:
        UserError: the path does not exist, or it has no format that is known, or more than one.
    """
    found = _find(Path(path), format)
    if found is not None:
        return found
    if format is None:
        raise no_format(path, _odd_file(_entries(places_at(path)[-1].path)))
    other = _find(Path(path), None)
    place = {_name(Path(path)): places_at(path)[0]}
    return Exports(format, place, looks_like=None if other is None else other.format)


def _find(path: Path, format: str | None) -> Exports | None:
    return _alone(path, format) or _within(path, format)


def _alone(path: Path, format: str | None) -> Exports | None:
    one = recognised(str(path), format)
    if one is None:
        return None
    kind, seen = one
    beside = len(visible_files(seen.path, (".zip",))) if seen.is_folder else 0
    return Exports(kind, {_name(path): seen}, Counter({"in archives beside it": beside}))


def _within(path: Path, format: str | None) -> Exports | None:
    """The exports in a folder or an archive, and in the archives and folders of archives among them."""
    entries = _entries(places_at(str(path))[-1].path)
    if _odd_file(entries) is not None:
        return None
    parts: dict[Path, Exports] = {}
    others: Counter[str] = Counter()
    for each in sorted(entries, key=_is_archive):  # a folder may have been unpacked from an archive
        if each.is_file() and each.suffix.lower() not in _EXPORTS:
            continue
        part = (_find if _may_hold_several(each) else _alone)(each, format)
        if part is not None and _name(each) in map(_name, parts):
            others["that are unpacked beside"] += 1
        elif part is not None:
            parts[each] = part
        elif not _is_footage(each):
            others["in another format, or without labels"] += 1
    if not parts:
        return None
    formats = {part.format: each.name for each, part in parts.items()}
    if len(formats) > 1:
        shown = ", ".join(f"{name} is {kind}" for kind, name in formats.items())
        raise UserError(f"{path} holds labels in several formats ({shown}): name one of these")
    places = {
        _name(each) if len(part.places) == 1 else f"{_name(each)}_{name}": seen
        for each, part in parts.items()
        for name, seen in part.places.items()
    }
    return Exports(
        next(iter(formats)), places, sum((part.others for part in parts.values()), others)
    )


def _name(path: Path) -> str:
    return path.name if path.is_dir() else path.stem


def _entries(folder: str) -> list[Path]:
    """What is in a folder, in natural order; nothing if it is a file."""
    entries = Path(folder).iterdir() if os.path.isdir(folder) else ()
    return in_natural_order(each for each in entries if each.name[0] not in "._")


def _is_archive(path: Path) -> bool:
    return path.suffix.lower() == ".zip" and path.is_file()


def _may_hold_several(path: Path) -> bool:
    return holds_files(path, _EXPORTS) if path.is_dir() else _is_archive(path)


def _odd_file(entries: Sequence[Path]) -> str | None:
    """A file that does not belong into a folder of exports."""
    known = _EXPORTS | _FOOTAGE | _NOTES
    return next((e.name for e in entries if e.is_file() and e.suffix.lower() not in known), None)


def _is_footage(folder: Path) -> bool:
    names = Seen(str(folder)).files if folder.is_dir() else [folder.name]
    return all(Path(name).suffix.lower() in _FOOTAGE for name in names)
