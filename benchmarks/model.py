"""Measure a model of clips, or the steps of a TrackFormer: latency and memory; table and JSON.

Random weights and frames: neither changes the cost of the model, as long as its score thresholds
lie below what random weights give (about 1 / classes), so that nothing is dropped. Medians after
one run to warm up. Each row runs in a process of its own; memory is the peak of that process on a CPU
(with everything that Python and torch hold) and the peak of allocated tensors on a GPU. ``floor_s`` is
what the matrix products and convolutions of a step would take without anything else.

Examples::

    python -m benchmarks.model --config-file configs/VisTR/vistr_R50_ytvis2019.yaml --size 300 540
    python -m benchmarks.model --config-file configs/TrackFormer/trackformer_mot17_private.yaml \\
        --size 384 672
"""

import sys
from collections.abc import Sequence

from d2video.cli.arguments import add_json, add_model, command_parser, model_cfg, positive
from d2video.utils.errors import exit_on_user_error
from d2video.utils.files import write_json


@exit_on_user_error
def main(argv: Sequence[str] | None = None) -> None:
    parser = command_parser(__doc__)
    add_model(parser)
    for size, default in (("--size", (300, 540)), ("--video-size", (720, 1280))):
        parser.add_argument(size, type=positive, nargs=2, default=default, metavar=("H", "W"))
    parser.add_argument("--repeats", type=positive, default=3)
    add_json(parser)
    args = parser.parse_args(argv)

    cfg = model_cfg(args)
    import torch
    from tabulate import tabulate

    from benchmarks.model_rows import measure_row, rows_of
    from d2video.utils.measuring import apart, environment

    results = {name: apart(measure_row, args, name) for name in rows_of(cfg)}
    is_tracker = cfg.MODEL.META_ARCHITECTURE == "TrackFormer"
    num_frames = 1 if is_tracker else cfg.INPUT.CLIP.NUM_FRAMES
    about = environment(torch.device(cfg.MODEL.DEVICE))
    print(f"{args.config_file}, {num_frames} frames of {args.size[0]}x{args.size[1]}")
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


if __name__ == "__main__":
    main()
