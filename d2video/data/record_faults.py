"""Everything that is wrong with the files and labels of one record.

Training meets these faults one by one; here a data set is read as a whole. The readers themselves say
what a file or a label must be.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np

from d2video.data.clip_instances import check_masks
from d2video.data.frame_sequence import read_frame
from d2video.data.records import Annotation, Record, has_area
from d2video.formats.faults import Fault
from d2video.formats.panoptic_png import segment_ids
from d2video.utils.errors import UserError
from d2video.video.image_io import read_rgb
from d2video.video.video_file import VideoFile


def record_faults(record: Record) -> list[Fault]:
    """Read all files of a record, whole, and look at its labels.

    Args:
        record: of a video, an image, a pair of images or a video file.

    Returns:
        A file that is missing, damaged, cut off or of another size than stated, a box without area
        inside the image, a segment without pixels or pixels without a segment.

    Raises:
        UserError: the record is none of these.
    """
    # Pairs: that they fit each other their reader has checked, by their heads.
    for key, find in (
        ("file_names", _frames),
        ("degraded_file_name", _pair),
        ("image_id", _image),
        ("file_name", _video_file),
    ):
        if key in record:
            return [*find(record)]
    raise UserError(
        f"a record with {', '.join(sorted(record))} is of no kind that is known here: check its files "
        "with the tool that made them"
    )


def _frames(record: Record) -> Iterator[Fault]:
    size = record["height"], record["width"]
    for name in record["file_names"]:
        yield from _unreadable(name, partial(read_frame, name, *size))
    # Boxes of tracking data may lie outside by the benchmarks' rules; their readers check the rest.
    if "sequence" in record:
        return
    for t, annotations in enumerate(record.get("annotations", ())):
        for annotation in annotations:
            yield from _box(annotation, size, record["file_names"][t], annotation["id"])


def _image(record: Record) -> Iterator[Fault]:
    size: tuple[Any, Any] = (record.get("height"), record.get("width"))
    name = record["file_name"]
    read: list[np.ndarray] = []
    yield from _unreadable(name, lambda: read.append(read_frame(name, *size)))
    if read:
        size = read[0].shape[:2]
    if size[0] is None or size[1] is None:
        return
    for k, annotation in enumerate(record.get("annotations", ())):
        k = annotation.get("id", k)
        yield from _box(annotation, size, name, k)
        if "segmentation" in annotation:
            try:
                check_masks([[annotation | {"id": k}]], size)
            except UserError as error:
                yield Fault(name, "object", k, str(error))
    if "segments_info" in record:
        yield from _segments(record, size)


def _segments(record: Record, size: tuple[int, int]) -> Iterator[Fault]:
    labels: list[np.ndarray] = []
    name = record["pan_seg_file_name"]
    yield from _unreadable(name, lambda: labels.append(read_frame(name, *size)))
    if not labels:
        return
    shown = {*np.unique(segment_ids(labels[0])).tolist()} - {0}
    stated = {segment["id"] for segment in record["segments_info"]}
    for identity in sorted(stated - shown):
        yield Fault(name, "segment", identity, "it is in the annotation file but has no pixels")
    for identity in sorted(shown - stated):
        yield Fault(name, "segment", identity, "it is not in the annotation file")


def _pair(record: Record) -> Iterator[Fault]:
    for name in (record["file_name"], record["degraded_file_name"]):
        yield from _unreadable(name, partial(read_rgb, name))


def _video_file(record: Mapping[str, Any]) -> Iterator[Fault]:
    def read() -> None:
        with VideoFile(record["file_name"]) as video:
            for _ in video.frames_at(np.arange(video.num_frames) / video.fps):
                pass

    yield from _unreadable(record["file_name"], read)


def _box(annotation: Annotation, size: tuple[int, int], path: str, name: Any) -> Iterator[Fault]:
    if not has_area(annotation, *size):
        box = list(annotation["bbox"])
        text = f"its box {box} has no area inside the {size[1]}x{size[0]} image"
        yield Fault(path, "object", name, text)


def _unreadable(path: str, read: Callable[[], Any]) -> Iterator[Fault]:
    try:
        read()
    except UserError as error:
        yield Fault(path, "file", None, str(error))
