"""Faults in files, as objects that say where they are.

A reader hands each fault to ``report``, leaves the entry out and goes on with the next one. By default
:func:`refuse` raises, so that a training stops at the first fault; tools/check_dataset.py collects all.
What leaves nothing to read (no such file, another format) is a UserError at once.
"""

from collections.abc import Callable
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
    """What is wrong with the entry that is being read; :class:`Entry` makes a :class:`Fault` of it."""


@dataclass(frozen=True)
class Entry:
    """The context in which an entry is read: an EntryError raised in it is reported and ends it.

    ::

        for number, line in enumerate(lines, 1):
            with Entry(report, path, "line", number):
                records.append(read(line))

    ``path``, ``kind`` and ``name`` are those of the :class:`Fault`.
    """

    report: Report
    path: str
    kind: str
    name: Any

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        if not isinstance(error, EntryError):
            return False
        self.report(Fault(self.path, self.kind, self.name, str(error)))
        return True
