"""Read a whole data set, all its files and labels, and report every fault with its file and place.

Registered data sets by name, or all that a config trains and tests on; or files of yours::

    d2video check --dataset ytvis_2019_train coco_2017_val mot17_train
    d2video check VisTR/vistr_R50_ytvis2019.yaml
    d2video check --dataset mine --opts DATASETS.REGISTER '[["mine", "mot", {...}]]'
    d2video check --json train.json --image-root train/JPEGImages
    d2video check --video-list train.csv --video-root videos
    d2video check --image-folder DIV2K/DIV2K_train_HR

YouTube-VIS, COCO (instances, panoptic, with track ids), MOTChallenge, CrowdHuman, video classification
and folders of images, each by the loader it is registered with; a file of --json that is a registered
data set's is read as that. The evaluator of a data set is asked as well, and with a config its mappers,
and whether the classes of all its data sets, of its model and of MODEL.WEIGHTS (if that file is there)
go together. What is not used of the labels is counted by reason. The exit status is 1 if there are
faults, or doubts whether the file is meant as it reads.
"""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from d2video.cli.arguments import add_config_name, add_opts, command_parser, not_negative
from d2video.utils.counted import counted
from d2video.utils.errors import UserError, exit_on_user_error

if TYPE_CHECKING:
    from detectron2.config import CfgNode

    from d2video.cli.dataset_check import Checked
    from d2video.data.records import Record
    from d2video.formats.faults import Finding, Report


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = command_parser(__doc__, "check")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--dataset", nargs="+", metavar="NAME", help="registered data sets")
    what.add_argument("--config-file", help="its DATASETS.TRAIN and TEST")
    what.add_argument("--json", metavar="FILE", help="annotation file, YouTube-VIS or COCO")
    what.add_argument("--video-list", metavar="FILE", help="lines of a video and a label")
    what.add_argument("--image-folder", metavar="FOLDER", help="images without labels")
    parser.add_argument(
        "--image-root", metavar="FOLDER", help="of the images of --json, unless it is registered"
    )
    parser.add_argument("--video-root", metavar="FOLDER", default="", help="of --video-list")
    parser.add_argument(
        "--num-workers",
        type=not_negative,
        default=min(os.cpu_count() or 1, 16),
        help="processes; 0: none besides",
    )
    add_opts(parser)
    add_config_name(parser)
    args = parser.parse_args(argv)
    others = (args.dataset, args.json, args.video_list, args.image_folder)
    if bool(args.config_file) + sum(map(bool, others)) != 1:
        parser.error(
            "give one of --dataset, --config-file, --json, --video-list and --image-folder"
        )
    return args


@exit_on_user_error
def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    from d2video.cli.dataset_check import check_classes, check_splits
    from d2video.config import load_cfg
    from d2video.formats.faults import Doubt, Fault

    cfg = load_cfg(args.config_file, args.opts)  # registers data sets, too
    found: list[Finding] = []
    all_checked: dict[str, Checked] = {}
    for title, check in _checks(args, cfg):
        checked = all_checked[title] = check(workers=args.num_workers)
        _tell(checked.findings, title, f", {counted(checked.num_records, 'record')} read")
        found += checked.findings
    if args.config_file:
        together = [*check_splits(cfg, all_checked), *check_classes(cfg, found)]
        if together:
            _tell(together, f"{args.config_file}, all together")
        found += together
    if any(isinstance(each, Fault | Doubt) for each in found):
        sys.exit(1)


def _tell(findings: "Sequence[Finding]", title: str, more: str = "") -> None:
    """Print findings and how many they are."""
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


def _checks(args: argparse.Namespace, cfg: "CfgNode") -> "list[tuple[str, Callable[..., Checked]]]":
    """(title, its check) of what is to be checked."""
    from detectron2.data import DatasetCatalog

    from d2video.cli.dataset_check import check_files, check_registered, registered_as
    from d2video.data.dataset_faults import read_annotation_file
    from d2video.data.datasets.image_folder import load_image_folder
    from d2video.data.datasets.video_classification import load_video_list
    from d2video.data.loading import load_records

    names = args.dataset or []
    title = ""
    read: Callable[[Report], Sequence[Record]] | None = None
    if args.video_list:
        # What is missing is found with the other faults of files.
        listed = partial(load_video_list, args.video_list, args.video_root, on_missing="keep")
        title, read = args.video_list, lambda report: listed(report=report)[0]
    elif args.image_folder:
        title, read = args.image_folder, lambda report: load_image_folder(args.image_folder)
    elif args.json:
        names = registered_as(args.json, args.image_root)
        title, read = args.json, partial(read_annotation_file, args.json, args.image_root)
        if not names and not args.image_root:
            raise UserError("--json needs --image-root, the folder of its images")
    elif args.config_file:
        names = [*dict.fromkeys([*cfg.DATASETS.TRAIN, *cfg.DATASETS.TEST])]
    if not names and read is not None:
        return [(title, partial(check_files, title, read))]
    for name in names:
        if name not in DatasetCatalog:
            load_records(name)  # raises, before hours of reading others
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
