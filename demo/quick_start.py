#!/usr/bin/env python3
"""Show a system at work in minutes: make data, train, evaluate, render, and write one page.

What is there already is reused; an interrupted training is resumed. ``make demo`` calls this.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import math
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from d2video.report import Media, Section, write_page
from d2video.report.results import comparison_table, final_results, read_metrics
from d2video.utils.errors import exit_on_user_error
from d2video.utils.files import replace_on_success
from demo.recipe import ROOT, SEEDS, Recipe, Run, load_recipe, recipe_files

if TYPE_CHECKING:
    from detectron2.config import CfgNode


@contextmanager
def stage(number: str, title: str) -> Iterator[None]:
    print(f"== {number} {title}", flush=True)
    start = time.perf_counter()
    yield
    print(f"   {title}: {time.perf_counter() - start:.0f} s", flush=True)


def fingerprint(recipe: Recipe, run: Run, cfg: CfgNode) -> str:
    """Changes with whatever changes the trained model: the data, the training's config."""
    data = [recipe.folder, recipe.splits, asdict(recipe.spec)]
    content = json.dumps([*data, run.processes, cfg.dump()])
    return hashlib.sha256(content.encode()).hexdigest()


def train(recipe: Recipe, run: Run, folder: Path, overrides: list[str]) -> bool:
    """Train and evaluate, unless ``folder`` holds the result of the same recipe.

    Returns:
        whether there was anything to do.
    """
    from d2video.cli.train import main as train_net
    from d2video.config import load_cfg

    config_file = str(ROOT / run.config_file)
    cfg = load_cfg(config_file, overrides)
    mark = fingerprint(recipe, run, cfg)
    stamp = folder / "recipe.txt"
    same = stamp.is_file() and stamp.read_text() == mark
    if same and (folder / "model_final.pth").is_file():
        return False
    folder.mkdir(parents=True, exist_ok=True)
    if not same:
        for old in [*folder.glob("*.pth"), folder / "last_checkpoint", folder / "metrics.json"]:
            old.unlink(missing_ok=True)
        stamp.write_text(mark)
    resume = ["--resume"] if (folder / "last_checkpoint").is_file() else []
    processes = 1
    if cfg.MODEL.DEVICE == "cpu":
        processes = min(run.processes, os.cpu_count() or 1)
    shared = ["--num-gpus", str(processes), "--dist-url", "auto"]
    without_clips = ["TEST.VISUALIZE.NUM_CLIPS", "0"]  # of its own page: they are drawn here
    train_net(["--config-file", config_file, *shared, *resume, *overrides, *without_clips])
    return True


def trained_cfg(run: Run, folder: Path, overrides: list[str]) -> CfgNode:
    """The training's config with the weights that it left."""
    from d2video.config import load_cfg

    cfg = load_cfg(str(ROOT / run.config_file), overrides)
    cfg.MODEL.WEIGHTS = str(folder / "model_final.pth")
    return cfg


def evaluate_again(run: Run, folder: Path, overrides: list[str]) -> None:
    """Make the further evaluations of a training, each into ``<folder>/<name>.json``."""
    for name, evaluate in run.evaluations.items():
        cfg = trained_cfg(run, folder, overrides)
        cfg.OUTPUT_DIR = str(folder / name)
        results = evaluate(cfg)
        with replace_on_success(folder / f"{name}.json") as partial:
            partial.write_text(json.dumps(results, indent=1) + "\n")


def write_demo_page(
    recipe: Recipe, project: str, output: Path, page: Path, clips: Sequence[Media]
) -> dict[str, float]:
    """Write the page of a recipe whose trainings lie below ``output``.

    Args:
        project: the system's name.
        page: HTML file to write.

    Returns:
        figures of the trainings, by what they are called.

    Raises:
        UserError: a training or an evaluation has left no results.
    """
    from d2video.report.run import run_charts, sample_pictures

    tables, charts, samples, figures = [], [], [], {}
    clips = list(clips)
    held_out = f"{recipe.splits['val']} held-out {recipe.noun}"
    for run in recipe.runs:
        folder = output / run.name
        metrics = read_metrics(folder / "metrics.json")
        drawn = run_charts(metrics)
        charts += [chart._replace(title=f"{run.name}: {chart.title}") for chart in drawn]
        samples += sample_pictures(folder)
        found, more = run.results(folder, held_out)
        figures.update(found)
        tables += more
        clips += [
            Media(f"{run.name}: {caption}", folder / picture)
            for caption, picture in run.pictures.items()
        ]
    for each in recipe.comparisons:
        rows = {title: final_results(output / file, each.task) for title, file in each.rows.items()}
        tables.append(comparison_table(each.caption, rows, each.metrics, each.counts))
    origin = f"Trained on {recipe.splits['train']} generated {recipe.noun}. Figures and pictures are of this "
    origin += "run on this machine."
    if any(run.seeds for run in recipe.runs):
        origin += f' The column "{SEEDS}" is from the makers\' machine.'
    links = [(run.config_file, ROOT / run.config_file) for run in recipe.runs]
    links.append(("how it learns, with three seeds", ROOT / "docs" / "guides" / "learning.md"))
    sections = [
        Section("Predictions", media=clips),
        Section("Held-out samples", media=samples),
        Section("Results", tables=tables),
        Section("Training", charts=charts),
    ]
    write_page(
        page,
        f"{project} on generated {recipe.noun}",
        sections,
        notes=[recipe.summary, origin],
        links=links,
    )
    return figures


@exit_on_user_error
def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--project", default="VisTR", help="one of " + ", ".join(recipe_files()))
    parser.add_argument("--output", type=Path, default=ROOT / "output" / "demo")
    parser.add_argument(
        "opts", nargs="*", metavar="KEY VALUE", help="config keys to change, as in train_net.py"
    )
    args = parser.parse_args(argv)
    recipe = load_recipe(args.project)
    data = args.output / "datasets"
    start = time.perf_counter()
    # Datasets are registered under this folder when d2video.data is imported, so that all imports
    # of it come after this line, here and in the functions above.
    os.environ["DETECTRON2_DATASETS"] = str(data)
    import torch

    from d2video.projects import register_all

    register_all()
    steps = 2 + 2 * len(recipe.runs)
    with stage(f"1/{steps}", f"make {recipe.noun}"):
        recipe.write_data(data / recipe.folder, recipe.splits, recipe.spec, overwrite=True)

    device = "cuda" if torch.cuda.is_available() else "cpu"
    logging.captureWarnings(True)
    clips: list[Media] = []
    for number, run in enumerate(recipe.runs):
        folder = args.output / run.name
        overrides = ["OUTPUT_DIR", str(folder), "MODEL.DEVICE", device, *args.opts]
        with stage(f"{2 + 2 * number}/{steps}", f"train and evaluate {run.name} on {device}"):
            if not train(recipe, run, folder, overrides):
                print("   reused: the model trained before")
            evaluate_again(run, folder, overrides)
        with stage(f"{3 + 2 * number}/{steps}", f"render results of {run.name}"):
            clips += run.render(recipe, trained_cfg(run, folder, overrides), folder / "clips")
    with stage(f"{steps}/{steps}", "write the page"):
        page = args.output / "index.html"
        results = write_demo_page(recipe, args.project, args.output, page, clips)
    figures = ", ".join(f"{k} {v:.1f}" for k, v in results.items() if not math.isnan(v))
    print(f"== done in {time.perf_counter() - start:.0f} s: {figures}")
    print(f"Open {page.resolve().as_uri()}")


if __name__ == "__main__":
    main()
