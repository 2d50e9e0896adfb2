#!/usr/bin/env python3
"""Score a tracker's own detections, linked by the IoU of their boxes.

The difference to the tracker's own result on the same data is what its track queries add::

    projects/TrackFormer/tools/link_detections.py \\
        --config-file configs/TrackFormer/trackformer_mot17_half.yaml \\
        --opts MODEL.WEIGHTS model.pth

Each frame goes through the model as a picture of its own; detections with a high enough score are
linked as SORT does without its Kalman filter (d2video/evaluation/mot/iou_tracker.py). Of several
thresholds, those with the highest HOTA on the dataset itself count: the best that could be had.
"""

import argparse
from collections.abc import Sequence

from d2video.cli.arguments import add_json, add_model, command_parser, model_cfg
from d2video.utils.errors import exit_on_user_error
from d2video.utils.files import write_json


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = command_parser(__doc__)
    add_model(parser)
    add_json(parser)
    parser.add_argument("--score-threshold", type=float, nargs="+", default=(0.3, 0.4, 0.5))
    parser.add_argument("--iou-threshold", type=float, nargs="+", default=(0.1, 0.3))
    parser.add_argument(
        "--max-age", type=int, nargs="+", default=(1, 5), help="frames that a track waits unseen"
    )
    return parser.parse_args(argv)


def run(args: argparse.Namespace) -> None:
    cfg = model_cfg(args)
    from d2video.projects.trackformer.iou_baseline import evaluate

    results = evaluate(cfg, args.score_threshold, args.iou_threshold, args.max_age)
    for name, result in results.items():
        print(f"{name}: HOTA {result['mot']['HOTA']:.1f} with {result['settings']}")
    if args.json:
        write_json(args.json, results)


@exit_on_user_error
def main(argv: Sequence[str] | None = None) -> None:
    run(parse_args(argv))


if __name__ == "__main__":
    main()
