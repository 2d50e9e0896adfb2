"""Everything that is wrong with the files and labels of one record.

Training meets these faults one by one; here a dataset is read as a whole. The readers themselves say
what a file or a label must be.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from d2video.data.clip_instances import check_masks
from d2video.data.frame_sequence import read_frame, read_label_image
from d2video.data.records import Annotation, Record, has_area
from d2video.formats.faults import Doubt, Fault, Finding, Tally
from d2video.formats.panoptic_png import segment_ids
from d2video.utils.errors import UserError
from d2video.video.frame_names import source_of_images
from d2video.video.image_io import read_rgb
from d2video.video.video_file import VideoFile


def record_faults(record: Record, mappers: Sequence[Callable[[Any], Any]] = ()) -> list[Finding]:
    """Read all files of a record, whole, and look at its labels.

    Args:
        record: of a video, an image, a pair of images or a video file.
        mappers: that must take the record, each once; asked where nothing else is wrong.

    Returns:
        Faults: a file that is missing, damaged, cut off or of another size than stated, a mask that
        is damaged, a segment without pixels, or what a mapper refuses. Doubts: pixels without a
        segment. A LeftOut of the boxes without area inside the image, be it none.

    Raises:
        UserError: the record is none of these.
    """
    if "file_names" in record:
        find = _frames
    elif "degraded_file_name" in record:
        find = _pair  # that they fit each other their reader has checked, by their heads
    elif "file_name" in record:
        find = _video_file if "video_id" in record else _image
    else:
        raise UserError(
            f"a record with {', '.join(sorted(record))} is of no kind that is known here: check its "
            "files with the tool that made them"
        )
    found: list[Finding] = [*find(record)]
    path = record.get("file_name") or source_of_images(record["file_names"][0])
    refused = any(isinstance(each, Fault) for each in found)
    for mapper in () if refused else mappers:
        # A batch number is what a loader adds, and some mappers need.
        found += _refused(path, "file", None, partial(mapper, {"batch_number": 0, **record}))
    return found


def _frames(record: Record) -> Iterator[Finding]:
    size = record["height"], record["width"]
    for name in record["file_names"]:
        yield from _refused(name, "file", None, partial(read_frame, name, *size))
    # Boxes of tracking data may lie outside by the benchmarks' rules; their readers check the rest.
    if "sequence" in record:
        return
    for name, annotations in zip(record["file_names"], record.get("annotations", ())):
        yield from _objects(annotations, size, name)


def _image(record: Record) -> Iterator[Finding]:
    size: tuple[Any, Any] = (record.get("height"), record.get("width"))
    name = record["file_name"]
    read: list[np.ndarray] = []
    yield from _refused(name, "file", None, lambda: read.append(read_frame(name, *size)))
    if read:
        size = read[0].shape[:2]
    if size[0] is None or size[1] is None:
        return
    numbered: Any = [{"id": k, **each} for k, each in enumerate(record.get("annotations", ()))]
    yield from _objects(numbered, size, name)
    if "segments_info" in record:
        yield from _segments(record, size)


def _segments(record: Record, size: tuple[int, int]) -> Iterator[Finding]:
    labels: list[np.ndarray] = []
    name = record["pan_seg_file_name"]
    yield from _refused(
        name,
        "file",
        None,
        lambda: labels.append(read_label_image(name, record["file_name"], *size)),
    )
    if not labels:
        return
    shown = {*np.unique(segment_ids(labels[0])).tolist()} - {0}
    stated = {segment["id"] for segment in record["segments_info"]}
    for identity in sorted(stated - shown):
        yield Fault(name, "segment", identity, "it is in the annotation file but has no pixels")
    for identity in sorted(shown - stated):
        yield Doubt(name, f"segment {identity} has pixels but is not in the annotation file")


def _pair(record: Record) -> Iterator[Finding]:
    for name in (record["file_name"], record["degraded_file_name"]):
        yield from _refused(name, "file", None, partial(read_rgb, name))


def _video_file(record: Mapping[str, Any]) -> Iterator[Finding]:
    def read() -> None:
        with VideoFile(record["file_name"]) as video:
            for _ in video.frames_at(np.arange(video.num_frames) / video.fps):
                pass

    yield from _refused(record["file_name"], "file", None, read)


def _objects(
    annotations: Sequence[Annotation], size: tuple[int, int], path: str
) -> Iterator[Finding]:
    tally = Tally(path, "boxes")
    for annotation in annotations:
        if has_area(annotation, *size):
            tally.used += 1
        else:
            tally.leave_out("without area inside the image")
        if "segmentation" in annotation:
            check = partial(check_masks, [[annotation]], size)
            yield from _refused(path, "object", annotation["id"], check)
    yield tally.left_out()


def _refused(path: str, kind: str, entry: Any, use: Callable[[], Any]) -> Iterator[Finding]:
    """The UserError of a use, if it has one, as a fault."""
    try:
        use()
    except UserError as error:
        yield Fault(path, kind, entry, str(error))
