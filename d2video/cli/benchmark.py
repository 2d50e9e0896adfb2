"""Measure a model: latency and memory; table and JSON.

Random weights and frames: neither changes the cost of the model, as long as its score thresholds
lie below what random weights give (about 1 / classes), so that nothing is dropped. Medians after
one run to warm up. Each row runs in a process of its own; memory is the peak of that process on a CPU
(with everything that Python and torch hold) and the peak of allocated tensors on a GPU.

A VisTR is measured by a clip, a TrackFormer by the steps of its tracker, other models by frames of a
stream. ``floor_s`` is what the matrix products and convolutions of a step would take without anything
else.

Examples: d2video benchmark VisTR/vistr_R50_ytvis2019 --size 300 540
d2video benchmark TrackFormer/trackformer_mot17_private --size 384 672
"""

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

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


@exit_on_user_error
def main(argv: Sequence[str] | None = None) -> None:
    parser = command_parser(__doc__, "benchmark")
    add_model(parser)
    add_config_name(parser)
    for size, default, what in (
        ("--size", (300, 540), "of the network's input"),
        ("--video-size", (720, 1280), "of the video and the answers"),
    ):
        parser.add_argument(
            size, type=positive, nargs=2, default=default, metavar=("H", "W"), help=what
        )
    parser.add_argument("--repeats", type=positive, default=3, help="(default: %(default)s)")
    add_json(parser)
    args = parser.parse_args(argv)

    cfg = model_cfg(args)
    import torch
    from tabulate import tabulate

    from d2video.inference.benchmark import rows_of
    from d2video.utils.measuring import apart, environment

    measured = rows_of(cfg)
    sizes = (tuple(args.size), tuple(args.video_size))
    results = {name: apart(measure_row, cfg, name, *sizes, args.repeats) for name in measured}
    (num_frames,) = {row.num_frames for row in measured.values()}
    about = environment(torch.device(cfg.MODEL.DEVICE))
    print(f"{args.config_file or args.model}, {num_frames} frames of {args.size[0]}x{args.size[1]}")
    print(", ".join(f"{key} {value}" for key, value in about.items()))
    rows = [
        {"": name, "frames/s": num_frames / figures["median_s"], **figures}
        for name, figures in results.items()
    ]
    print(tabulate(rows, "keys", "plain", floatfmt=".2f"))
    if args.json:
        content = {
            "command": " ".join(sys.argv),
            "num_frames": num_frames,
            "size": args.size,
            "video_size": args.video_size,
            "environment": about,
            "results": results,
        }
        write_json(args.json, content)


def measure_row(
    cfg: "CfgNode", name: str, size: Size, video_size: Size, repeats: int
) -> dict[str, float]:
    """Build the model and measure one row of the table in this process."""
    import torch
    from detectron2.modeling import build_model

    from d2video.inference.benchmark import Setting, matmul_floor, rows_of
    from d2video.projects import register_all
    from d2video.utils.measuring import measure

    register_all()
    torch.manual_seed(0)
    # FlopCounterMode asks for the gradient of module inputs that are views of parameters; under
    # no_grad such views require one but have none.
    model = build_model(cfg).eval().requires_grad_(False)
    device = torch.device(cfg.MODEL.DEVICE)
    row = rows_of(cfg)[name]
    with torch.no_grad(), tempfile.TemporaryDirectory() as folder:
        run = row.prepare(cfg, model, Setting(size, video_size, Path(folder)))
        figures = measure(run, device, warmup=1, repeats=repeats)
        return figures | matmul_floor(run, device) if row.has_floor else figures
