"""Measure the speed and memory of inference, training steps, data loaders and evaluators.

Tasks:

* inference: a clip (VisTR), tracker steps (TrackFormer), or frames of a stream (other models).
* training: forward and backward pass of one batch, and the update.
* loader: samples of one worker. With --step-seconds, the time of a step on a GPU, also the number of workers
  that keep the GPU busy.
* evaluator: YouTube-VIS and COCO, beside the calls of the official implementations. It needs no model.

Weights and frames are random. Neither changes the cost, as long as score thresholds are below the scores of
random weights (about 1 / classes), so that nothing is dropped. The tasks training and loader read generated
data of --video-size or, with --own-data, DATASETS.TRAIN.

Times are medians after one warm-up run; each row is measured in a separate process. On a CPU, memory is the
peak of that process, including everything that Python and torch hold; on a GPU, the peak of allocated
tensors. floor_s is the time that the matrix products and convolutions alone would take; floors is the
measured time as a multiple of it.

Examples: d2video benchmark VisTR/vistr_R50_ytvis2019 --size 300 540
d2video benchmark TrackFormer/trackformer_mot17_private --size 384 672
d2video benchmark --task training VisTR/vistr_R50_ytvis2019 SOLVER.AMP.ENABLED True
d2video benchmark --task loader VisTR/vistr_R50_ytvis2019 --step-seconds 0.4
d2video benchmark --task evaluator --video-size 360 640
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from d2video.cli.arguments import (
    add_config_name,
    add_json,
    add_model,
    command_parser,
    model_cfg,
    positive,
)
from d2video.utils.errors import exit_on_user_error
from d2video.utils.files import write_json

if TYPE_CHECKING:
    from detectron2.config import CfgNode

Size = tuple[int, int]
Figures = dict[str, dict[str, float]]


@exit_on_user_error
def main(argv: Sequence[str] | None = None) -> None:
    parser = command_parser(__doc__, "benchmark")
    add_model(parser)
    add_config_name(parser)
    parser.add_argument(
        "--task", choices=TASKS, default="inference", help="what to measure (default: %(default)s)"
    )
    for size, default, what in (
        ("--size", (300, 540), "size of the network's input at inference"),
        ("--video-size", (720, 1280), "size of the video or images, and of the predictions"),
    ):
        parser.add_argument(
            size, type=positive, nargs=2, default=default, metavar=("H", "W"), help=what
        )
    parser.add_argument(
        "--repeats", type=positive, default=3, help="measurements (default: %(default)s)"
    )
    parser.add_argument(
        "--batch", type=positive, default=1, help="samples in a training step (default: 1)"
    )
    parser.add_argument(
        "--own-data", action="store_true", help="read DATASETS.TRAIN instead of generated data"
    )
    parser.add_argument(
        "--step-seconds", type=float, help="seconds that a training step with --batch samples takes"
    )
    add_json(parser)
    args = parser.parse_args(argv)

    cfg = None if args.task == "evaluator" else model_cfg(args)
    import torch
    from tabulate import tabulate

    from d2video.utils.measuring import environment

    results = TASKS[args.task](cfg, args)
    about = environment(torch.device(cfg.MODEL.DEVICE if cfg else "cpu"))
    print(f"{args.task} {args.config_file or args.model}".rstrip())
    print(", ".join(f"{key} {value}" for key, value in about.items()))
    rows = [{"": name, **figures} for name, figures in results.items()]
    print(tabulate(rows, "keys", "plain", floatfmt=".3g"))
    if args.json:
        content = {
            "command": " ".join(["d2video", "benchmark", *(argv or sys.argv[1:])]),
            "task": args.task,
            "size": args.size,
            "video_size": args.video_size,
            "environment": about,
            "results": results,
        }
        write_json(args.json, content)


def _inference(cfg: "CfgNode", args: argparse.Namespace) -> Figures:
    from d2video.inference.benchmark import rows_of
    from d2video.utils.measuring import apart

    sizes = (tuple(args.size), tuple(args.video_size))
    results = {}
    for name, row in rows_of(cfg).items():
        figures = apart(measure_row, cfg, name, *sizes, args.repeats)
        results[name] = {"frames/s": row.num_frames / figures["median_s"], **figures}
    return results


def _training(cfg: "CfgNode", args: argparse.Namespace) -> Figures:
    from d2video.utils.measuring import apart

    with tempfile.TemporaryDirectory() as folder:
        data = None if args.own_data else (folder, tuple(args.video_size))
        figures = apart(measure_step, cfg, data, args.batch, args.repeats)
    return {f"step with {args.batch}": figures}


def _loader(cfg: "CfgNode", args: argparse.Namespace) -> Figures:
    from d2video.data.benchmark import loader_figures, workers_needed

    with tempfile.TemporaryDirectory() as folder:
        data = None if args.own_data else (folder, tuple(args.video_size))
        figures = loader_figures(_with_data(cfg, data), max(args.repeats, 3))
    if args.step_seconds:
        figures["workers"] = workers_needed(figures["cpu_s"], args.batch, args.step_seconds)
    return {"sample": figures}


def _evaluator(cfg: None, args: argparse.Namespace) -> Figures:
    from d2video.evaluation.benchmark import evaluator_figures
    from d2video.evaluation.benchmark_tracks import SetShape

    height, width = args.video_size
    return evaluator_figures(SetShape(videos=3, height=height, width=width), args.repeats)


TASKS: dict[str, Any] = {
    "inference": _inference,
    "training": _training,
    "loader": _loader,
    "evaluator": _evaluator,
}


def _with_data(cfg: "CfgNode", generated: tuple[str, Size] | None) -> "CfgNode":
    """Return the config with generated data (folder, size of the images), or unchanged for None."""
    from d2video.synthetic.benchmark_set import with_stand_in

    return cfg if generated is None else with_stand_in(cfg, *generated)


def _in_floors(figures: dict[str, float]) -> dict[str, float]:
    return figures | {"floors": figures["median_s"] / figures["floor_s"]}


def measure_step(
    cfg: "CfgNode", generated: tuple[str, Size] | None, batch_size: int, repeats: int
) -> dict[str, float]:
    """Measure a training step in this process."""
    from d2video.engine.benchmark import training_figures
    from d2video.projects import register_all

    register_all()
    return _in_floors(training_figures(_with_data(cfg, generated), batch_size, repeats))


def measure_row(
    cfg: "CfgNode", name: str, size: Size, video_size: Size, repeats: int
) -> dict[str, float]:
    """Build the model and measure one row of the inference table in this process."""
    import torch
    from detectron2.modeling import build_model

    from d2video.inference.benchmark import Setting, rows_of
    from d2video.projects import register_all
    from d2video.utils.measuring import matmul_floor, measure

    register_all()
    torch.manual_seed(0)
    model = build_model(cfg).eval()
    device = torch.device(cfg.MODEL.DEVICE)
    row = rows_of(cfg)[name]
    with torch.no_grad(), tempfile.TemporaryDirectory() as folder:
        run = row.prepare(cfg, model, Setting(size, video_size, Path(folder)))
        figures = measure(run, device, warmup=1, repeats=repeats)
        return _in_floors(figures | matmul_floor(run, device))
