"""Time YTVISEvaluator against what the official YouTube-VIS evaluation spends on mask IoU alone.

Builds a seeded set of tracks (by default the one of the reference measurements, see SetShape), runs the
evaluator on it, and in the same run times samples of the ``pycocotools`` calls that the official code
makes: merge and area, each twice, for every pair of tracks of a class and every frame. The official
sorting, matching and accumulation, and the areas that it computes while loading a result file, are left
out, so the ratios are lower bounds. Result files are not written. Times are CPU seconds of one process::

    python -m benchmarks.evaluator --json figures.json
"""

from collections.abc import Sequence
from importlib.metadata import version

from d2video.cli.arguments import add_json, command_parser, positive
from d2video.utils.files import write_json


def main(argv: Sequence[str] | None = None) -> None:
    parser = command_parser(__doc__)
    parser.add_argument("--videos", type=positive, default=100, help="(default: %(default)s)")
    parser.add_argument(
        "--repeats", type=positive, default=3, help="the least time of as many runs counts"
    )
    add_json(parser)
    args = parser.parse_args(argv)

    import torch
    from tabulate import tabulate

    from benchmarks.evaluator_stages import measure
    from benchmarks.synthetic_tracks import SetShape, make_set
    from d2video.utils.measuring import environment

    torch.set_num_threads(1)
    figures = measure(*make_set(SetShape(videos=args.videos), seed=0), args.repeats)
    about = environment(torch.device("cpu"))
    about |= {name: version(name) for name in ("numpy", "pycocotools")}
    print(", ".join(f"{name} {value}" for name, value in about.items()))
    header = ("CPU seconds, model answers", "ours", "official calls", "ratio")
    rows = [(name, *times.values()) for name, times in figures.items()]
    print(tabulate(rows, header, floatfmt=".2f"))
    if args.json:
        how = {"videos": args.videos, "repeats": args.repeats, "environment": about}
        write_json(args.json, how | figures)


if __name__ == "__main__":
    main()
