"""What trainings and evaluations have left in files, and tables of it."""

import json
import math
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

from d2video.report.page import Table
from d2video.utils.errors import UserError

Series = list[tuple[int, float]]
"""(iteration, value) points in order."""


def read_metrics(path: Path) -> dict[str, Series]:
    """Every scalar in the ``metrics.json`` that detectron2's trainer writes: one object a line.

    Where a resumed run, or another one in the same folder, went back, a scalar loses its values at later
    iterations. (The lines of one run are not in order either, but those of one scalar are.)

    Raises:
        UserError: the file is missing or has another form.
    """
    curves: dict[str, dict[int, float]] = {}
    for number, line in enumerate(_read(path).splitlines(), start=1):
        try:
            record = json.loads(line)
            iteration = record.pop("iteration")
        except (json.JSONDecodeError, AttributeError, KeyError, TypeError) as error:
            raise UserError(
                f"{path}, line {number}: expected a JSON object with 'iteration', as "
                "detectron2's JSONWriter writes it"
            ) from error
        for name, value in record.items():
            points = curves.setdefault(name, {})
            while points and next(reversed(points)) > iteration:
                points.popitem()
            points[iteration] = value
    return {name: list(points.items()) for name, points in curves.items()}


def final_results(path: Path, task: str) -> dict[str, float]:
    """What the last evaluation found.

    Args:
        path: a training's ``metrics.json``, or a file of ``{task: {metric: value}}``.

    Raises:
        UserError: the file is missing, or has no results of the task.
    """
    if path.name == "metrics.json":
        prefix = f"{task}/"
        found = {
            name.removeprefix(prefix): points[-1][1]
            for name, points in read_metrics(path).items()
            if name.startswith(prefix)
        }
    else:
        found = json.loads(_read(path)).get(task)
    if not found:
        raise UserError(f"{path} holds no results of '{task}': delete {path.parent} and run again")
    return found


def metrics_table(
    caption: str,
    results: Mapping[str, float],
    meanings: Mapping[str, str],
    counts: Sequence[str] = (),
) -> Table:
    """A row for each metric of ``meanings``; ``counts`` are shown without decimals."""
    header = ["metric", "meaning", f"value (%{' or number' * bool(counts)})"]
    rows: list[list[str | float | None]] = [
        [name, meaning, _cell(results.get(name, math.nan), name in counts)]
        for name, meaning in meanings.items()
    ]
    return Table(caption, header, rows)


def mean_and_range(values: Sequence[float], decimals: int) -> str:
    """Such as "72.4 (70.1 to 73.5)"; of one value "72.4", of none "–"."""
    if not values:
        return "–"
    mean, low, high = (
        f"{value:.{decimals}f}" for value in (statistics.mean(values), min(values), max(values))
    )
    return mean if len(values) == 1 else f"{mean} ({low} to {high})"


def class_table(caption: str, results: Mapping[str, float], metric: str) -> Table:
    """A row for each result ``<metric>-<class>``, in their order."""
    prefix = f"{metric}-"
    rows = [(k.removeprefix(prefix), v) for k, v in results.items() if k.startswith(prefix)]
    return Table(caption, ("class", f"{metric} (%)"), rows)


def comparison_table(
    caption: str,
    results: Mapping[str, Mapping[str, float]],
    metrics: Sequence[str],
    counts: Sequence[str] = (),
) -> Table:
    """A row for each of ``results`` by title, a column for each metric."""
    rows: list[tuple[str | float | None, ...]] = [
        (title, *(_cell(found.get(name, math.nan), name in counts) for name in metrics))
        for title, found in results.items()
    ]
    header = ["", *(name if name in counts else f"{name} (%)" for name in metrics)]
    return Table(caption, header, rows)


def _cell(value: float, is_count: bool) -> float:
    return round(value) if is_count and not math.isnan(value) else value


def _read(path: Path) -> str:
    if not path.is_file():
        raise UserError(f"{path} does not exist: run the training or evaluation that writes it")
    return path.read_text(encoding="utf-8")
