"""What `make demo` shows of a system: data, trainings, and what the page says of them.

A project declares it in ``projects/<Name>/demo.py``, as ``RECIPE``.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from d2video.projects import PROJECT_FOLDERS
from d2video.report import Media, Table
from d2video.report.results import class_table, final_results, metrics_table
from d2video.utils.errors import UserError

if TYPE_CHECKING:
    from detectron2.config import CfgNode

ROOT = Path(__file__).resolve().parents[1]

SEEDS = "with three seeds"
"""Title of the column with what trainings of several seeds gave; see ``Run.seeds``."""


@dataclass(frozen=True)
class Run:
    """One training of a recipe. A project whose pictures or tables differ overrides the methods.

    Attributes:
        name: of its folder and its title on the page.
        config_file: relative to the repository, or absolute.
        task: the evaluator's name of the results, such as "segm", "bbox" or "mot".
        metrics: names in the evaluator's answer, and what they mean.
        further: the metrics of further tasks of the same evaluation, by task.
        counts: those of them that are numbers of things; the others are percentages.
        seeds: what trainings with SEED 1, 2 and 3 gave when they were measured (docs/guides/learning.md), by
            the name in metrics.json, such as "segm/AP50".
        class_metric: what the evaluator gives for each class, as ``<class_metric>-<class>``, if
            anything.
        pictures: caption to picture that the evaluation writes, relative to the training's folder.
        evaluations: name to a function of the training's config, with the trained weights, that
            evaluates them once more; what it returns, ``{task: {metric: value}}``, is written into
            ``<run>/<name>.json`` (for comparisons). See :func:`with_options`.
        processes: that share the training on a CPU, where there are as many cores. Small models keep
            one core busy, but not two.
    """

    name: str
    config_file: str
    task: str
    metrics: dict[str, str]
    further: dict[str, dict[str, str]] = field(default_factory=dict)
    counts: tuple[str, ...] = ()
    seeds: dict[str, tuple[float, ...]] = field(default_factory=dict)
    class_metric: str | None = "AP"
    pictures: dict[str, str] = field(default_factory=dict)
    evaluations: dict[str, Callable[[CfgNode], dict[str, Any]]] = field(default_factory=dict)
    processes: int = 1

    def render(self, recipe: Recipe, cfg: CfgNode, folder: Path) -> list[Media]:
        """Draw what the model, of ``MODEL.WEIGHTS``, answers to validation videos or images.

        Args:
            recipe: says how many, and how large.
            folder: for the files.
        """
        from demo.rendering import render_records

        return render_records(self.name, recipe, cfg, folder)

    def results(self, folder: Path, held_out: str) -> tuple[dict[str, float], list[Table]]:
        """The figures for the last line of the program, and the tables of the page.

        Args:
            folder: of the training.
            held_out: what the results are on, such as "60 held-out videos".

        Raises:
            UserError: the evaluation left no results.
        """
        figures: dict[str, float] = {}
        tables = []
        for task, metrics in {self.task: self.metrics, **self.further}.items():
            found = final_results(folder / "metrics.json", task)
            title = f"{self.name}: {task}" if self.further else self.name
            caption = f"{title}: results on {held_out}"
            table = metrics_table(caption, found, metrics, self.counts)
            tables.append(self._with_seeds(table, task))
            by_class = self.class_metric
            if by_class and any(name.startswith(f"{by_class}-") for name in found):
                tables.append(class_table(f"{title}: {by_class} by class", found, by_class))
            figures |= {f"{task} {name}": found.get(name, float("nan")) for name in metrics}
        return figures, tables

    def _with_seeds(self, table: Table, task: str) -> Table:
        """With a last column of the range over seeds, if there are any; the first has metrics."""
        names = [str(row[0]) for row in table.rows]
        seeds = [self.seeds.get(f"{task}/{name}", ()) for name in names]
        if not any(seeds):
            return table
        ranges = [
            value_range(values, 0 if name in self.counts else 1)
            for name, values in zip(names, seeds, strict=True)
        ]
        rows = [[*row, each] for row, each in zip(table.rows, ranges, strict=True)]
        return table._replace(header=[*table.header, SEEDS], rows=rows)


def value_range(values: Sequence[float], decimals: int) -> str | None:
    """Such as "70.1 to 75.3"; None where there are no values."""
    if not values:
        return None
    return f"{min(values):.{decimals}f} to {max(values):.{decimals}f}"


@dataclass(frozen=True)
class Comparison:
    """A table with a row for each of several evaluations.

    Attributes:
        caption: what is compared.
        task: the evaluator's name of the results.
        metrics: names in the evaluator's answer, one a column.
        rows: title to file, relative to the demo's folder: a training's metrics.json, of which the
            last evaluation counts, or results as JSON, ``{task: {metric: value}}``.
        counts: the metrics that are numbers of things; the others are percentages.
    """

    caption: str
    task: str
    metrics: tuple[str, ...]
    rows: dict[str, str]
    counts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Recipe:
    """How a system is shown.

    Attributes:
        runs: the trainings, one after the other.
        write_data: ``write_data(folder, splits, spec, overwrite=True)`` makes the data, or keeps
            those that it has made with the same arguments; see ``d2video.synthetic``.
        folder: of the data below DETECTRON2_DATASETS, where their registration looks.
        splits: generated videos or images by split.
        spec: what they look like, a dataclass.
        summary: what the page says about the task.
        noun: what the data are called on the page.
        num_clips: validation videos or images drawn for each run.
        spread: draw them from the whole split, evenly, and not its first ones: for splits in the
            order of their classes.
        score_threshold: predictions with a lower score are not drawn.
        scale: how many times as large as the data they are drawn.
        fps: of the clips drawn, frames a second.
        comparisons: further tables of the page.
    """

    runs: tuple[Run, ...]
    write_data: Callable[..., bool]
    folder: str
    splits: dict[str, int]
    spec: Any
    summary: str
    noun: str = "videos"
    num_clips: int = 8
    spread: bool = False
    score_threshold: float = 0.5
    scale: int = 4
    fps: float = 6
    comparisons: tuple[Comparison, ...] = ()


def with_options(*options: str) -> Callable[[CfgNode], dict[str, Any]]:
    """An evaluation (:attr:`Run.evaluations`) with other config keys and values than in training."""

    def evaluate(cfg: CfgNode) -> dict[str, Any]:
        from d2video.checkpoint import VideoCheckpointer
        from d2video.engine import VideoTrainer

        cfg.merge_from_list(list(options))
        model = VideoTrainer.build_model(cfg)
        VideoCheckpointer(model, strict=True).load(cfg.MODEL.WEIGHTS)
        return VideoTrainer.test(cfg, model)

    return evaluate


def recipe_files() -> dict[str, Path]:
    """The ``demo.py`` of every project that has one, by the project's name."""
    files = {name: folder / "demo.py" for name, folder in PROJECT_FOLDERS.items()}
    return {name: path for name, path in files.items() if path.is_file()}


def load_recipe(project: str) -> Recipe:
    """The recipe of a project.

    Raises:
        UserError: there is no such project, or it has no ``demo.py``.
    """
    files = recipe_files()
    if project not in files:
        raise UserError(f"no demo for '{project}': choose one of {', '.join(files)}")
    spec = importlib.util.spec_from_file_location(f"demo.recipe_of_{project}", files[project])
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.RECIPE
