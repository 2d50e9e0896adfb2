"""Which format the labels at a path have: one table for all formats."""

import os
import re
from collections.abc import Callable
from functools import cached_property
from typing import Any, TypeVar

from d2video.fetching import unpack
from d2video.formats.text import packing_of, read_json
from d2video.utils.errors import UserError
from d2video.video.image_io import IMAGE_SUFFIXES, image_mode

_MOST_FILES = 20_000
_LEVELS = 4
_IMAGES = 3  # of a folder
_HEAD = 1 << 16  # bytes
_LOOKED_AT = 20  # JSON files, for messages


class Seen:
    """What is at a path, looked at lazily, for recognition.

    Attributes:
        path: of the file or folder.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._inner: dict[str, Seen] = {}  # several formats look at the same file

    @cached_property
    def is_folder(self) -> bool:
        return os.path.isdir(self.path)

    @cached_property
    def files(self) -> list[str]:
        """Of a folder the files in it, down to four levels, relative and with "/", the upper levels first.

        Of the images in a folder they are the first ones, and of very many files not all.
        """
        found: list[str] = []
        folders = [""]
        for folder in folders:  # which grow
            _, below, names = next(os.walk(os.path.join(self.path, folder)), ("", [], []))
            if folder.count("/") < _LEVELS:
                folders += [f"{folder}{name}/" for name in sorted(below) if name[0] != "."]
            seen = [name for name in sorted(names) if name[0] != "."]
            images = [n for n in seen if os.path.splitext(n)[1].lower() in IMAGE_SUFFIXES]
            others = {*seen} - {*images[_IMAGES:]}
            found += [f"{folder}{name}" for name in seen if name in others]
            if len(found) > _MOST_FILES or len(folders) > _MOST_FILES:
                break
        return found

    def find(self, pattern: str) -> str | None:
        """The first file of a folder, relative, by a pattern of its path; None if there is none.

        In a pattern, * is any part of a name, and capitals are as good as others in what follows the last
        dot. A bare name may be anywhere; a path begins with the name of the folder, in the folder or in
        one in it.
        """
        stem, dot, suffix = re.escape(pattern).replace(r"\*", "[^/]*").rpartition(r"\.")
        above = "(/[^/]+){0,2}" if "/" in pattern else ".*"
        fits = re.compile(f"{above}/{stem}{dot}(?i:{suffix})").fullmatch
        own = "/" + os.path.basename(os.path.abspath(self.path)) + "/"
        return next((name for name in self.files if fits(own + name)), None)

    def has(self, pattern: str) -> bool:
        """Whether a folder has a file by a pattern, see :meth:`find`."""
        return self.find(pattern) is not None

    @cached_property
    def mode_of_masks(self) -> str | None:
        """Of a folder with PNGs, but no other images and no labels, Pillow's mode of the first PNG."""
        suffixes = {os.path.splitext(name)[1].lower() for name in self.files}
        png = self.find("*/*.png")
        if png is None or suffixes & {*IMAGE_SUFFIXES - {".png"}, ".json", ".txt", ".xml"}:
            return None
        return image_mode(os.path.join(self.path, png))

    @cached_property
    def start(self) -> bytes:
        """The first bytes of a file; none of a folder.

        Raises:
            UserError: it cannot be read.
        """
        if self.is_folder:
            return b""
        try:
            with open(self.path, "rb") as file:
                return file.read(_HEAD)
        except OSError as error:
            raise UserError(f"cannot read {self.path}: {error.strerror or error}") from error

    @cached_property
    def head(self) -> str:
        """The start of a file as text; "" of a folder or of what is not text."""
        return self.start.decode("utf-8-sig", errors="ignore").lstrip()

    @cached_property
    def json(self) -> Any:
        """The content of a JSON file; None of anything else.

        Raises:
            UserError: as :func:`~d2video.formats.text.read_json`.
        """
        if self.is_folder or self.head[:1] not in ("{", "["):
            return None
        return read_json(self.path)

    def json_of(self, pattern: str) -> Any:
        """The content of the first JSON file of a folder by a pattern, see :meth:`find`; None if there is
        none."""
        name = self.find(pattern)
        return None if name is None else self.json_in(name)

    def json_in(self, name: str) -> Any:
        """The content of one of :attr:`files`; None if it is not JSON."""
        try:
            return self._file(name).json
        except UserError:
            return None

    @cached_property
    def only_json(self) -> "Seen | None":
        """The path itself, or, of a folder, its only JSON file; None if it has none or several."""
        if not self.is_folder:
            return self
        names = [name for name in self.files if name.lower().endswith(".json")]
        return self._file(names[0]) if len(names) == 1 else None

    @property
    def content(self) -> Any:
        """The content of :attr:`only_json`; None if it is not JSON, or there is none."""
        return None if self.only_json is None else self.only_json.json

    def _file(self, name: str) -> "Seen":
        return self._inner.setdefault(name, Seen(os.path.join(self.path, name)))


def only_json_file(path: str) -> str:
    """The JSON file of labels: the path, or the only one in a folder.

    Raises:
        UserError: the folder holds none, or several.
    """
    found = Seen(path).only_json
    if found is None:
        raise UserError(f"{path} holds no JSON file, or several: name the one with the labels")
    return found.path


Recogniser = Callable[[Seen], bool]
R = TypeVar("R", bound=Recogniser)

RECOGNISERS: dict[str, Recogniser] = {}


def recogniser(name: str) -> Callable[[R], R]:
    """Decorate a function that says whether a file or folder has the format ``name``.

    It must be quick, must not fail on odd files, and no two may claim the same labels.
    """

    def register(function: R) -> R:
        assert name not in RECOGNISERS, f"format {name} is recognised twice"
        RECOGNISERS[name] = function
        return function

    return register


def recognised(path: str, format: str | None = None) -> tuple[str, Seen] | None:
    """The format of labels, and the file or folder that has it; None if none is known.

    Args:
        path: of a file, a folder or a zip archive.
        format: only this one is asked; None: all.

    Raises:
        UserError: it does not exist, or has more than one format.
    """
    asked = RECOGNISERS if format is None else {format: RECOGNISERS[format]}
    for seen in places_at(path):
        found = [name for name, recognises in asked.items() if recognises(seen)]
        if len(found) == 1:
            return found[0], seen
        if found:
            raise UserError(f"{path} may be {' or '.join(sorted(found))}: name its format")
    return None


def no_format(path: str, odd: str | None = None) -> UserError:
    """What to say of labels in no format that is known, or of archives that ``odd`` lies beside.

    Raises:
        UserError: the first of several JSON files is damaged.
    """
    seen = places_at(path)[-1]
    hints = ["name its format"]
    if not seen.is_folder and (packed := packing_of(seen.start)):
        other = "call it .zip" if packed == "zip" else "unpack it, and give the folder"
        return UserError(f"{path} is packed ({packed}): {other}")
    several = [name for name in seen.files if name.lower().endswith(".json")]
    if len(several) > 1:
        paths = [os.path.join(seen.path, name) for name in several[:_LOOKED_AT]]
        read_json(paths[0])
        known_one = next((each for each in paths if recognised(each) is not None), paths[0])
        hints.insert(0, f"name one of its JSON files, such as {known_one}")
    archives = [name for name in seen.files if name.lower().endswith(".zip")]
    if archives:
        first = os.path.join(seen.path, archives[0])
        if len(archives) == 1 and recognised(first) is None:
            return no_format(first)
        beside = f", or take {odd} away" if odd else ""
        hints = [f"name one of its archives, such as {first}{beside}"]
    known = ", ".join(sorted(RECOGNISERS))
    return UserError(
        f"{path} has no format of labels that is known ({known}): {', or '.join(hints)}"
    )


def unpacked(path: str) -> str:
    """The folder of what a zip archive holds, in the cache, or a file in it; any other path as it is.

    Args:
        path: also such as ``export.zip!/annotations/default.json``, which messages call files in archives.

    Raises:
        UserError: see :func:`~d2video.fetching.unpack`.
    """
    archive, mark, member = path.partition("!/")
    if not (archive.lower().endswith(".zip") and os.path.isfile(archive)):
        return path
    return unpacked(os.path.join(unpack(archive), member) if mark else str(unpack(archive)))


def exists(path: str) -> bool:
    """Whether there is a file, a folder or an archive that a path begins with, see :func:`unpacked`."""
    return any(map(os.path.exists, (path, path.partition("!/")[0])))


def places_at(path: str) -> list[Seen]:
    """What the path names, and the only folder in it, which archives often have around all else.

    Raises:
        UserError: it does not exist, or an archive cannot be unpacked.
    """
    place = unpacked(path)
    if not os.path.exists(place):
        raise UserError(f"{path} does not exist: correct the path of the labels")
    inner = (
        [entry for entry in os.scandir(place) if entry.name[0] != "."]
        if os.path.isdir(place)
        else []
    )
    is_around = len(inner) == 1 and inner[0].is_dir()
    return [Seen(place), Seen(inner[0].path)] if is_around else [Seen(place)]
