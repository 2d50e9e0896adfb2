"""Labelled videos as images, one a frame, for models that look at single images."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from d2video.data.records import Annotation, ImageRecord, Record


def frames_as_images(records: Iterable[Record]) -> list[Record]:
    """A record an image for each frame of videos, in order; records of images stay as they are.

    ``image_id`` counts from 1 on, through all videos. What is ``ignored`` becomes a crowd.
    """
    images: list[Record] = []
    for record in records:
        frames = _frames(record, len(images) + 1) if "length" in record else [record]
        images.extend(frames)
    return images


def each_frame(mapper: Callable[[Any], Any], record: Mapping[str, Any]) -> list[Any]:
    """What a mapper of images makes of all frames of a video."""
    extra = {key: record[key] for key in record.keys() & {"batch_number"}}
    return [mapper({**image, **extra}) for image in frames_as_images([record])]


def _frames(record: Record, first_id: int) -> Iterator[ImageRecord]:
    labels, regions = record.get("annotations"), record.get("ignored")
    for t, name in enumerate(record["file_names"]):
        image: ImageRecord = {
            "file_name": name,
            "image_id": first_id + t,
            "height": record["height"],
            "width": record["width"],
        }
        if labels is not None:
            ignored: list[Annotation] = [] if regions is None else regions[t]
            crowds: list[Any] = [
                {**each, "iscrowd": 1} for each in ignored if each.get("scored", True)
            ]
            image["annotations"] = [*labels[t], *crowds]
        yield image
