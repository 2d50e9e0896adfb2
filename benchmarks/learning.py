"""Learning curves: train the model of a demo with several seeds, evaluate it on the way, and compare.

::

    python -m benchmarks.learning train VisTR output/now
    python -m benchmarks.learning train VisTR output/before MODEL.VISTR.QUERY_MASKS False
    python -m benchmarks.learning compare segm/AP50 curves.png before=output/before now=output/now

``train``, whose options stand first, makes the demo's data, or easier or harder ones, and writes
``<folder>/seed<n>/metrics.json``, in which ``cpu_seconds`` are those of the training without the
evaluations. ``compare`` prints a table in Markdown and draws the metric over steps and over seconds.
"""

import argparse
import os
import statistics
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from d2video.cli.arguments import command_parser, positive
from d2video.report.results import Series, mean_and_range, read_metrics
from d2video.utils.errors import UserError, exit_on_user_error
from demo.recipe import ROOT, Recipe, load_recipe

# Fields of the ShapesSpec that differ from the demo's.
DIFFICULTIES: dict[str, dict] = {
    "easy": {"max_objects": 2},
    "demo": {},
    # More objects and longer videos, and only the pattern tells the class.
    "hard": {"max_objects": 5, "size": (0.25, 0.4), "num_frames": (10, 10), "class_colours": False},
}
CPU_SECONDS = "cpu_seconds"
Curve = list[tuple[int, float, float]]
"""(step, CPU seconds until then, value) of each evaluation."""


@exit_on_user_error
def main(argv: Sequence[str] | None = None) -> None:
    parser = command_parser(__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    training = commands.add_parser("train", help="train with several seeds")
    training.add_argument("project")
    training.add_argument("folder", type=Path)
    training.add_argument("--difficulty", choices=DIFFICULTIES, default="demo")
    training.add_argument("--seed", type=positive, action="append", help="(default: 1, 2 and 3)")
    training.add_argument("--evaluations", type=positive, default=5, help="(default: %(default)s)")
    training.add_argument("--data", type=Path, default=ROOT / "output" / "learning_data")
    training.add_argument(
        "opts", nargs=argparse.REMAINDER, metavar="KEY VALUE", help="config keys to change"
    )
    comparing = commands.add_parser("compare", help="table and picture of trainings")
    comparing.add_argument("metric", help="such as segm/AP50")
    comparing.add_argument("picture", type=Path, help="PNG or SVG file to write")
    comparing.add_argument("trainings", nargs="+", metavar="TITLE=FOLDER")
    args = parser.parse_args(argv)
    if args.command == "train":
        recipe = load_recipe(args.project)
        if changes := DIFFICULTIES[args.difficulty]:
            if not hasattr(recipe.spec, "class_colours"):
                raise UserError(
                    f"{args.project}'s data has no difficulties: leave out --difficulty"
                )
            recipe = replace(recipe, spec=replace(recipe.spec, **changes))
        # Datasets are registered below it when d2video.data is imported.
        os.environ["DETECTRON2_DATASETS"] = str(args.data / args.difficulty)
        for seed in args.seed or (1, 2, 3):
            train(recipe, args.folder / f"seed{seed}", seed, args.evaluations, args.opts)
    else:
        pairs = [each.partition("=") for each in args.trainings]
        if unclear := [title for title, sign, _ in pairs if not sign]:
            raise UserError(f"'{unclear[0]}' has no '=': name trainings as TITLE=FOLDER")
        if args.picture.suffix not in (".png", ".svg"):
            raise UserError(f"{args.picture}: name a .png or .svg file")
        curves = {title: read_curves(Path(folder), args.metric) for title, _, folder in pairs}
        if len(curves) < len(pairs):
            raise UserError("two trainings have the same title: choose another for one of them")
        print("\n".join(table(curves, args.metric)))
        draw(curves, args.metric, args.picture)


def train(
    recipe: Recipe, folder: Path, seed: int, evaluations: int, options: Sequence[str]
) -> None:
    """Train the first run of a demo in this process, on one thread, and evaluate at equal distances."""
    import torch
    from detectron2.engine import HookBase

    from d2video.cli.train import parse_args
    from d2video.config import load_cfg
    from d2video.engine import VideoTrainer, setup
    from d2video.projects import register_all

    class StepClock(HookBase):
        total = 0.0

        def before_step(self) -> None:
            self.start = time.process_time()

        def after_step(self) -> None:
            self.total += time.process_time() - self.start
            self.trainer.storage.put_scalar(CPU_SECONDS, self.total, smoothing_hint=False)

    class TimedTrainer(VideoTrainer):
        def build_hooks(self) -> list[HookBase]:
            return [StepClock(), *super().build_hooks()]  # before those that evaluate and write

    torch.set_num_threads(1)
    register_all()
    config = str(ROOT / recipe.runs[0].config_file)
    chosen = ["MODEL.DEVICE", "cpu", "SEED", str(seed), "OUTPUT_DIR", str(folder), *options]
    steps = load_cfg(config, chosen).SOLVER.MAX_ITER  # keys are checked before data are made
    chosen += [
        "TEST.EVAL_PERIOD",
        str(-(-steps // evaluations)),
        "SOLVER.CHECKPOINT_PERIOD",
        str(steps),
    ]
    data = Path(os.environ["DETECTRON2_DATASETS"]) / recipe.folder
    recipe.write_data(data, recipe.splits, recipe.spec, overwrite=True)
    (folder / "metrics.json").unlink(missing_ok=True)  # the trainer appends to it
    trainer = TimedTrainer(setup(parse_args(["--config-file", config, *chosen])))
    trainer.resume_or_load(resume=False)
    trainer.train()


def read_curves(folder: Path, metric: str) -> list[Curve]:
    """The curve of each seed's training in ``folder``.

    Raises:
        UserError: the folder holds no training, or one without this metric or the time, or trainings that
            were evaluated at different steps.
    """
    curves = []
    for path in sorted(folder.glob("seed*/metrics.json")):
        metrics = read_metrics(path)
        for name in (metric, CPU_SECONDS):
            if name not in metrics:
                raise UserError(f"{path} has no '{name}': it has {', '.join(sorted(metrics))}")
        curves.append(
            [(step, _until(metrics[CPU_SECONDS], step), value) for step, value in metrics[metric]]
        )
    if not curves:
        raise UserError(f"{folder} holds no seed*/metrics.json: make it with train")
    if len({tuple(step for step, *_ in curve) for curve in curves}) > 1:
        raise UserError(
            f"the seeds in {folder} were evaluated at different steps: train all of them to the end, with "
            "the same options"
        )
    return curves


def _until(seconds: Series, step: int) -> float:
    """What was written last; detectron2 writes every 20 steps."""
    return max((value for when, value in seconds if when <= step), default=0.0)


def table(curves: dict[str, list[Curve]], metric: str) -> list[str]:
    """Markdown lines: mean of the seeds at each evaluation, range at the last, seconds, steps."""
    lines = [
        f"| {metric} | after 1/n, 2/n, … of the steps | at the end, mean (range) | steps | CPU s |",
        "|---|---|---|---|---|",
    ]
    for title, seeds in curves.items():
        course = ", ".join(
            f"{statistics.mean(value for *_, value in points):.1f}"
            for points in zip(*seeds, strict=True)
        )
        ends = [curve[-1] for curve in seeds]
        values = [value for *_, value in ends]
        seconds = statistics.mean(spent for _, spent, _ in ends)
        lines.append(
            f"| {title} | {course} | {mean_and_range(values, 1)} | {ends[0][0]} | {seconds:.0f} |"
        )
    return lines


def draw(curves: dict[str, list[Curve]], metric: str, picture: Path) -> None:
    """Two charts side by side: a thin line a seed, a thick one for their mean."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.4), layout="constrained")
    for place, name in enumerate(("step", "CPU seconds of training")):
        axes = figure.add_subplot(1, 2, place + 1)
        for number, (title, seeds) in enumerate(curves.items()):
            colour = f"C{number}"
            for curve in seeds:
                axes.plot(*zip(*[(each[place], each[2]) for each in curve]), color=colour, lw=0.7)
            mean = [
                [statistics.mean(each[k] for each in points) for k in (place, 2)]
                for points in zip(*seeds, strict=True)
            ]
            axes.plot(*zip(*mean), color=colour, lw=2.2, marker="o", ms=3, label=title)
        axes.set(xlabel=name, ylabel=metric, xlim=(0, None))
        axes.grid(alpha=0.3)
        axes.legend()
    picture.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(picture, dpi=110)


if __name__ == "__main__":
    main()
