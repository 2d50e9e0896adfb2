"""The objects of records, in the form that all writers need."""

import os
from collections.abc import Iterator, Sequence
from typing import Any

from detectron2.structures import BoxMode

from d2video.data.records import Annotation, Record, is_labelled
from d2video.formats.faults import Report, Tally
from d2video.formats.geometry.rle import to_rle
from d2video.utils.errors import UserError


def written(source: str, noun: str) -> Tally:
    """A tally of what is written."""
    return Tally(source, noun, done="written")


def labelled(records: Sequence[Record], source: str, report: Report) -> list[Record]:
    """The records that have labels; all of them if none has.

    Raises:
        UserError: there are no records, or the labels are not objects with boxes.
    """
    if not records:
        raise UserError(f"{source} holds no video or image: there is nothing to write")
    if not any(map(is_labelled, records)):
        return [*records]
    if not any("annotations" in record for record in records):
        raise UserError(
            f"{source} has no objects with boxes or masks, only classes or panoptic segments: give a set "
            "of tracks or instances"
        )
    kept = [record for record in records if "annotations" in record]
    tally = written(source, "videos" if "length" in records[0] else "images")
    tally.used = len(kept)
    tally.leave_out("without labels", len(records) - len(kept))
    tally.tell(report)
    _tell_unscored(kept, source, report)
    return kept


def _tell_unscored(records: Sequence[Record], source: str, report: Report) -> None:
    """Count what a benchmark's own rules do not score, for which other programs' formats have no place."""
    marks = written(source, "marks of what a benchmark does not score")
    for record in (each for each in records if "length" in each):
        for key, reason in (("annotations", "of objects"), ("ignored", "of similar classes")):
            objects = (each for frame in record.get(key, ()) for each in frame)
            marks.leave_out(reason, sum(not each.get("scored", True) for each in objects))
    marks.tell(report)


def check_videos(
    records: Sequence[Record], source: str, format: str, advice: str | None = None
) -> None:
    """
    Raises:
        UserError: the records are images; ``advice`` is what would make videos of them.
    """
    if any("length" not in record for record in records):
        remedy = "write it as coco" if advice is None else f"{advice}, or write it as coco"
        raise UserError(f"{source} is a set of images, and {format} holds videos: {remedy}")


def frame_objects(record: Record) -> Iterator[tuple[int, Annotation, bool]]:
    """(frame from 0 on, object, whether it is a crowd or a region to ignore) of a labelled video.

    Distractors of a benchmark are not among them.
    """
    ignored = record.get("ignored", [()] * record["length"])
    for frame, (objects, regions) in enumerate(zip(record["annotations"], ignored, strict=True)):
        for each in objects:
            yield frame, each, bool(each.get("iscrowd"))
        for each in regions:
            if each.get("scored", True):
                yield frame, each, True


def box_of(annotation: Annotation) -> list[float]:
    """Left, top, width, height in pixels from 0 on."""
    box, mode = annotation["bbox"], BoxMode(annotation["bbox_mode"])
    if mode != BoxMode.XYWH_ABS:
        box = BoxMode.convert([*map(float, box)], mode, BoxMode.XYWH_ABS)
    return [*map(float, box)]


def mask_of(annotation: Annotation, height: int, width: int) -> dict[str, Any] | None:
    """The mask as compressed RLE; None if there is none."""
    segmentation = annotation.get("segmentation")
    return None if not segmentation else to_rle(segmentation, height, width)


def json_rle(mask: dict[str, Any]) -> dict[str, Any]:
    """A compressed RLE that JSON can hold."""
    counts = mask["counts"]
    return {
        "size": [*map(int, mask["size"])],
        "counts": counts.decode("ascii") if isinstance(counts, bytes) else counts,
    }


def relative_names(names: Sequence[str], image_root: str | None) -> list[str]:
    """Paths of frames relative to a folder, with "/"; None leaves them as they are.

    Raises:
        UserError: a frame is not in the folder.
    """
    if image_root is None:
        return [*names]
    root = os.path.abspath(image_root)
    found = []
    for name in names:
        relative = os.path.relpath(os.path.abspath(name), root)
        if relative.split(os.sep)[0] == os.pardir:
            raise UserError(
                f"{name} is not in the folder {image_root}: give one that holds all frames as image_root"
            )
        found.append(relative.replace(os.sep, "/"))
    return found


def categories_of(class_names: Sequence[str]) -> list[dict[str, Any]]:
    """The classes as COCO and YouTube-VIS list them, ids from 1 on."""
    return [{"id": k, "name": name} for k, name in enumerate(class_names, 1)]
