"""What the loaders need to know of a dataset record, be it a video or an image.

A record without ``length`` is an image: a video of one frame (docs/architecture.md). A video of
classification, which has one ``label``, has none either and is one sample.
"""

import logging
from typing import Any

import numpy as np

from d2video.data.clip_instances import track_classes, xyxy_box
from d2video.utils.errors import UserError

logger = logging.getLogger(__name__)

Record = dict[str, Any]


def num_frames(record: Record) -> int:
    """Frames of a video; 1 for an image, and for a video that is a sample as a whole."""
    return record.get("length", 1)


def is_labelled(record: Record) -> bool:
    """Whether there are labels, be it none for this image or video."""
    return "annotations" in record or "segments_info" in record or "label" in record


def object_classes(record: Record) -> list[int]:
    """The class of every object of a labelled record, or of every panoptic segment, but no crowds.

    Of a video of classification its own.
    """
    if "label" in record:
        return [record["label"]]
    if "length" in record:
        return [*track_classes(record["annotations"]).values()]
    labels = record["segments_info" if "segments_info" in record else "annotations"]
    return [label["category_id"] for label in labels if not label.get("iscrowd", 0)]


def without_degenerate_boxes(records: list[Record], dataset_name: str) -> list[Record]:
    """Image records without the annotations whose box has no area inside the image.

    One warning tells their number and the first image. Other records are handed back as they are,
    and none is changed.

    Args:
        records: of images or videos.
        dataset_name: for messages.

    Raises:
        UserError: a box is missing or is not four numbers.
    """
    owners = [
        (i, annotation)
        for i, record in enumerate(records)
        if "length" not in record
        for annotation in record.get("annotations", ())
    ]
    if not owners:
        return records
    boxes = np.array([_xyxy(a, records[i], dataset_name) for i, a in owners])
    # Records need not state a size; then only the box itself can be judged.
    sizes = np.array([[r.get("width", np.inf), r.get("height", np.inf)] for r in records])
    image = np.array([i for i, _ in owners])
    high = np.minimum(boxes[:, 2:], sizes[image])
    sound = (high > np.maximum(boxes[:, :2], 0)).all(1)  # False for nan
    if sound.all():
        return records
    first = records[image[np.argmin(sound)]]
    logger.warning(
        "%s: %d of %d boxes have no area inside their image and are left out, the first in image %s",
        dataset_name,
        np.count_nonzero(~sound),
        len(sound),
        first["file_name"],
    )
    cleaned = list(records)
    for i in np.unique(image[~sound]).tolist():
        cleaned[i] = {**records[i], "annotations": []}
    for (i, annotation), kept in zip(owners, sound.tolist(), strict=True):
        if kept and cleaned[i] is not records[i]:
            cleaned[i]["annotations"].append(annotation)
    return cleaned


def _xyxy(annotation: dict[str, Any], record: Record, dataset_name: str) -> tuple[float, ...]:
    try:
        return xyxy_box(annotation)
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"dataset {dataset_name}, image {record['file_name']}: an annotation's bbox "
            f"{annotation.get('bbox')} is not four numbers, or its bbox_mode is none of "
            "detectron2's: mend the annotation file"
        ) from error
