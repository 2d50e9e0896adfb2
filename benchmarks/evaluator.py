"""Time YTVISEvaluator against what the official YouTube-VIS evaluation spends on mask IoU alone.

Builds a seeded set of tracks (by default the one of the reference measurements: 100 videos of 30
frames of 360x640, 100 predictions each, 270 labelled tracks, 40 classes), runs the evaluator on it,
and in the same run times samples of the ``pycocotools`` calls that the official code makes: merge
and area, each twice, for every pair of tracks of a class and every frame. The official sorting,
matching and accumulation, and the areas that it computes while loading a result file, are left out,
so the ratios are lower bounds. Times are CPU seconds of one process::

    python -m benchmarks.evaluator --output figures.json
"""

import argparse
from collections.abc import Sequence
from importlib.metadata import version

from d2video.cli.arguments import add_json, command_parser, positive
from d2video.utils.files import write_json

# How large the synthetic set is: by default as the one of the reference measurements.
SIZES = {
    "videos": (100, "videos"),
    "frames": (30, "frames in a video"),
    "height": (360, "of a frame, in pixels"),
    "width": (640, "of a frame, in pixels"),
    "predictions": (100, "in a video"),
    "tracks": (270, "labelled, in all videos"),
    "classes": (40, "classes"),
}


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = command_parser(__doc__)
    for name, (default, what) in SIZES.items():
        parser.add_argument(f"--{name}", type=positive, default=default, help=what)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--repeats", type=positive, default=3, help="the least time of as many runs counts"
    )
    add_json(parser)
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    import torch

    from benchmarks.evaluator_stages import measure, table
    from benchmarks.synthetic_tracks import SetShape, make_set
    from d2video.utils.measuring import environment

    sizes = {name: getattr(args, name) for name in SIZES}
    torch.set_num_threads(1)
    times = measure(make_set(SetShape(**sizes), args.seed), args.repeats)
    about = environment(torch.device("cpu"))
    about |= {name: version(name) for name in ("numpy", "pycocotools")}
    print(", ".join(f"{name} {value}" for name, value in sizes.items()), end=": ")
    print(
        f"{times['masks']} predicted masks of {times['mask_bytes']:.0f} bytes, "
        f"{times['pairs']} pairs of tracks of one class"
    )
    print(", ".join(f"{name} {value}" for name, value in about.items()))
    print(table(times))
    if args.json:
        how = {"set": sizes, "seed": args.seed, "repeats": args.repeats, "environment": about}
        write_json(args.json, how | times)


if __name__ == "__main__":
    main()
