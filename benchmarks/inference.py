"""Time variants of a config on the same video: precision, compilation, batches.

Random weights and frames, as in ``d2video benchmark``. One model for each variant, all with the same weights,
in one process; they take turns, so that other work on the machine falls on all of them. The least time of the
rounds counts. A variant is config keys and values; the first has none::

    python -m benchmarks.inference DETR/detr_R50_500ep --size 320 480 --frames 8 \\
        --variant "TEST.PRECISION bfloat16" --variant "MODEL.COMPILE True"

With ``--videos``, of models that follow several videos side by side, a run is that many videos.
"""

import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from d2video.cli.arguments import add_json, command_parser, positive
from d2video.utils.files import write_json

if TYPE_CHECKING:
    from d2video.inference.benchmark import Setting

Figures = dict[str, dict[str, float]]
Size = tuple[int, int]


def main(argv: Sequence[str] | None = None) -> None:
    parser = command_parser(__doc__)
    parser.add_argument("config")
    parser.add_argument("--size", type=positive, nargs=2, default=(320, 480), metavar=("H", "W"))
    parser.add_argument("--frames", type=positive, default=8, help="(default: %(default)s)")
    parser.add_argument("--videos", type=positive, default=1, help="(default: %(default)s)")
    parser.add_argument("--rounds", type=positive, default=3, help="(default: %(default)s)")
    parser.add_argument("--variant", action="append", default=[], metavar="'KEY VALUE ...'")
    add_json(parser)
    parser.add_argument(
        "--opts", nargs="*", default=[], metavar="KEY VALUE", help="of all variants"
    )
    args = parser.parse_args(argv)

    import torch
    from tabulate import tabulate

    from d2video.utils.measuring import environment

    size = (args.size[0], args.size[1])
    figures = measure(
        *(args.config, args.opts, args.variant, size, args.frames, args.videos, args.rounds)
    )
    about = environment(torch.device("cpu"))
    print(f"{args.config}, {args.videos} x {args.frames} frames of {size[0]}x{size[1]}")
    print(", ".join(f"{name} {value}" for name, value in about.items()))
    rows = [{"variant": name, **row} for name, row in figures.items()]
    print(tabulate(rows, "keys", "plain", floatfmt=".2f"))
    if args.json:
        write_json(
            args.json, {**vars(args), "json": None, "environment": about, "figures": figures}
        )


def measure(
    config: str,
    opts: Sequence[str],
    variants: Sequence[str],
    size: Size,
    num_frames: int,
    num_videos: int,
    rounds: int,
) -> Figures:
    """Seconds and CPU seconds of ``num_videos`` videos of ``num_frames`` frames, and frames a second, of
    each variant."""
    import torch
    from detectron2.modeling import build_model

    from d2video.config import load_cfg
    from d2video.inference.benchmark import Setting, stream
    from d2video.utils.measuring import Run, timed

    runs: dict[str, Run] = {}
    times: dict[str, list[tuple[float, float]]] = {}
    for variant in ("", *variants):
        cfg = load_cfg(config, [*opts, *variant.split()])
        torch.manual_seed(0)
        model = build_model(cfg).eval().requires_grad_(False)
        setting = Setting(size, size, Path())
        runs[variant] = stream(cfg, model, setting, num_frames)
        if num_videos > 1:
            runs[variant] = partial(_side_by_side, model, setting, num_frames, num_videos)
        times[variant] = []
        runs[variant]()  # to warm up
    device = torch.device(cfg.MODEL.DEVICE)
    for _ in range(rounds):
        for variant, run in runs.items():
            start = time.process_time()
            seconds = timed(run, device)[1]
            times[variant].append((seconds, time.process_time() - start))
    figures: Figures = {}
    for variant, pairs in times.items():
        seconds, cpu_seconds = (min(column) for column in zip(*pairs, strict=True))
        figures[variant or "-"] = {
            "s": seconds,
            "CPU s": cpu_seconds,
            "frames/s": num_videos * num_frames / seconds,
        }
    return figures


def _side_by_side(model: Any, setting: "Setting", num_frames: int, num_videos: int) -> None:
    from d2video.inference.side_by_side import SideBySide, in_turns

    together, frames = SideBySide(model), setting.frames(num_frames)
    videos = (together.stream_video(iter(frames), setting.video_size) for _ in range(num_videos))
    in_turns(videos, together.most)


if __name__ == "__main__":
    main()
