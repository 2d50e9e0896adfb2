"""Tables of numbers as the MOTChallenge's text files hold them: a row a line, split by commas."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from d2video.utils.errors import UserError


@dataclass(frozen=True)
class TextTable:
    """The numbers of a file.

    Attributes:
        path: of the file, for messages.
        values: (N,C) float64, all finite.
        lines: (N,) the line of each row, from 1 on.
    """

    path: str
    values: np.ndarray
    lines: np.ndarray

    def integers(self, column: int, name: str) -> np.ndarray:
        """A column as int64 (N,), or a UserError that calls it ``name``."""
        values = self.values[:, column]
        fractional = (values % 1 != 0) | (np.abs(values) > 2**53)
        refuse(fractional, self, lambda i: f"the {name} {values[i]:g} is no whole number")
        return values.astype(np.int64)


def refuse(bad: ArrayLike, table: TextTable, fault: Callable[[int], str]) -> None:
    """Raise a UserError about the first row for which ``bad`` (N,) bool is set, if there is one.

    Args:
        bad: of each row.
        table: names the file and the line.
        fault: row to what is wrong with it.
    """
    if np.any(bad):
        row = int(np.argmax(bad))
        raise UserError(f"{table.path}, line {table.lines[row]}: {fault(row)}; mend the file")


def read_lines(path: str) -> list[str]:
    """The lines of a text file, line ends removed.

    Raises:
        UserError: it does not exist, cannot be read, or is no text.
    """
    try:
        with open(path, encoding="utf-8-sig") as file:
            # Not splitlines, which also splits at characters that no editor counts as line ends.
            return file.read().split("\n")
    except FileNotFoundError as error:
        raise UserError(
            f"file {path} does not exist: set DETECTRON2_DATASETS or mend the path"
        ) from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is no text file: fetch or write it again") from error
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error


def read_table(path: str, widths: range, layout: str) -> TextTable:
    """Read rows of numbers split by commas, with or without spaces; blank lines are passed over.

    Args:
        path: text file; an empty one is a table without rows.
        widths: how many columns the table may have.
        layout: their names, for messages.

    Raises:
        UserError: as :func:`read_lines`; another number of columns, in all rows or in one; text in
            the place of a number, or a number that is not finite.
    """
    numbered = [(i, line) for i, line in enumerate(read_lines(path), 1) if line.strip()]
    lines = np.array([i for i, _ in numbered], dtype=np.int64)
    if not numbered:
        return TextTable(path, np.zeros((0, widths[-1])), lines)
    try:
        values = np.loadtxt([line for _, line in numbered], delimiter=",", comments=None, ndmin=2)
    except ValueError as error:
        fault = _first_fault(numbered, widths, layout)
        raise UserError(f"{path}{fault or f': {error}'}; mend the file") from None
    if values.shape[1] not in widths:
        raise UserError(f"{path}{_first_fault(numbered, widths, layout)}; mend the file")
    table = TextTable(path, values, lines)
    refuse(~np.isfinite(values).all(axis=1), table, lambda i: "a number is nan or infinite")
    return table


def _first_fault(numbered: list[tuple[int, str]], widths: range, layout: str) -> str | None:
    """Where and what the first line is that is no row of the table."""
    width = numbered[0][1].count(",") + 1
    for i, line in numbered:
        fields = line.split(",")
        if len(fields) not in widths:
            several = "" if len(widths) == 1 else f"{widths[0]} to "
            return (
                f", line {i}: it has {len(fields)} columns split by commas, not {several}"
                f"{widths[-1]} ({layout})"
            )
        if len(fields) != width:
            return f", line {i}: it has {len(fields)} columns, the lines before it {width}"
        for field in fields:
            try:
                float(field)
            except ValueError:
                return f", line {i}: '{field.strip()[:40]}' is no number"
    return None
