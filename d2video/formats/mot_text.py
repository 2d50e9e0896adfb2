"""Tables of numbers as the MOTChallenge's text files hold them: a row a line, split by commas."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from d2video.formats.faults import EntryError, Fault, Report, reporting
from d2video.formats.text import read_lines
from d2video.utils.errors import UserError


@dataclass(frozen=True)
class TextTable:
    """The numbers of a file.

    Attributes:
        path: of the file.
        report: takes the faults of rows.
        values: (N,C) float64, all finite.
        lines: (N,) the line of each row, from 1 on.
        texts: (N,) object, what else is in the row.
    """

    path: str
    report: Report
    values: np.ndarray
    lines: np.ndarray
    texts: np.ndarray

    def column(self, number: int) -> np.ndarray:
        """A column as int64 (N,)."""
        return self.values[:, number].astype(np.int64)

    def without(self, bad: ArrayLike, fault: Callable[[int], str]) -> "TextTable":
        """Report the rows for which ``bad`` (N,) bool is set, and leave them out.

        ``fault`` says what is wrong with a row.
        """
        if not np.any(bad):
            return self
        for row in np.flatnonzero(bad).tolist():
            text = f"{fault(row)}; correct the file"
            self.report(Fault(self.path, "line", int(self.lines[row]), text))
        return self.select(~np.asarray(bad))

    def select(self, kept: np.ndarray) -> "TextTable":
        """The rows for which ``kept`` (N,) bool is set."""
        columns = {key: getattr(self, key)[kept] for key in ("values", "lines", "texts")}
        return replace(self, **columns)

    def with_integers(self, number: int, name: str) -> "TextTable":
        """Leave out rows with a fraction in this column, whose name is for messages."""
        values = self.values[:, number]
        fractional = (values % 1 != 0) | (np.abs(values) > 2**53)
        return self.without(fractional, lambda i: f"the {name} {values[i]:g} is not a whole number")

    def in_sequence(self, frame_numbers: Sequence[int], advice: str = "") -> "TextTable":
        """Leave out rows whose frame, column 0, is not among these numbers.

        ``advice`` follows in the message.
        """
        table = self.with_integers(0, "frame")
        frame = table.column(0)
        return table.without(
            ~np.isin(frame, np.asarray(frame_numbers)),
            lambda i: (
                f"frame {frame[i]} is not among the sequence's frames {_brief(frame_numbers)}{advice}"
            ),
        )

    def places(self, frame_numbers: Sequence[int]) -> np.ndarray:
        """The place of each row's frame among these ascending numbers, (N,) int64, from 1 on."""
        return np.searchsorted(np.asarray(frame_numbers), self.column(0)) + 1

    def with_ids(self, repeats: Sequence[int] = ()) -> "TextTable":
        """Leave out rows whose id, column 1, is below 0 or a second time in its frame.

        Args:
            repeats: classes, in column 2, whose ids may come several times.
        """
        table = self.with_integers(1, "id")
        below = table.column(1)
        table = table.without(below < 0, lambda i: f"the id {below[i]} is negative")
        frame, track_id = table.column(0), table.column(1)
        unique = ~np.isin(table.values[:, 2], repeats) if repeats else None
        return table.without(
            repeated(frame, track_id, unique),
            lambda i: f"id {track_id[i]} is there twice in frame {frame[i]}",
        )


def _brief(numbers: Sequence[int]) -> str:
    first, last = numbers[0], numbers[-1]
    if last - first + 1 == len(numbers):
        return f"{first} to {last}"
    return f"{', '.join(map(str, numbers[:3]))} ... {last}"


def repeated(
    frame: np.ndarray, track_id: np.ndarray, unique: np.ndarray | None = None
) -> np.ndarray:
    """(N,) True where a pair of the two was there before, among the rows that ``unique`` names."""
    order = np.lexsort((track_id, frame))  # stable: of equal pairs the earlier row comes first
    if unique is not None:
        order = order[unique[order]]
    same = (np.diff(frame[order]) == 0) & (np.diff(track_id[order]) == 0)
    found = np.zeros(len(frame), dtype=bool)
    found[order[1:][same]] = True
    return found


def read_table(path: str, widths: range, layout: str, report: Report) -> TextTable:
    """Read rows of numbers split by commas, with or without spaces; blank lines are passed over.

    Args:
        path: text file; an empty one is a table without rows.
        widths: how many columns the table may have.
        layout: their names, for messages.
        report: takes the faults of rows: another number of columns than the format or the first
            row has, text in the place of a number, or a number that is not finite.

    Raises:
        UserError: as :func:`read_lines`.
    """
    numbered = [(i, line) for i, line in enumerate(read_lines(path), 1) if line.strip()]
    try:
        values = _numbers(numbered, widths)
    except ValueError:
        numbered = _sound_rows(numbered, widths, layout, path, report)
        try:
            values = _numbers(numbered, widths)
        except ValueError as error:
            raise UserError(f"{path}: {error}; correct the file") from None
    lines = np.array([i for i, _ in numbered], dtype=np.int64)
    table = TextTable(path, report, values, lines, np.empty(len(lines), object))
    return table.without(~np.isfinite(values).all(axis=1), lambda i: "a number is nan or infinite")


def _numbers(numbered: list[tuple[int, str]], widths: range) -> np.ndarray:
    if not numbered:
        return np.zeros((0, widths[-1]))
    values = np.loadtxt([line for _, line in numbered], delimiter=",", comments=None, ndmin=2)
    if values.shape[1] not in widths:
        raise ValueError("another number of columns")
    return values


def _sound_rows(
    numbered: list[tuple[int, str]], widths: range, layout: str, path: str, report: Report
) -> list[tuple[int, str]]:
    """The lines that are rows of the table; the others are reported."""
    sound: list[tuple[int, str]] = []
    width = None
    for i, line in numbered:
        with reporting(report, path, "line", i):
            fields = line.split(",")
            if len(fields) not in widths:
                several = "" if len(widths) == 1 else f"{widths[0]} to "
                raise EntryError(
                    f"it has {len(fields)} columns split by commas, not {several}{widths[-1]} "
                    f"({layout}); correct the file"
                )
            if len(fields) != (width or len(fields)):
                raise EntryError(
                    f"it has {len(fields)} columns, the lines before it {width}; correct the file"
                )
            for field in fields:
                check_number(field)
            width = len(fields)
            sound.append((i, line))
    return sound


def check_number(text: str) -> None:
    """Raise an EntryError if a field does not hold a number."""
    try:
        float(text)
    except ValueError:
        raise EntryError(f"'{text.strip()[:40]}' is not a number; correct the file") from None
