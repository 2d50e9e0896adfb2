"""Faults in files, as objects that say where they are.

A reader hands each fault to ``report``, leaves the entry out and goes on with the next one. By default
:func:`refuse` raises, so that a training stops at the first fault; tools/check_dataset.py collects all.
What leaves nothing to read (no such file, another format) is a UserError at once.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from d2video.utils.errors import UserError


@dataclass(frozen=True)
class Fault:
    """What is wrong with one entry of a file.

    Attributes:
        path: of the file.
        kind: of the entry: "line", "annotation", "image", ...; "file": the text names the file.
        entry: the line's number, or the id of the entry.
        text: what is wrong, and what to do.
    """

    path: str
    kind: str
    entry: Any
    text: str

    def __str__(self) -> str:
        """One sentence with file and place."""
        if self.kind == "file":
            return self.text
        place = f", line {self.entry}" if self.kind == "line" else f": {self.kind} {self.entry}"
        return f"{self.path}{place}: {self.text}"


Report = Callable[[Fault], None]


def refuse(fault: Fault) -> None:
    """Raise a UserError with the fault's text."""
    raise UserError(str(fault))


class EntryError(ValueError):
    """What is wrong with the entry that is being read; :func:`reporting` makes a :class:`Fault` of it."""


@contextmanager
def reporting(report: Report, path: str, kind: str, entry: Any) -> Iterator[None]:
    """The context in which an entry is read: an EntryError raised in it is reported and ends it.

    ::

        for number, line in enumerate(lines, 1):
            with reporting(report, path, "line", number):
                records.append(read(line))

    ``path``, ``kind`` and ``entry`` are those of the :class:`Fault`.
    """
    try:
        yield
    except EntryError as error:
        report(Fault(path, kind, entry, str(error)))
