"""The table of a sweep: of each row the mean over its seeds and how far they are apart."""

import csv
import io
import statistics
from collections.abc import Sequence
from typing import Any

from d2video.engine.sweep import Sweep, locked
from d2video.report.results import mean_and_range
from d2video.utils.errors import UserError
from d2video.utils.files import open_text, write_json
from d2video.utils.near_names import did_you_mean

Results = dict[str, dict[int, dict[str, float]]]
"""{row: {seed: {metric: value}}}; rows without a finished training are empty."""


def write_table(sweep: Sweep) -> str | None:
    """Rewrite ``table.md``, ``table.json`` and ``table.csv``.

    Several processes may do so at once; the last one sees what all of them have finished.

    Returns:
        the table in Markdown; None: no training has ended, and nothing is written.

    Raises:
        UserError: no training has one of the sweep's metrics, or a row has changed since its training.
    """
    with locked(sweep.folder / ".lock", wait=True):
        results: Results = {task.row: {} for task in sweep.tasks}
        for task in sweep.tasks:
            if (found := task.results()) is not None:
                results[task.row][task.seed] = found
        known = {
            name for by_seed in results.values() for found in by_seed.values() for name in found
        }
        if not known:
            return None
        for metric in sweep.metrics:
            if metric not in known:
                measured = sorted(name for name in known if "/" in name)
                hint = did_you_mean(metric, measured, f"they have {', '.join(measured)}")
                raise UserError(f"no training of the sweep has the metric '{metric}': {hint}")
        text = markdown(results, sweep.metrics, len(sweep.tasks) // len(results))
        for name, content in (("md", text), ("csv", _csv(results, sweep.metrics))):
            with open_text(sweep.folder / f"table.{name}") as put:
                put(content)
        write_json(sweep.folder / "table.json", _as_json(sweep, results))
    return text


def markdown(results: Results, metrics: Sequence[str], seeds: int) -> str:
    """A row each: mean (lowest to highest) of each metric.

    Args:
        seeds: of a row whose trainings have all ended.
    """
    columns = []
    for metric in metrics:
        by_row = [_values(by_seed, metric) for by_seed in results.values()]
        highest = max((abs(value) for values in by_row for value in values), default=0)
        columns.append([mean_and_range(values, 1 if highest >= 10 else 3) for values in by_row])
    lines = [["row", *metrics, "seeds"], ["---"] * (2 + len(metrics))]
    for (row, by_seed), cells in zip(results.items(), zip(*columns, strict=True), strict=True):
        done = str(seeds) if len(by_seed) == seeds else f"{len(by_seed)} of {seeds}"
        lines.append([row.replace("|", "\\|"), *cells, done])
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _values(by_seed: dict[int, dict[str, float]], metric: str) -> list[float]:
    found = [results.get(metric) for results in by_seed.values()]
    return [value for value in found if value is not None]  # None: JSON's of NaN


def _as_json(sweep: Sweep, results: Results) -> dict[str, Any]:
    tasks = {task.row: task for task in sweep.tasks}
    rows = []
    for name, by_seed in results.items():
        row: dict[str, Any] = {"row": name, "config": tasks[name].config}
        row["keys"] = {key: value for key, value in tasks[name].keys.items() if key != "SEED"}
        for metric in sweep.metrics:
            if values := _values(by_seed, metric):
                row[metric] = {
                    "mean": statistics.mean(values),
                    "deviation": statistics.stdev(values) if len(values) > 1 else None,
                    "lowest": min(values),
                    "highest": max(values),
                    "by_seed": {str(seed): each.get(metric) for seed, each in by_seed.items()},
                }
        rows.append(row)
    return {"metrics": list(sweep.metrics), "rows": rows}


def _csv(results: Results, metrics: Sequence[str]) -> str:
    """A line each training."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["row", "seed", *metrics])
    for name, by_seed in results.items():
        for seed, found in by_seed.items():
            table.writerow([name, seed, *(found.get(metric) for metric in metrics)])
    return text.getvalue()
