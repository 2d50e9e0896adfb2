"""Tracking data in COCO's JSON with track ids, the form that TrackFormer uses.

Besides COCO's keys ``images`` have ``frame_id`` (a number that grows through the video) and either
``video_id`` or ``first_frame_image_id`` (the same for all images of a video), and optionally
``seq_length``. ``annotations`` have ``track_id`` and optionally ``ignore`` and ``visibility``.
``videos`` with ``id`` and ``name`` may be there.
"""

import logging
import math
import os
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.structures import BoxMode

from d2video.data.datasets.from_config import dataset_format
from d2video.data.frame_annotations import FrameAnnotations
from d2video.data.records import Annotation, TrackingRecord
from d2video.formats.faults import EntryError, Report, Tally, refuse, reporting
from d2video.formats.paths import leaves_folder
from d2video.formats.rle import to_rle
from d2video.formats.segmentation import find_segmentation_fault, without_short_polygons
from d2video.formats.text import (
    NOT_AS_EXPECTED,
    ids_without,
    json_entries,
    read_categories,
    read_json,
)
from d2video.utils.errors import UserError
from d2video.utils.limits import size_fault

logger = logging.getLogger(__name__)


class _Image(NamedTuple):
    """An image; ``video`` is the (key, value) that the images of its video share."""

    image_id: Any
    file_name: str
    height: int
    width: int
    frame_id: int
    video: tuple[str, Any]
    video_length: int | None


@dataset_format("coco_tracks")
def register_coco_tracks(
    name: str, json_file: str, image_root: str, *, masks: bool = False
) -> None:
    """Register videos in COCO's JSON with track ids under ``name``; the file is read on first use.

    Tracks are scored by class, boxes by the rules of BDD100K: crowds and objects with ``ignore`` are
    regions to ignore. With ``masks`` they are scored by the rules of MOTS20; each object needs one.

    The metadata get ``evaluator_type`` ("mot", or "mots" with ``masks``) and ``benchmark``.

    ``image_root`` is the folder that the file's ``file_name`` are relative to.
    """
    DatasetCatalog.register(name, partial(load_coco_tracks, json_file, image_root, name))
    MetadataCatalog.get(name).set(
        json_file=json_file,
        image_root=image_root,
        evaluator_type="mots" if masks else "mot",
        benchmark="MOTS20" if masks else "MOT17",
    )


def load_coco_tracks(
    json_file: str,
    image_root: str,
    dataset_name: str | None = None,
    report: Report = refuse,
) -> list[TrackingRecord]:
    """Read one file; no image is opened.

    Boxes stay as they are, with corners from 0 on as in COCO. (The files that the official
    TrackFormer makes of MOT17 hold corners from 1 on: read MOT17 with
    :func:`~d2video.data.datasets.mot.register_mot` instead.)

    Args:
        json_file: path, local or anything that detectron2's PathManager reads.
        image_root: folder that ``file_name`` is relative to.
        dataset_name: if given, ``thing_classes`` and ``thing_dataset_id_to_contiguous_id`` of this
            ``MetadataCatalog`` entry are set from the file.
        report: takes the faults of entries: something is missing, or an id is repeated or refers to
            nothing; images of a video differ in size, share a frame or are not as many as
            ``seq_length``; objects have no track, no area or a damaged mask, or a track is twice in
            an image; some have masks and others have none.

    Returns:
        one dict a video as docs/architecture.md describes those of tracking data. ``sequence`` is
        the name in the file's ``videos``, else "video_1" and so on. ``annotations`` is a
        :class:`FrameAnnotations`, absent where the file has none. Crowds and objects with
        ``ignore`` are ``ignored`` in its place.

    Raises:
        UserError: the file is missing, no JSON or not in the format, or lists no images.
    """
    content = read_json(json_file)
    if not isinstance(content, dict):
        raise UserError(
            f"{json_file} is a {type(content).__name__}, not COCO's JSON: give another file"
        )
    categories = read_categories(content, json_file)
    contiguous_id = {category_id: k for k, category_id in enumerate(categories)}
    if dataset_name is not None:
        MetadataCatalog.get(dataset_name).set(
            thing_classes=[*categories.values()],
            thing_dataset_id_to_contiguous_id=contiguous_id,
        )
    images: dict[Any, _Image] = {}
    for entry, fields in json_entries(content, "images", json_file, report):
        with entry:
            image = _read_image(fields)
            if image.image_id in images:
                raise EntryError("it is there twice; give every image its own id")
            images[image.image_id] = image
    if not content["images"]:
        raise UserError(f"{json_file} lists no images; fetch or write it again")
    videos = _group(images, json_file, report)
    names = _names(content, [frames[0].video for frames in videos], json_file)
    records: list[TrackingRecord] = [
        {
            "video_id": video_id,
            "sequence": name,
            "file_names": [os.path.join(image_root, image.file_name) for image in frames],
            "height": frames[0].height,
            "width": frames[0].width,
            "length": len(frames),
            "frame_numbers": range(1, len(frames) + 1),
        }
        for video_id, (name, frames) in enumerate(zip(names, videos, strict=True), 1)
    ]
    if content.get("annotations") is not None:
        found, ignored = _read_annotations(content, images, contiguous_id, json_file, report)
        for record, frames in zip(records, videos, strict=True):
            record["annotations"] = _columns([[*found[i.image_id].values()] for i in frames])
            regions = [ignored[image.image_id] for image in frames]
            if any(regions):
                record["ignored"] = _columns(regions)
    logger.info("Read %d videos from %s", len(records), json_file)
    return records


def _read_image(fields: dict[str, Any]) -> _Image:
    key = "video_id" if "video_id" in fields else "first_frame_image_id"
    try:
        height, width, frame_id = (int(fields[k]) for k in ("height", "width", "frame_id"))
        name, length, video = str(fields["file_name"]), fields.get("seq_length"), (key, fields[key])
        hash((fields["id"], video))
    except NOT_AS_EXPECTED:
        raise EntryError(
            "it needs id, file_name, height, width, frame_id and video_id (or "
            "first_frame_image_id); correct the file"
        ) from None
    fault = size_fault(height, width)
    if fault:
        raise EntryError(f"{fault}; correct it")
    if leaves_folder(name):
        raise EntryError(f"{name} lies outside the image root; correct the file")
    return _Image(fields["id"], name, height, width, frame_id, video, length)


def _group(images: dict[Any, _Image], path: str, report: Report) -> list[list[_Image]]:
    """The images of each video in order; videos in the order of their first images in the file."""
    groups: dict[tuple[str, Any], list[_Image]] = {}
    for image in images.values():
        groups.setdefault(image.video, []).append(image)
    videos = []
    for (key, value), frames in groups.items():
        with reporting(report, path, f"images with {key}", value):
            frames.sort(key=lambda image: image.frame_id)
            if len({image.frame_id for image in frames}) < len(frames):
                raise EntryError("two have the same frame_id; correct the file")
            if len({(image.height, image.width) for image in frames}) > 1:
                raise EntryError("they differ in size; resize them or make several videos of them")
            if frames[0].video_length not in (None, len(frames)):
                raise EntryError(
                    f"there are {len(frames)}, but their seq_length is {frames[0].video_length}; "
                    "make them agree"
                )
            videos.append(frames)
    return videos


def _names(content: dict[str, Any], videos: list[tuple[str, Any]], path: str) -> list[str]:
    try:
        given = {("video_id", v["id"]): str(v["name"]) for v in content.get("videos") or ()}
    except NOT_AS_EXPECTED:
        raise UserError(
            f"{path}: 'videos' must be a list of {{id, name}}, or not be there; correct the file"
        ) from None
    names = [given.get(video, f"video_{k}") for k, video in enumerate(videos, 1)]
    if len(set(names)) < len(names):
        raise UserError(f"{path}: 'videos' repeats a name; correct the file")
    return names


def _read_annotations(
    content: dict[str, Any],
    images: dict[Any, _Image],
    contiguous_id: dict[int, int],
    path: str,
    report: Report,
) -> tuple[dict[Any, dict[int, Annotation]], dict[Any, list[Annotation]]]:
    """Image id → track id → annotation, all with a mask or none; image id → what is to be ignored."""
    found: dict[Any, dict[int, Annotation]] = {image_id: {} for image_id in images}
    ignored: dict[Any, list[Annotation]] = {image_id: [] for image_id in images}
    masked: bool | None = None
    polygons = Tally(path, "polygons")
    faulty = ids_without(content["images"], images)
    for entry, fields in json_entries(content, "annotations", path, report):
        if fields.get("image_id") in faulty:
            continue
        with entry:
            if fields.get("iscrowd") or fields.get("ignore"):
                region = {**fields, "track_id": 0}  # which a crowd need not have
                annotation = _read_annotation(region, images, contiguous_id, polygons)
                ignored[fields["image_id"]].append(annotation)
                continue
            annotation = _read_annotation(fields, images, contiguous_id, polygons)
            track_id, image_id = annotation["id"], fields["image_id"]
            if track_id in found[image_id]:
                raise EntryError(f"track {track_id} is twice in image {image_id}; correct the file")
            if masked not in (None, "segmentation" in annotation):
                raise EntryError(
                    "some annotations have a segmentation and others have none: complete the "
                    "file, or remove all"
                )
            masked = "segmentation" in annotation
            found[image_id][track_id] = annotation
    polygons.tell(report)
    return found, ignored


def _read_annotation(
    fields: dict[str, Any],
    images: dict[Any, _Image],
    contiguous_id: dict[int, int],
    polygons: Tally,
) -> Annotation:
    try:
        image, category_id = images[fields["image_id"]], int(fields["category_id"])
        track_id, visibility = int(fields["track_id"]), float(fields.get("visibility", 1))
        box = [float(number) for number in fields["bbox"]]
        _, _, width, height = box
    except KeyError as error:
        missing = error.args[0] in ("image_id", "category_id", "track_id", "bbox")
        fault = f"it has no {error.args[0]}" if missing else f"there is no image {error.args[0]}"
        raise EntryError(f"{fault}; correct the file") from None
    except NOT_AS_EXPECTED as error:
        raise EntryError(
            f"track_id and category_id must be whole numbers and bbox four numbers ({error}); "
            "correct the file"
        ) from None
    if category_id not in contiguous_id:
        raise EntryError(f"category {category_id} is not in the file; correct it")
    if not all(map(math.isfinite, box)) or min(width, height) <= 0:
        raise EntryError(f"its bbox {fields['bbox']} has no area; correct or remove it")
    if track_id < 0:
        raise EntryError(f"track_id {track_id} is negative; correct it")
    annotation: Annotation = {
        "id": track_id,
        "category_id": contiguous_id[category_id],
        "bbox": box,
        "bbox_mode": BoxMode.XYWH_ABS,
        "visibility": visibility,
    }
    segmentation, size = fields.get("segmentation"), (image.height, image.width)
    mask_fault = find_segmentation_fault(segmentation, *size)
    if mask_fault is not None:
        raise EntryError(f"segmentation: {mask_fault}; correct the file")
    segmentation = without_short_polygons(segmentation, polygons)
    if segmentation is not None:
        annotation["segmentation"] = to_rle(segmentation, *size)
    return annotation


def _columns(frames: list[list[Annotation]]) -> FrameAnnotations:
    """The annotations of a video's frames."""
    frame = np.repeat(np.arange(len(frames)), [len(each) for each in frames])
    annotations: list[Any] = [a for each in frames for a in each]
    columns = {
        "id": np.array([a["id"] for a in annotations], dtype=np.int64),
        "category_id": np.array([a["category_id"] for a in annotations], dtype=np.int64),
        "bbox": np.array([a["bbox"] for a in annotations]).reshape(-1, 4),
        "visibility": np.array([a["visibility"] for a in annotations]),
    }
    if any("segmentation" in a for a in annotations):
        columns["segmentation"] = np.empty(len(annotations), dtype=object)
        columns["segmentation"][:] = [a.get("segmentation") for a in annotations]
    return FrameAnnotations(len(frames), frame, columns)
