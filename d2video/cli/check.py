"""Read a whole data set, all its files and labels, and report every fault with its file and place.

Labels as a tool or a benchmark wrote them (file, folder or zip), registered data sets by name, or all that
a config trains and tests on::

    d2video check export.zip
    d2video check --data train.json --image-root train/JPEGImages
    d2video check --data labelme/ --opts tracks group_id
    d2video check --data ytvis_2019_train coco_2017_val mot17_train
    d2video check --data mine --opts DATASETS.REGISTER '[["mine", "mot", {...}]]'
    d2video check VisTR/vistr_R50_ytvis2019.yaml DATASETS.TRAIN '("export.zip",)'
    d2video check --video-list train.csv --video-root videos
    d2video check --image-folder DIV2K/DIV2K_train_HR

All are read as training reads them; a file that is a registered data set's is read as that. The evaluator
of a data set is asked as well, and with a config its mappers, and whether the classes of all its data sets,
of its model and of MODEL.WEIGHTS (if that file is there) go together. What is not used of the labels is
counted by reason. The exit status is 1 if there are faults, or doubts whether the file is meant as it reads.
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
        help="files, folders or zips of labels, or registered data sets; options of their format need "
        "--opts before them",
    )
    what.add_argument("--config-file", default="", help="its DATASETS.TRAIN and TEST")
    what.add_argument("--video-list", metavar="FILE", help="lines of a video and a label")
    what.add_argument("--image-folder", metavar="FOLDER", help="images without labels")
    add_format(parser)
    parser.add_argument("--video-root", metavar="FOLDER", default="", help="of --video-list")
    parser.add_argument(
        "--num-workers",
        type=not_negative,
        default=min(os.cpu_count() or 1, 16),
        help="processes; 0: none besides",
    )
    add_opts(parser)
    add_names(parser, "named", "CONFIG or LABELS", "as with --config-file, or as with --data")
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
        parser.error("give one of labels, a config, --video-list and --image-folder")
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


def _checks(
    args: argparse.Namespace, cfg: "CfgNode | None"
) -> "list[tuple[str, Callable[..., Checked]]]":
    """(title, its check) of what is to be checked."""
    from d2video.cli.dataset_check import check_files, check_registered
    from d2video.data import loading
    from d2video.data.datasets.image_folder import load_image_folder
    from d2video.data.datasets.video_classification import load_video_list

    if args.video_list:
        # What is missing is found with the other faults of files.
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
        loading.check_registered(name)  # before hours of reading others
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
    """The names of the data sets of ``args.data``; a file may be that of several."""
    from d2video.cli.dataset_check import registered_as

    names: list[str] = []
    for source in args.data:
        known = registered_as(source, args.image_root) if os.path.isfile(source) else []
        given = {"format": args.input_format, "image_root": args.image_root}
        names += known or [data_set(source, args.opts, **given)]
    return names
