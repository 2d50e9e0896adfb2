"""Everything that is wrong with the files and labels of one record, as lines of text.

Training meets these faults one by one; here a data set is read as a whole. What a file or a label must
be is told by the readers themselves.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from d2video.data.clip_instances import check_masks, xyxy_box
from d2video.data.frame_sequence import read_frame
from d2video.data.records import Record
from d2video.formats.panoptic_png import segment_ids
from d2video.utils.errors import UserError
from d2video.video.image_io import read_rgb
from d2video.video.video_file import VideoFile


def record_faults(record: Record) -> list[str]:
    """Read all files of a record, whole, and look at its labels.

    Args:
        record: of a video, an image, a pair of images or a video file (docs/architecture.md).

    Returns:
        One line a fault: a file that is missing, damaged, cut off or of another size than stated, a
        box without area inside the image, a segment without pixels or pixels without a segment.

    Raises:
        UserError: the record is none of these.
    """
    if "file_names" in record:
        return [*_frames(record)]
    if "degraded_file_name" in record:
        return [*_pair(record)]
    if "image_id" in record:
        return [*_image(record)]
    if "file_name" in record:
        return [*_video_file(record["file_name"])]
    raise UserError(
        f"a record with {', '.join(sorted(record))} is of no kind that is known here: check its files "
        "with the tool that made them"
    )


def _frames(record: Record) -> Iterator[str]:
    size = record["height"], record["width"]
    for name in record["file_names"]:
        yield from _fault_of(partial(read_frame, name, *size))
    # Boxes of tracking data may lie outside by the benchmarks' rules; their readers check the rest.
    if "sequence" in record:
        return
    for t, annotations in enumerate(record.get("annotations", ())):
        for annotation in annotations:
            where = f"{record['file_names'][t]}: object {annotation['id']}"
            yield from _box(annotation, size, where)


def _image(record: Record) -> Iterator[str]:
    size: tuple[Any, Any] = (record.get("height"), record.get("width"))
    name = record["file_name"]
    read: list[np.ndarray] = []
    yield from _fault_of(lambda: read.append(read_frame(name, *size)))
    if read:
        size = read[0].shape[:2]
    if size[0] is None or size[1] is None:
        return
    for k, annotation in enumerate(record.get("annotations", ())):
        where = f"{name}: object {annotation.get('id', k)}"
        yield from _box(annotation, size, where)
        if "segmentation" in annotation:
            labels = [[{"id": k, **annotation}]]
            for fault in _fault_of(partial(check_masks, labels, size)):
                yield f"{where}: {fault}"
    if "segments_info" in record:
        yield from _segments(record, size)


def _segments(record: Record, size: tuple[int, int]) -> Iterator[str]:
    labels: list[np.ndarray] = []
    name = record["pan_seg_file_name"]
    yield from _fault_of(lambda: labels.append(read_frame(name, *size)))
    if not labels:
        return
    shown = {*np.unique(segment_ids(labels[0])).tolist()} - {0}
    stated = {segment["id"] for segment in record["segments_info"]}
    for identity in sorted(stated - shown):
        yield f"{name}: segment {identity} of the annotation file has no pixels"
    for identity in sorted(shown - stated):
        yield f"{name}: segment {identity} is not in the annotation file"


def _pair(record: Record) -> Iterator[str]:
    # That they fit each other their reader has checked, by their heads.
    for name in (record["file_name"], record["degraded_file_name"]):
        yield from _fault_of(partial(read_rgb, name))


def _video_file(name: str) -> Iterator[str]:
    def read() -> None:
        with VideoFile(name) as video:
            for _ in video.frames_at(np.arange(video.num_frames) / video.fps):
                pass

    yield from _fault_of(read)


def _box(annotation: dict[str, Any], size: tuple[int, int], where: str) -> Iterator[str]:
    x0, y0, x1, y1 = xyxy_box(annotation)
    height, width = size
    # Written so that NaN is a fault.
    if not (min(x1, width) > max(x0, 0) and min(y1, height) > max(y0, 0)):
        yield f"{where}: its box {list(annotation['bbox'])} has no area inside the {width}x{height} image"


def _fault_of(read: Callable[[], Any]) -> Iterator[str]:
    try:
        read()
    except UserError as error:
        yield str(error)
