"""Read a whole data set, all its files and labels, and report every fault with its file and place.

Registered data sets by name, or all that a config trains and tests on; or files of one's own::

    tools/check_dataset.py --dataset ytvis_2019_train coco_2017_val mot17_train
    tools/check_dataset.py --config-file configs/VisTR/vistr_R50_ytvis2019.yaml
    tools/check_dataset.py --json train.json --image-root train/JPEGImages
    tools/check_dataset.py --video-list train.csv --video-root videos
    tools/check_dataset.py --image-folder DIV2K/DIV2K_train_HR

YouTube-VIS, COCO (instances, panoptic, with track ids), MOTChallenge, CrowdHuman, video classification
and folders of images. The exit status is 1 if there are faults.
"""

import argparse
import multiprocessing
import os
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from typing import Any

from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.data.datasets import load_coco_json
from tqdm import tqdm

from d2video.config import load_cfg
from d2video.data.annotation_faults import json_faults, line_faults, ytvis_faults
from d2video.data.build import load_records
from d2video.data.datasets.coco_panoptic import load_coco_panoptic
from d2video.data.datasets.coco_tracks import load_coco_tracks
from d2video.data.datasets.image_folder import load_image_folder
from d2video.data.datasets.video_classification import load_video_list
from d2video.data.record_faults import record_faults
from d2video.data.records import Record
from d2video.formats.coco import annotation_file_errors, check_coco_instances
from d2video.formats.json_text import parse_json
from d2video.formats.mot_rows import read_mot_ground_truth, read_mots_ground_truth
from d2video.projects import register_all
from d2video.utils.errors import UserError, exit_on_user_error

Found = tuple[list[str], list[Record]]


def dataset_faults(name: str) -> Found:
    """The faults of a registered data set's annotation file, and the records of what can be read.

    Raises:
        UserError: it is not registered.
    """
    try:
        return [], load_records(name)
    except UserError as error:
        if name not in DatasetCatalog:
            raise
        first = str(error)
    meta = MetadataCatalog.get(name)
    kind, json_file = meta.get("evaluator_type"), meta.get("json_file")
    if kind == "mot" and meta.get("mot_sequences"):
        kind = "boxes"
    elif kind == "mots":
        kind = "masks"
    faults: list[str] = []
    if kind in ("boxes", "masks"):
        faults = _mot_faults(meta.mot_sequences, kind == "masks")
    elif lines := meta.get("annotation_lines"):
        return _found(first, lines[0], partial(line_faults, *lines))
    elif kind == "coco_panoptic_seg":
        path, roots = meta.panoptic_json, (meta.image_root, meta.panoptic_root)
        load = partial(_panoptic, name, *roots)
        return _found(first, path, partial(json_faults, path, load))
    elif json_file and os.path.isfile(json_file) and kind in ("ytvis", "coco", "mot"):
        return json_file_faults(json_file, meta.image_root)
    return faults or [first], []


def _found(first: str, path: str, find: Callable[[], tuple[list[str], Any]]) -> Found:
    """What ``find`` says of the file; ``first``, what reading the data set told, if it is not there."""
    if not os.path.isfile(path):
        return [first], []
    faults, records = find()
    return faults or [first], records or []


def _panoptic(name: str, image_root: str, panoptic_root: str, path: str) -> list[Record]:
    return load_coco_panoptic(path, image_root, panoptic_root, name)


def json_file_faults(path: str, image_root: str) -> Found:
    """The faults of an annotation file, and the records of what is sound; its keys tell the format.

    Raises:
        UserError: the file cannot be read, or is in no format that is known.
    """
    try:
        with open(path, "rb") as file:
            content = parse_json(file.read())
    except (OSError, ValueError) as error:
        raise UserError(f"annotation file {path} cannot be read: {error}") from error
    if not isinstance(content, dict) or not {"videos", "images"} & {*content}:
        raise UserError(
            f"{path} is neither in YouTube-VIS nor in COCO format: it has no videos or images"
        )
    if "images" not in content:
        return ytvis_faults(path, image_root)
    images = content["images"]
    with_tracks = isinstance(images, list) and any(
        "frame_id" in i for i in images if isinstance(i, dict)
    )
    del content
    load = (
        partial(load_coco_tracks, image_root=image_root)
        if with_tracks
        else partial(_coco, image_root)
    )
    faults, records = json_faults(path, load)
    return faults, records or []


def _coco(image_root: str, path: str) -> list[Record]:
    with annotation_file_errors(os.path.basename(path), path):
        check_coco_instances(path)
        return load_coco_json(path, image_root)


def _mot_faults(read_sequences: Callable[[], Any], has_masks: bool) -> list[str]:
    faults = []
    for sequence in read_sequences():
        if sequence.gt_file is None:
            continue
        length, size = sequence.seq_length, (sequence.height, sequence.width)
        read: Callable[[str], Any] = partial(read_mot_ground_truth, num_frames=length)
        if has_masks:
            read = partial(read_mots_ground_truth, num_frames=length, image_size=size)
        faults += line_faults(sequence.gt_file, read)[0]
    return faults


def check_records(records: Sequence[Record], workers: int, title: str) -> list[str]:
    """The faults of all records, in their order.

    Args:
        records: of a data set.
        workers: processes that read; 0: this one.
        title: of the progress bar on stderr.
    """
    bar = partial(tqdm, total=len(records), desc=title, unit="record", disable=None)
    if workers == 0:
        return [fault for found in bar(map(record_faults, records)) for fault in found]
    # Forked, as torch's data loaders are: otherwise each would load all libraries anew.
    fork = multiprocessing.get_context("fork")
    chunk = max(1, min(16, len(records) // (4 * workers)))
    with ProcessPoolExecutor(workers, fork) as pool:
        try:
            found = pool.map(record_faults, records, chunksize=chunk)
            return [fault for faults in bar(found) for fault in faults]
        except BrokenProcessPool as error:
            raise UserError(
                f"{title}: a process was killed while it read, perhaps for want of memory: lower "
                "--num-workers"
            ) from error


@exit_on_user_error
def main(argv: Sequence[str] | None = None) -> None:
    """Check and report; ``argv`` defaults to the command line's."""
    args = _parser().parse_args(argv)
    if args.num_workers < 0:
        raise UserError(f"--num-workers is {args.num_workers}: give 0 or more")
    register_all()
    total = 0
    for title, find in _sources(args):
        faults, records = find()
        for fault in faults:
            print(f"fault: {fault}", flush=True)
        of_files = check_records(records, args.num_workers, title)
        for fault in of_files:
            print(f"fault: {fault}", flush=True)
        count = len(faults) + len(of_files)
        print(f"{title}: {count or 'no'} fault{'s' * (count != 1)}, {len(records)} records read")
        total += count
    if total:
        sys.exit(1)


def _sources(args: argparse.Namespace) -> list[tuple[str, Callable[[], Found]]]:
    """(title, what finds the faults of its annotations and the records) of what is to be checked."""
    if args.json:
        if not args.image_root:
            raise UserError("--json needs --image-root, the folder of its images")
        return [(args.json, partial(json_file_faults, args.json, args.image_root))]
    if args.video_list:
        return [(args.video_list, partial(_video_list, args.video_list, args.video_root))]
    if args.image_folder:
        return [(args.image_folder, lambda: ([], load_image_folder(args.image_folder)))]
    names = args.dataset or []
    if args.config_file:
        cfg = load_cfg(args.config_file, args.opts)
        names = [*dict.fromkeys([*cfg.DATASETS.TRAIN, *cfg.DATASETS.TEST])]
    return [(name, partial(dataset_faults, name)) for name in names]


def _video_list(path: str, root: str) -> Found:
    if not os.path.isfile(path):
        raise UserError(f"list {path} does not exist: mend the path")
    # What is missing is found with the other faults of files.
    faults, found = line_faults(path, lambda copy: load_video_list(copy, root, on_missing="keep"))
    return faults, found[0] if found else []


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--dataset", nargs="+", metavar="NAME", help="registered data sets")
    what.add_argument("--config-file", help="its DATASETS.TRAIN and TEST")
    what.add_argument("--json", metavar="FILE", help="annotation file, YouTube-VIS or COCO")
    what.add_argument("--video-list", metavar="FILE", help="lines of a video and a label")
    what.add_argument("--image-folder", metavar="FOLDER", help="images without labels")
    parser.add_argument("--image-root", metavar="FOLDER", help="of the images of --json")
    parser.add_argument("--video-root", metavar="FOLDER", default="", help="of --video-list")
    workers = min(os.cpu_count() or 1, 16)
    parser.add_argument(
        "--num-workers", type=int, default=workers, help="processes; 0: none besides"
    )
    parser.add_argument(
        "--opts", nargs="+", default=[], metavar="KEY VALUE", help="config keys to change"
    )
    return parser
