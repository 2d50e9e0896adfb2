"""The formats of labels by name, and which of them a file or folder has."""

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from d2video.formats.faults import Report, refuse
from d2video.formats.label_set import LabelSet
from d2video.formats.text import read_json
from d2video.utils.errors import UserError
from d2video.utils.near_names import did_you_mean

F = TypeVar("F", bound=Callable[..., LabelSet])

_MOST_FILES = 20_000
_HEAD = 1 << 16  # bytes


class Seen:
    """What is at a path, looked at lazily, for recognition.

    Attributes:
        path: of the file or folder.
    """

    def __init__(self, path: str) -> None:
        self.path = path

    @cached_property
    def is_folder(self) -> bool:
        return os.path.isdir(self.path)

    @cached_property
    def files(self) -> list[str]:
        """Of a folder the files in it, down to four levels, relative and with "/"; not all of very many."""
        found: list[str] = []
        for folder, below, names in os.walk(self.path):
            relative = os.path.relpath(folder, self.path)
            parts = [] if relative == "." else relative.split(os.sep)
            below[:] = [] if len(parts) >= 4 else sorted(n for n in below if not n.startswith("."))
            found += ["/".join([*parts, n]) for n in sorted(names) if not n.startswith(".")]
            if len(found) > _MOST_FILES:
                break
        return found

    def has(self, pattern: str) -> bool:
        """Whether a folder has a file by a pattern of :meth:`pathlib.PurePath.match`."""
        return any(Path(name).match(pattern) for name in self.files)

    @cached_property
    def head(self) -> str:
        """The start of a file; "" of a folder or of what is not text."""
        if self.is_folder:
            return ""
        with open(self.path, "rb") as file:
            return file.read(_HEAD).decode("utf-8-sig", errors="ignore").lstrip()

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
        """The content of the first JSON file of a folder by a pattern; None if there is none."""
        name = next((name for name in self.files if Path(name).match(pattern)), None)
        if name is None:
            return None
        try:
            with open(os.path.join(self.path, name), encoding="utf-8") as file:
                return json.load(file)
        except ValueError:
            return None


@dataclass(frozen=True)
class LabelFormat:
    """A format.

    Attributes:
        name: as in DATASETS.REGISTER.
        read: ``read(root, report, image_root=..., ...)`` gives the labels; its other arguments are those
            of the format.
        recognises: whether a file or folder has it.
        summary: what writes it, for lists.
    """

    name: str
    read: Callable[..., LabelSet]
    recognises: Callable[[Seen], bool]
    summary: str


LABEL_FORMATS: dict[str, LabelFormat] = {}


def label_format(name: str, summary: str, recognises: Callable[[Seen], bool]) -> Callable[[F], F]:
    """Decorate a reader; the arguments are those of :class:`LabelFormat`.

    A reader has the form ``read(root: str, report: Report = refuse, *, image_root: str | None = None,
    ...) -> LabelSet``. ``root`` is the file or the folder as the tool wrote it, ``image_root`` where its
    frames are if they are not where the tool puts them; further arguments have types and defaults.
    """

    def register(function: F) -> F:
        assert name not in LABEL_FORMATS, f"format {name} is registered twice"
        LABEL_FORMATS[name] = LabelFormat(name, function, recognises, summary)
        return function

    return register


def recognised_format(path: str) -> LabelFormat:
    """The format of a file or folder.

    Raises:
        UserError: it does not exist, or has no format that is known, or more than one.
    """
    if not os.path.exists(path):
        raise UserError(f"{path} does not exist: correct the path of the labels")
    seen = Seen(path)
    found = [each for each in LABEL_FORMATS.values() if each.recognises(seen)]
    if len(found) == 1:
        return found[0]
    if not found:
        known = ", ".join(sorted(LABEL_FORMATS))
        raise UserError(f"{path} has no format of labels that is known ({known}): name its format")
    names = " or ".join(each.name for each in found)
    raise UserError(f"{path} may be {names}: name its format")


def read_labels(
    path: str, format: str | None = None, report: Report = refuse, **options: Any
) -> LabelSet:
    """Read labels.

    Args:
        path: the file or folder as the tool wrote it.
        format: a name of :data:`LABEL_FORMATS`; None: recognised.
        report: takes faults, doubts and what is left out.
        options: of the format's reader.

    Raises:
        UserError: the format is unknown, or the labels cannot be read.
    """
    if format is None:
        return recognised_format(path).read(path, report, **options)
    if format not in LABEL_FORMATS:
        hint = did_you_mean(format, LABEL_FORMATS, f"choose {', '.join(sorted(LABEL_FORMATS))}")
        raise UserError(f"there is no format of labels '{format}': {hint}")
    return LABEL_FORMATS[format].read(path, report, **options)
