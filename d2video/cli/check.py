"""Read all files and labels of a dataset and report every fault with its file and location.

Give labels as written by a tool or a benchmark (file, folder or zip), names of registered datasets, or a
config, to check all its training and test sets::

    d2video check export.zip
    d2video check --data train.json --image-root train/JPEGImages
    d2video check --data labelme/ --opts tracks group_id
    d2video check --data ytvis_2019_train coco_2017_val mot17_train
    d2video check --data mine --opts DATASETS.REGISTER '[["mine", "mot", {...}]]'
    d2video check VisTR/vistr_R50_ytvis2019.yaml DATASETS.TRAIN '("export.zip",)'
    d2video check --video-list train.csv --video-root videos
    d2video check --image-folder DIV2K/DIV2K_train_HR

Data is read as in training; a file that belongs to a registered dataset is read as that dataset. The check
includes the dataset's evaluator. With a config it also includes the mappers, and whether the classes of all
datasets, of the model and of MODEL.WEIGHTS (if that file exists) match. Labels that are not used are counted
by reason. The exit status is 1 if there are faults, or doubts whether a file means what it says.
"""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from d2video.cli.arguments import (
    add_names,
    add_opts,
    command_parser,
    move_keys,
    not_negative,
)
from d2video.cli.labels import add_format, data_set
from d2video.utils.counted import counted
from d2video.utils.errors import UserError, exit_on_user_error

if TYPE_CHECKING:
    from detectron2.config import CfgNode

    from d2video.cli.dataset_check import Checked
    from d2video.formats.faults import Finding


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = command_parser(__doc__, "check")
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        *("--data", "--dataset", "--json"),
        nargs="+",
        default=[],
        metavar="LABELS",
        help="files, folders or zips of labels, or names of registered datasets; put --opts before options "
        "of their format",
    )
    what.add_argument(
        "--config-file", default="", help="config whose DATASETS.TRAIN and DATASETS.TEST to check"
    )
    what.add_argument(
        "--video-list", metavar="FILE", help="file with a video and a label on each line"
    )
    what.add_argument("--image-folder", metavar="FOLDER", help="folder of images without labels")
    add_format(parser)
    parser.add_argument(
        "--video-root", metavar="FOLDER", default="", help="folder of the videos in --video-list"
    )
    parser.add_argument(
        "--num-workers",
        type=not_negative,
        default=min(os.cpu_count() or 1, 16),
        help="worker processes; 0: read in the main process (default: %(default)s)",
    )
    add_opts(parser)
    add_names(parser, "named", "CONFIG or LABELS", "same as --config-file or --data")
    args = parser.parse_args(argv)
    move_keys(args, "data")
    for name in args.named:
        if (os.path.exists(name) or "." in name) and not name.endswith((".yaml", ".yml")):
            args.data = [*args.data, name]
        elif args.config_file:
            raise UserError(f"two configs are given, {name} and {args.config_file}: leave one out")
        else:
            args.config_file = name
    given = (args.config_file, args.data, args.video_list, args.image_folder)
    if sum(map(bool, given)) != 1:
        parser.error("give exactly one of labels, a config, --video-list and --image-folder")
    return args


@exit_on_user_error
def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    from d2video.cli.dataset_check import check_classes, check_splits
    from d2video.config import load_cfg
    from d2video.formats.faults import Doubt, Fault

    cfg = load_cfg(args.config_file, args.opts) if args.config_file else None
    found: list[Finding] = []
    all_checked: dict[str, Checked] = {}
    for title, check in _checks(args, cfg):
        checked = all_checked[title] = check(workers=args.num_workers)
        _tell(checked.findings, title, f", {counted(checked.num_records, 'record')} read")
        found += checked.findings
    if cfg is not None:
        together = [*check_splits(cfg, all_checked), *check_classes(cfg, found)]
        if together:
            _tell(together, f"{args.config_file}, all together")
        found += together
    if any(isinstance(each, Fault | Doubt) for each in found):
        sys.exit(1)


def _tell(findings: "Sequence[Finding]", title: str, more: str = "") -> None:
    """Print findings and their number."""
    from d2video.formats.faults import Doubt, Fault, LeftOut

    kinds = {Fault: "fault", Doubt: "doubt", LeftOut: "left out"}
    for each in findings:
        print(f"{kinds[type(each)]}: {each}", flush=True)
    faults, doubts = (sum(isinstance(f, kind) for f in findings) for kind in (Fault, Doubt))
    verdict = counted(faults, "fault") if faults else "no faults"
    if doubts:
        verdict += f", {counted(doubts, 'doubt')}"
    left_out = sum(sum(each.reasons.values()) for each in findings if isinstance(each, LeftOut))
    if left_out:
        verdict += f", {counted(left_out, 'entry')} left out"
    print(f"{title}: {verdict}{more}")


def _checks(
    args: argparse.Namespace, cfg: "CfgNode | None"
) -> "list[tuple[str, Callable[..., Checked]]]":
    """Return (title, check) pairs for everything to be checked."""
    from d2video.cli.dataset_check import check_files, check_registered
    from d2video.data import loading
    from d2video.data.datasets.image_folder import load_image_folder
    from d2video.data.datasets.video_classification import load_video_list

    if args.video_list:
        # Missing files are reported with the other faults of files.
        listed = partial(load_video_list, args.video_list, args.video_root, on_missing="keep")
        check = partial(check_files, args.video_list, lambda report: listed(report=report)[0])
        return [(args.video_list, check)]
    if args.image_folder:
        images = partial(load_image_folder, args.image_folder)
        return [(args.image_folder, partial(check_files, args.image_folder, lambda _: images()))]
    if cfg is None:
        return [(name, partial(check_registered, name)) for name in _data_sets(args)]
    names = [*dict.fromkeys([*cfg.DATASETS.TRAIN, *cfg.DATASETS.TEST])]
    for name in names:
        loading.check_registered(name)  # before reading others, which may take hours
    return [
        (
            name,
            partial(
                check_registered,
                name,
                train_cfg=cfg if name in cfg.DATASETS.TRAIN else None,
                test_cfg=cfg if name in cfg.DATASETS.TEST else None,
            ),
        )
        for name in names
    ]


def _data_sets(args: argparse.Namespace) -> list[str]:
    """Return the names of the datasets of ``args.data``; a file may belong to several."""
    from d2video.cli.dataset_check import registered_as

    names: list[str] = []
    for source in args.data:
        known = registered_as(source, args.image_root) if os.path.isfile(source) else []
        given = {"format": args.input_format, "image_root": args.image_root}
        names += known or [data_set(source, args.opts, **given)]
    return names
