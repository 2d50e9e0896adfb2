"""Split an annotated file in YouTube-VIS format into a training and a held-out part, by video.

The official validation and test labels are not public; this splits the labelled videos::

    d2video split-ytvis datasets/ytvis_2019/train.json --fraction 0.1 --seed 0 \\
        --train-output datasets/ytvis_2019/train_90.json --held-out datasets/ytvis_2019/held_10.json

Frames stay where they are: register both files with the same image folder.
"""

import argparse
import json
import os
from collections.abc import Sequence

from d2video.cli.arguments import command_parser, not_negative
from d2video.utils.errors import UserError, exit_on_user_error
from d2video.utils.files import replace_on_success


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = command_parser(__doc__, "split-ytvis")
    parser.add_argument("json_file", help="annotated file in YouTube-VIS format")
    parser.add_argument("--train-output", required=True, help="file to write the training part to")
    parser.add_argument("--held-out", required=True, help="file to write the held-out part to")
    parser.add_argument("--fraction", type=float, default=0.1, help="share of videos to hold out")
    parser.add_argument("--seed", type=not_negative, default=0, help="of the choice of videos")
    args = parser.parse_args(argv)
    paths = [os.path.realpath(p) for p in (args.json_file, args.train_output, args.held_out)]
    if len(set(paths)) < 3:
        raise UserError("the input and the two outputs must be three different files")
    if not 0 < args.fraction < 1:
        raise UserError(f"--fraction is {args.fraction}: it must lie between 0 and 1")
    return args


@exit_on_user_error
def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    from d2video.data.datasets.ytvis import load_ytvis_json
    from d2video.data.datasets.ytvis_split import choose_held_out, split

    if "annotations" not in load_ytvis_json(args.json_file, image_root="")[0]:
        raise UserError(f"{args.json_file} has no annotations: split an annotated file")
    with open(args.json_file, encoding="utf-8") as file:
        content = json.load(file)

    parts = split(content, choose_held_out(content["videos"], args.fraction, args.seed))
    # Both outputs appear only after both are complete.
    with (
        replace_on_success(args.train_output) as train_file,
        replace_on_success(args.held_out) as held_out_file,
    ):
        for part, path in zip(parts, (train_file, held_out_file), strict=True):
            path.write_text(json.dumps(part), encoding="utf-8")
    for part, path in zip(parts, (args.train_output, args.held_out), strict=True):
        classes = {a["category_id"] for a in part["annotations"]}
        print(
            f"{path}: {len(part['videos'])} videos, {len(part['annotations'])} tracks of "
            f"{len(classes)} of {len(part['categories'])} classes"
        )
