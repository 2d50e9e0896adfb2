"""Reading a whole data set for its faults: the records of a file of yours, and all their files."""

import multiprocessing
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial

from tqdm import tqdm

from d2video.data.datasets.coco import load_coco_instances
from d2video.data.datasets.coco_tracks import load_coco_tracks
from d2video.data.datasets.ytvis import load_ytvis_json
from d2video.data.record_faults import record_faults
from d2video.data.records import Record
from d2video.formats.faults import Fault, Report
from d2video.formats.text import read_json
from d2video.utils.errors import UserError


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

    ``workers`` processes read, or this one if 0. ``title`` is that of the progress bar on stderr.
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
