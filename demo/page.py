"""The page of `make demo`: clips, curves, and tables of the results."""

import json
import math
import os
from collections.abc import Sequence
from pathlib import Path

from d2video.utils.errors import UserError
from demo.recipes import Comparison, Recipe
from demo.report import Table, read_metrics, write_report
from projects.IPT.demo_tables import read_restoration, restoration_figures, restoration_tables


def last_results(metrics_file: Path, task: str, names: list[str]) -> dict[str, float]:
    """The values that the last evaluation wrote; NaN for a class that no held-out video shows."""
    found = read_metrics(metrics_file, [f"{task}/{name}" for name in names])
    if not found:
        raise UserError(
            f"{metrics_file} holds no results: delete {metrics_file.parent} and run again"
        )
    return {
        name: found[f"{task}/{name}"][-1][1] if f"{task}/{name}" in found else math.nan
        for name in names
    }


def read_results(path: Path, task: str, names: Sequence[str]) -> dict[str, float]:
    """The values of an evaluation: of a training's metrics.json, or of ``{task: {name: value}}``."""
    if path.name == "metrics.json":
        return last_results(path, task, list(names))
    if not path.is_file():
        raise UserError(f"{path} does not exist: that evaluation has not been run")
    results = json.loads(path.read_text(encoding="utf-8"))
    if task not in results:
        raise UserError(f"{path} holds no results of '{task}': delete it and run again")
    return {name: results[task].get(name, math.nan) for name in names}


def cell(value: float, is_count: bool) -> float:
    """A value for a table, which shows whole numbers without decimals."""
    return round(value) if is_count and not math.isnan(value) else value


def comparison_table(comparison: Comparison, output: Path) -> Table:
    """The table of a comparison whose files lie below ``output``."""
    rows: list[list[str | float | None]] = []
    for title, file in comparison.rows.items():
        values = read_results(output / file, comparison.task, comparison.metrics)
        rows.append([title, *(cell(v, name in comparison.counts) for name, v in values.items())])
    header = [name if name in comparison.counts else f"{name} (%)" for name in comparison.metrics]
    return Table(comparison.caption, ["", *header], rows)


def class_rows(metrics_file: Path, task: str, metric: str) -> list[tuple[str, float]]:
    """The classes and their values by the last evaluation, in its order."""
    prefix = f"{task}/{metric}-"
    lines = metrics_file.read_text(encoding="utf-8").splitlines()
    found = [name for name in map(json.loads, lines) if any(k.startswith(prefix) for k in name)]
    if not found:
        raise UserError(
            f"{metrics_file} holds no results: delete {metrics_file.parent} and run again"
        )
    return [
        (name.removeprefix(prefix), value)
        for name, value in found[-1].items()
        if name.startswith(prefix)
    ]


def write_page(
    recipe: Recipe,
    project: str,
    output: Path,
    page: Path,
    clips: Sequence[tuple[str, str | os.PathLike[str]]],
) -> dict[str, float]:
    """Write the page of a recipe whose trainings lie below ``output``.

    Args:
        project: the system's name.
        page: HTML file to write.
        clips: (caption, file) of videos and pictures.

    Returns:
        the trainings' metrics by task and name.

    Raises:
        UserError: a training or an evaluation has left no results.
    """
    tables: list[Table] = []
    curves, figures = {}, {}
    clips = list(clips)
    held_out = f"{recipe.splits['val']} held-out {recipe.noun}"
    for run in recipe.runs:
        metrics_file = output / run.name / "metrics.json"
        for title, series in run.curves.items():
            found = read_metrics(metrics_file, list(series.values()))
            curves[f"{run.name}: {title}"] = {
                label: found[name] for label, name in series.items() if name in found
            }
        if recipe.kind == "restoration":
            restored = read_restoration(metrics_file)
            figures.update(restoration_figures(restored))
            tables += restoration_tables(restored, f"{run.name}: results on {held_out}")
            continue
        results = last_results(metrics_file, run.task, list(run.metrics))
        figures.update({f"{run.task} {name}": value for name, value in results.items()})
        overall = [
            (name, meaning, cell(results[name], name in run.counts))
            for name, meaning in run.metrics.items()
        ]
        header = ("metric", "meaning", "value (% or number)" if run.counts else "value (%)")
        tables.append(Table(f"{run.name}: results on {held_out}", header, overall))
        if run.class_metric is not None:
            rows = class_rows(metrics_file, run.task, run.class_metric)
            caption = f"{run.name}: {run.class_metric} by class"
            tables.append(Table(caption, ("class", f"{run.class_metric} (%)"), rows))
        clips += [
            (f"{run.name}: {caption}", output / run.name / picture)
            for caption, picture in run.pictures.items()
        ]
    tables += [comparison_table(comparison, output) for comparison in recipe.comparisons]
    configs = " and ".join(run.config_file for run in recipe.runs)
    write_report(
        page,
        f"{project} on generated {recipe.noun}",
        clips=clips,
        curves=curves,
        tables=tables,
        notes=[
            recipe.summary,
            f"Trained on {recipe.splits['train']} generated {recipe.noun}, by {configs}; figures and "
            "pictures are of this run on this machine.",
        ],
    )
    return figures
