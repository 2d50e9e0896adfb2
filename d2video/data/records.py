"""The records of datasets, as types, and what the loaders need to know of one.

``DatasetCatalog.get(name)`` is a list of records of one kind. Records of classification and
restoration are one sample each; a record with ``length`` is a video of so many frames.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypedDict

import numpy as np
from detectron2.structures import BoxMode
from typing_extensions import NotRequired

from d2video.formats.faults import Tally, refuse
from d2video.utils.errors import UserError

# Of any kind, where code serves several.
Record = Mapping[str, Any]


class Annotation(TypedDict):
    """An object in an image or in a frame.

    Keys:
        id: of its track in a video.
        category_id: contiguous, from 0.
        iscrowd: 1 for a group, which is not trained on.
        bbox: four numbers in pixels, in the form that ``bbox_mode`` names.
        segmentation: polygons, or RLE of the image's size.
        keypoints: x, y, visibility of each point.
        visibility: 0 to 1, in tracking data.
        scored: False where a benchmark counts neither the object nor what is found on it, by overlap.
    """

    id: NotRequired[int]
    category_id: int
    iscrowd: NotRequired[int]
    bbox: Sequence[float]
    bbox_mode: BoxMode
    segmentation: NotRequired[Any]
    keypoints: NotRequired[Sequence[float]]
    visibility: NotRequired[float]
    scored: NotRequired[bool]


class VideoRecord(TypedDict):
    """A video of L frames; without labels it has no ``annotations``.

    Keys:
        video_id: of the video in its dataset.
        file_names: L image files.
        height, width: of the frames, in pixels.
        length: L.
        annotations: L lists of the objects present in a frame.
        key_frame: the frame that a training clip is sampled around, set by the loader.
        batch_number: the training batch that the sample is for, set by the loader.
    """

    video_id: int
    file_names: list[str]
    height: int
    width: int
    length: int
    annotations: NotRequired[Sequence[list[Annotation]]]
    key_frame: NotRequired[int]
    batch_number: NotRequired[int]


class TrackingRecord(VideoRecord):
    """A video of tracking data. Boxes and detections may reach beyond the image.

    Keys:
        sequence: name of the sequence.
        frame_numbers: L numbers of the frames in the sequence's files, ascending.
        frame_rate: in frames a second, if the labels say so.
        public_detections: L float32 arrays (n,5), x0, y0, x1, y1 in pixels from 0, score.
        ignored: crowds and the like, as ``annotations``: tracks of the class inside them are not scored. One
            whose ``scored`` is False is not a region but an object of a similar class.
    """

    sequence: str
    frame_numbers: Sequence[int]
    frame_rate: NotRequired[float]
    public_detections: NotRequired[list[np.ndarray]]
    ignored: NotRequired[Sequence[list[Annotation]]]


class Segment(TypedDict):
    """A panoptic segment: its id in the label image; its class, things before stuff, from 0."""

    id: int
    category_id: int
    isthing: bool
    iscrowd: NotRequired[int]


class ImageRecord(TypedDict):
    """An image, detectron2's standard; without labels it has neither of the two kinds.

    Keys:
        file_name: the image file.
        image_id: of the image in its dataset.
        height, width: of the upright image in pixels, where known.
        annotations: its objects.
        pan_seg_file_name: label image (PNG, id = R + 256 G + 256² B, 0 = void), panoptic.
        segments_info: the segments of the label image.
    """

    file_name: str
    image_id: int | str
    height: NotRequired[int]
    width: NotRequired[int]
    annotations: NotRequired[list[Annotation]]
    pan_seg_file_name: NotRequired[str]
    segments_info: NotRequired[list[Segment]]


class ClassificationRecord(TypedDict):
    """A video file with one class: ``video_id`` from 1, ``label`` from 0 where it is known."""

    file_name: str
    video_id: int
    label: NotRequired[int]


class RestorationRecord(TypedDict):
    """A clean image; ``task`` if the set is for one, and of a pair the degraded image."""

    file_name: str
    image_id: int
    task: NotRequired[str]
    degraded_file_name: NotRequired[str]


def frames_of(*records: Record) -> Iterator[str]:
    """The names of all images or frames."""
    for record in records:
        yield from record.get("file_names") or [record["file_name"]]


def num_frames(record: Record) -> int:
    """Frames of a video; 1 for an image, and for a video that is a sample as a whole."""
    return record.get("length", 1)


def is_labelled(record: Record) -> bool:
    """Whether there are labels, be it none for this image or video."""
    return "annotations" in record or "segments_info" in record or "label" in record


def object_classes(record: Record) -> list[int]:
    """The class of every object of a labelled record, or of every panoptic segment, but no crowds.

    A video of classification has one.
    """
    if "label" in record:
        return [record["label"]]
    if "length" in record:
        return [*track_classes(record["annotations"]).values()]
    labels = record["segments_info" if "segments_info" in record else "annotations"]
    return [label["category_id"] for label in labels if not label.get("iscrowd", 0)]


def track_classes(annotations: Sequence[Sequence[Annotation]]) -> dict[int, int]:
    """{track id: class} of all tracks that some frame shows, ascending by id; crowds left out."""
    found = {
        a["id"]: a["category_id"] for frame in annotations for a in frame if not a.get("iscrowd")
    }
    return dict(sorted(found.items()))


def xyxy_box(annotation: Annotation) -> tuple[float, ...]:
    """The box of an annotation as XYXY, in pixels.

    Raises:
        KeyError, TypeError, ValueError: it has no ``bbox`` of four numbers, or no ``bbox_mode``.
    """
    x0, y0, x1, y1 = map(float, annotation["bbox"])
    mode = BoxMode(annotation["bbox_mode"])
    if mode == BoxMode.XYWH_ABS:  # the usual one; detectron2's conversion takes 20 times as long
        return x0, y0, x0 + x1, y0 + y1
    return tuple(BoxMode.convert([x0, y0, x1, y1], mode, BoxMode.XYXY_ABS))


def has_area(annotation: Annotation, height: float, width: float) -> bool:
    """Whether a part of the box with an area is inside the image of this size, in pixels.

    Raises:
        KeyError, TypeError, ValueError: as :func:`xyxy_box`.
    """
    x0, y0, x1, y1 = xyxy_box(annotation)
    # False for NaN.
    return min(x1, width) > max(x0, 0) and min(y1, height) > max(y0, 0)


def without_degenerate_boxes(records: Sequence[Record], dataset_name: str) -> list[Record]:
    """Image records without the annotations whose box has no area inside the image.

    They are counted by reason. Records of videos are handed back as they are, and no record is
    changed.

    Raises:
        UserError: a box is missing or is not four numbers.
    """
    cleaned: list[Record] = []
    tally = Tally(f"dataset {dataset_name}", "boxes")
    for record in records:
        annotations = () if "length" in record else record.get("annotations", ())
        sound = [a for a in annotations if _is_in_image(a, record, dataset_name)]
        tally.used += len(sound)
        if len(sound) < len(annotations):
            tally.leave_out("without area inside the image", len(annotations) - len(sound))
            record = {**record, "annotations": sound}
        cleaned.append(record)
    tally.tell(refuse)
    return cleaned


def _is_in_image(annotation: Annotation, record: Record, dataset_name: str) -> bool:
    try:
        # A record need not state a size; then only the box itself can be judged.
        return has_area(annotation, record.get("height", np.inf), record.get("width", np.inf))
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"dataset {dataset_name}, image {record['file_name']}: an annotation's bbox "
            f"{annotation.get('bbox')} is not four numbers, or its bbox_mode is none of "
            "detectron2's: correct the annotation file"
        ) from error
