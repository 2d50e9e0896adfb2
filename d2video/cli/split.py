"""Split labelled data into a training and a held-out part, by video.

Videos of the same footage (with a frame, a folder of frames or a video file in common) stay in the same part,
and so do images that Roboflow made from one video. You can split any labels that d2video reads::

    d2video split datasets/ytvis_2019/train.json --train-output train_90.json --held-out held_10.json
    d2video split job_12.zip --train-output a.json --held-out b.json --format coco --balance-classes
    d2video split MOT17/train --train-output MOT17/first --held-out MOT17/rest --fraction 0.5

YouTube-VIS, COCO (images) and MOTChallenge labels keep their format and all contents of their files. Other
labels, and any with --format, are written in a standard format, as by d2video import-labels. Frames stay
where they are; mot and mots get hard links to them. Classes that are missing in a part are listed.
"""

import argparse
import os
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from d2video.cli.arguments import command_parser, not_negative
from d2video.cli.labels import (
    FOLDER_FORMATS,
    WRITTEN_FORMATS,
    Labels,
    add_labels,
    check_output,
    read_labels,
    register_entry,
    summary,
    tell,
)
from d2video.utils.errors import UserError, exit_on_user_error
from d2video.utils.files import new_folder, replace_on_success


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = command_parser(__doc__, "split")
    add_labels(parser)
    output = "file to write the %s part to; for mot and mots, a new folder"
    parser.add_argument("--train-output", required=True, help=output % "training")
    parser.add_argument("--held-out", required=True, help=output % "held-out")
    parser.add_argument(
        "--fraction", type=float, default=0.1, help="fraction of videos to hold out (default: 0.1)"
    )
    parser.add_argument(
        "--seed", type=not_negative, default=0, help="random seed for the choice of videos"
    )
    parser.add_argument(
        "--balance-classes",
        action="store_true",
        help="hold out --fraction of the tracks of every class, as far as possible with whole videos",
    )
    parser.add_argument(
        "--format",
        choices=WRITTEN_FORMATS,
        help="format of the outputs (default: that of IN or, if it is a labelling tool's, coco, which every "
        "model accepts)",
    )
    args = parser.parse_args(argv)
    outputs = [os.path.realpath(path) for path in (args.train_output, args.held_out)]
    if os.path.commonpath(outputs) in outputs:
        raise UserError(
            "--train-output and --held-out are the same, or one is in the other: give two separate paths"
        )
    if not 0 < args.fraction < 1:
        raise UserError(f"--fraction is {args.fraction}: set a value between 0 and 1")
    return args


@exit_on_user_error
def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    from detectron2.data import MetadataCatalog

    from d2video.data.export import standard_format, write_part
    from d2video.data.held_out import choose_held_out, divided_videos
    from d2video.data.records import is_labelled
    from d2video.formats.faults import Doubt
    from d2video.utils.counted import counted

    labels = read_labels(args, needs_images=False)
    for path in (args.train_output, args.held_out):
        check_output(path, labels, args.labels)
    if not all(map(is_labelled, labels.records)):
        raise UserError(f"{args.labels} has no annotations: split labelled data")
    held_out = choose_held_out(
        labels.records,
        args.fraction,
        args.seed,
        image_root=MetadataCatalog.get(labels.name).get("image_root"),
        balance_classes=args.balance_classes,
    )
    apart = [] if "length" in labels.records[0] else divided_videos(labels.records, held_out)
    if apart:
        text = (
            f"{counted(len(apart), 'pair')} of images with successive numbers, such as "
            f"{' and '.join(apart[0])}, {'is' if len(apart) == 1 else 'are'} divided: if these are frames of "
            "videos, the held-out part is hardly new; hold out whole videos instead"
        )
        tell(Doubt(args.labels, text))
    format = args.format or standard_format(labels.name) or "coco"
    parts = [
        labels._replace(
            records=[r for r, is_held in zip(labels.records, held_out) if is_held == part]
        )
        for part in (False, True)
    ]
    output = new_folder if format in FOLDER_FORMATS else replace_on_success
    said = []
    with ExitStack() as outputs:  # both are written, or neither
        for part, path in zip(parts, (args.train_output, args.held_out), strict=True):
            partial = str(outputs.enter_context(output(path)))
            kind, arguments = write_part(*part, partial, format, source=args.labels, report=tell)
            arguments = {key: path if each == partial else each for key, each in arguments.items()}
            said.append(
                (path, summary(part.records), register_entry(Path(path).stem, kind, arguments))
            )
    for path, held, _ in said:
        print(f"{path}: {held}")
    print(_table(*parts))
    print("\n".join(entry for *_, entry in said))


def _table(training: Labels, held_out: Labels) -> str:
    """Return a table of the videos and tracks of each class in both parts, and the classes in only one."""
    from tabulate import tabulate

    from d2video.data.records import object_classes

    counts = []
    for part in (training, held_out):
        classes = [object_classes(record) for record in part.records]
        counts.append(
            [
                (sum(k in each for each in classes), sum(each.count(k) for each in classes))
                for k in range(len(part.class_names))
            ]
        )
    what, items = ("videos", "tracks") if "length" in training.records[0] else ("images", "objects")
    rows, absent = [], []
    for name, (videos, tracks), (held_videos, held_tracks) in zip(
        training.class_names, *counts, strict=True
    ):
        total = tracks + held_tracks
        share = f"{held_tracks / total:.0%}" if total else ""
        rows.append([name, videos, held_videos, tracks, held_tracks, share])
        if total and not (tracks and held_tracks):
            lacking = "training" if held_tracks else "held-out"
            once = f", in one of all {what}" if videos + held_videos == 1 else ""
            absent.append(f"{name} ({lacking}{once})")
    head = ("class", f"{what}, training", "held out", f"{items}, training", "held out", "share")
    table = tabulate(rows, head, "pipe")
    if absent:
        table += (
            f"\ndoubt: classes missing in one part: {', '.join(absent)}; try --balance-classes, another "
            "--fraction or another --seed"
        )
    return table
