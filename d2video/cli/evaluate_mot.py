"""Check and score result files of any tracker: one <sequence>.txt for each sequence of a split.

The split is a registered data set or a folder of sequences (gt/gt.txt, img1 or a seqinfo.ini)::

    d2video evaluate-mot --dataset mot17_val_half --results output/mot17
    d2video evaluate-mot --ground-truth MOT17/train --benchmark MOT17 --results output/mot17
    d2video evaluate-mot --ground-truth cvat --benchmark MOT17 --classes car bus --results output

Labels that do not count are listed by reason. The first fault of a file is named with its line, and the
exit status is 1. Without ground truth, as in test splits, the files are only checked.
"""

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from d2video.cli.arguments import command_parser
from d2video.utils.errors import UserError, exit_on_user_error

if TYPE_CHECKING:
    from d2video.evaluation.mot.ground_truth import MOTGroundTruth


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = command_parser(__doc__, "evaluate-mot")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--dataset", help="name of a registered tracking data set")
    source.add_argument("--ground-truth", metavar="FOLDER", help="that holds sequences' folders")
    parser.add_argument(
        "--results", metavar="FOLDER", required=True, help="that holds <sequence>.txt"
    )
    parser.add_argument("--output", metavar="FILE", help="JSON file to write every metric to")
    folder = parser.add_argument_group("with --ground-truth")
    folder.add_argument(
        "--benchmark", metavar="NAME", help="MOT15, MOT16, MOT17, MOT20, DanceTrack or MOTS20"
    )
    folder.add_argument(
        "--sequences", nargs="+", metavar="NAME", help="some of them; patterns such as MOT17-0[24]*"
    )
    folder.add_argument(
        "--frame-range",
        nargs=2,
        type=float,
        default=(0.0, 1.0),
        metavar=("START", "END"),
        help="part of each sequence, 0.5 1 for its second half; results count from its first frame",
    )
    folder.add_argument(
        "--classes",
        nargs="+",
        type=_class,
        metavar="CLASS",
        help="numbers, or names in gt/labels.txt, in place of the benchmark's class and rules",
    )
    folder.add_argument(
        "--min-visibility",
        type=float,
        metavar="PART",
        help="with --classes: objects that are visible to this part or less do not count",
    )
    folder.add_argument(
        "--with-flag-0", action="store_true", help="with --classes: rows with flag 0 count too"
    )
    args = parser.parse_args(argv)
    if args.ground_truth and args.benchmark is None:
        raise UserError("--ground-truth needs --benchmark, the rules of scoring")
    if args.classes is None and (args.min_visibility is not None or args.with_flag_0):
        raise UserError(
            "--min-visibility and --with-flag-0 need --classes: benchmarks have their rules"
        )
    return args


def _class(text: str) -> int | str:
    return int(text) if text.removeprefix("-").isdecimal() else text


@exit_on_user_error
def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    from d2video.evaluation.mot.report import MOTReport

    ground_truth = _ground_truth(args)
    results = ground_truth.read_results(args.results)
    rows = sum(len(each) for each in results.values())
    frames = sum(each.num_frames for each in ground_truth.sequences.values())
    print(
        f"{args.results} is sound: {rows} {'masks' if ground_truth.has_masks else 'boxes'} in "
        f"{frames} frames of {len(results)} sequences"
    )
    if not ground_truth.rows:
        print(f"{ground_truth.source} has no labels: nothing is scored")
        return
    metrics = {name: ground_truth.compare(name, results[name]) for name in ground_truth.rows}
    report = MOTReport.of(ground_truth, metrics)
    print(report.table())
    if args.output:
        report.write(args.output)


def _ground_truth(args: argparse.Namespace) -> "MOTGroundTruth":
    from d2video.data.datasets.mot_split import check_frame_range, read_sequences
    from d2video.data.loading import check_registered
    from d2video.evaluation.mot.ground_truth import MOTGroundTruth
    from d2video.formats.mot_rules import object_rule

    if args.ground_truth is None:
        check_registered(args.dataset)
        return MOTGroundTruth.from_dataset(args.dataset)
    rule = object_rule(
        args.benchmark,
        classes=args.classes,
        min_visibility=args.min_visibility,
        with_flag_0=args.with_flag_0,
    )
    check_frame_range(args.frame_range)
    sequences = read_sequences(
        args.ground_truth,
        sequences=args.sequences,
        frame_range=tuple(args.frame_range),
        needs_images=False,
    )
    return MOTGroundTruth.read(args.ground_truth, rule, sequences)
