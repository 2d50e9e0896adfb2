"""Read a whole data set, all its files and labels, and report every fault with its file and place.

Registered data sets by name, or all that a config trains and tests on; or files of yours::

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

from detectron2.data import DatasetCatalog
from tqdm import tqdm

from d2video.config import load_cfg
from d2video.data.build import load_records
from d2video.data.datasets.coco import load_coco_instances
from d2video.data.datasets.coco_tracks import load_coco_tracks
from d2video.data.datasets.image_folder import load_image_folder
from d2video.data.datasets.video_classification import load_video_list
from d2video.data.datasets.ytvis import load_ytvis_json
from d2video.data.record_faults import record_faults
from d2video.data.records import Record
from d2video.formats.faults import Fault, Report
from d2video.formats.text import read_json
from d2video.projects import register_all
from d2video.utils.errors import UserError, exit_on_user_error

Reader = Callable[[Report], Sequence[Record]]


def read_annotation_file(path: str, image_root: str, report: Report) -> Sequence[Record]:
    """The records of what is sound in an annotation file; its keys name the format.

    Raises:
        UserError: the file cannot be read, or is in no format that is known.
    """
    content = read_json(path)
    if not isinstance(content, dict) or not {"videos", "images"} & {*content}:
        raise UserError(
            f"{path} is neither in YouTube-VIS nor in COCO format: it has no videos or images"
        )
    images = content.get("images")
    del content  # the readers read it again; both at once may be gigabytes
    if images is None:
        return load_ytvis_json(path, image_root, report=report)
    if isinstance(images, list) and any("frame_id" in i for i in images if isinstance(i, dict)):
        return load_coco_tracks(path, image_root, report=report)
    return load_coco_instances(path, image_root, report)


def check_records(records: Sequence[Record], workers: int, title: str) -> list[Fault]:
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
    for title, read in _sources(args):
        faults: list[Fault] = []
        records: Sequence[Record] = ()
        try:
            records = read(faults.append)
        except UserError as error:  # nothing of it can be read
            faults.append(Fault(title, "file", None, str(error)))
        faults += check_records(records, args.num_workers, title)
        for fault in faults:
            print(f"fault: {fault}", flush=True)
        count = len(faults)
        print(f"{title}: {count or 'no'} fault{'s' * (count != 1)}, {len(records)} records read")
        total += count
    if total:
        sys.exit(1)


def _sources(args: argparse.Namespace) -> list[tuple[str, Reader]]:
    """(title, what reads the records) of what is to be checked."""
    if args.json:
        if not args.image_root:
            raise UserError("--json needs --image-root, the folder of its images")
        return [(args.json, partial(read_annotation_file, args.json, args.image_root))]
    if args.video_list:
        # What is missing is found with the other faults of files.
        read = partial(load_video_list, args.video_list, args.video_root, on_missing="keep")
        return [(args.video_list, lambda report: read(report=report)[0])]
    if args.image_folder:
        return [(args.image_folder, lambda report: load_image_folder(args.image_folder))]
    names = args.dataset or []
    if args.config_file:
        cfg = load_cfg(args.config_file, args.opts)
        names = [*dict.fromkeys([*cfg.DATASETS.TRAIN, *cfg.DATASETS.TEST])]
    for name in names:
        if name not in DatasetCatalog:
            load_records(name)  # raises, before hours of reading others
    return [(name, partial(load_records, name)) for name in names]


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
