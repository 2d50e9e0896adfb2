"""What a reader finds in a file beyond what it returns: faults, doubts, and what it leaves out.

What a file says is either used or reported, once. A reader hands what it finds to ``report``:

* :class:`Fault`: an entry is wrong. The reader leaves it out and goes on with the next one.
* :class:`Doubt`: the file is probably not meant as it reads, but it can be used.
* :class:`LeftOut`: sound entries that are not used, counted by reason.

By default :func:`refuse` raises at the first fault and logs the others, so that training, evaluation
and prediction judge alike; d2video check collects all three from the same readers. What leaves
nothing to read (a missing file, another format) is a UserError at once.
"""

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

from detectron2.utils.logger import log_first_n

from d2video.utils.errors import BrokenFile, UserError
from d2video.utils.shown_paths import as_shown


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
            return as_shown(self.text)
        place = f", line {self.entry}" if self.kind == "line" else f": {self.kind} {self.entry}"
        return as_shown(f"{self.path}{place}: {self.text}")


@dataclass(frozen=True)
class Doubt:
    """Why a file, which can be used, is probably not meant as it reads.

    Attributes:
        path: of the file.
        text: what was seen, in how many entries, and what to do.
    """

    path: str
    text: str

    def __str__(self) -> str:
        """One sentence with the file."""
        return as_shown(f"{self.path}: {self.text}")


@dataclass(frozen=True)
class LeftOut:
    """The entries of a file or a folder that are sound and not used.

    Attributes:
        source: path of the file or of the dataset's folder.
        noun: what the entries are, in the plural: "boxes", "annotations".
        used: how many are used.
        reasons: how many are not, by reason; each is printed after its number: "of class 2".
        advice: what would keep them, if anything would.
        done: what is done with those that are used.
    """

    source: str
    noun: str
    used: int
    reasons: Mapping[str, int]
    advice: tuple[str, ...] = ()
    done: str = "used"

    def __str__(self) -> str:
        """One sentence: how many are used, and how many are not for which reason."""
        total = self.used + sum(self.reasons.values())
        most_first = sorted(self.reasons.items(), key=lambda item: (-item[1], item[0]))
        why = ", ".join(f"{count} {reason}" for reason, count in most_first)
        what = f"{self.source}: {self.used} of {total} {self.noun} are {self.done}; left out: {why}"
        return as_shown("; ".join([what, *self.advice]))


Finding: TypeAlias = Fault | Doubt | LeftOut
Report = Callable[[Finding], None]

_known: list[Sequence[Finding]] = []  # of each context of not_logged


def refuse(finding: Finding) -> None:
    """Raise a UserError with a fault's text; log anything else, once in a process.

    Raises:
        UserError: it is a fault.
    """
    if isinstance(finding, Fault):
        raise UserError(str(finding))
    if not any(finding in each for each in _known):
        log_first_n(logging.WARNING, str(finding), name=__name__, key="message")


@contextmanager
def not_logged(known: Sequence[Finding]) -> Iterator[None]:
    """The context in which :func:`refuse` does not log what is known, as that is shown by other means."""
    _known.append(known)
    try:
        yield
    finally:
        _known.pop()


class Tally:
    """Counts what is used and what is left out while one source is read.

    ::

        tally = Tally(path, "annotations")
        for fields in entries:
            if fields["iscrowd"]:
                tally.leave_out("that mark a crowd")
                continue
            tally.used += 1
        tally.tell(report)
    """

    def __init__(self, source: str, noun: str, done: str = "used") -> None:
        """``source``, ``noun`` and ``done`` are those of :class:`LeftOut`."""
        self.source, self.noun, self.done = source, noun, done
        self.used = 0
        self.reasons: Counter[str] = Counter()
        self.advice: dict[str, None] = {}  # a set that keeps its order

    def leave_out(self, reason: str, count: int = 1, advice: str | None = None) -> None:
        """Count entries that are not used; ``reason`` is printed after their number.

        ``advice`` says what would keep them.
        """
        self.reasons[reason] += count
        if count and advice is not None:
            self.advice[advice] = None

    def add(self, counted: LeftOut) -> None:
        """Count what was counted elsewhere, in a part of the source."""
        self.used += counted.used
        self.reasons.update(counted.reasons)

    def left_out(self) -> LeftOut:
        """What was counted so far."""
        advice = tuple(self.advice)
        return LeftOut(self.source, self.noun, self.used, +self.reasons, advice, self.done)

    def tell(self, report: Report) -> None:
        """Report what was left out, if anything was."""
        found = self.left_out()
        if found.reasons:
            report(found)


class EntryError(ValueError):
    """What is wrong with the entry that is being read; :func:`reporting` makes a :class:`Fault` of it."""


@contextmanager
def reporting(report: Report, path: str, kind: str, entry: Any) -> Iterator[None]:
    """The context in which an entry is read: an EntryError, or the BrokenFile of an image or a video that
    it names, is reported and ends it.

    ::

        for number, line in enumerate(lines, 1):
            with reporting(report, path, "line", number):
                records.append(read(line))

    ``path``, ``kind`` and ``entry`` are those of the :class:`Fault`.
    """
    try:
        yield
    except (EntryError, BrokenFile) as error:
        report(Fault(path, kind, entry, str(error)))


@contextmanager
def reporting_video(report: Report, path: str) -> Iterator[None]:
    """The context in which one of several videos is read: a UserError, such as that its frames are missing,
    is reported and ends it. ``path`` is that of its labels; the error names it."""
    try:
        yield
    except UserError as error:
        report(Fault(path, "file", None, str(error)))
