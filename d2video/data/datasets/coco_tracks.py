"""Tracking data in COCO's JSON with track ids, the form that TrackFormer uses.

Besides COCO's keys ``images`` have ``frame_id`` (a number that grows through the video) and either
``video_id`` or ``first_frame_image_id`` (the same for all images of a video), and optionally
``seq_length``. ``annotations`` have ``track_id`` (or ``instance_id``, as in CocoVID, or ``track_id``
in their ``attributes``, as CVAT exports it) and optionally ``visibility``. All else is as in
:mod:`d2video.formats.coco`.
``videos`` with ``id`` and ``name`` may be there.
"""

import logging
import math
import os
from collections import defaultdict
from collections.abc import Mapping
from functools import partial
from typing import Any, TypeAlias, cast

import numpy as np
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.structures import BoxMode

from d2video.data.datasets.class_metadata import set_classes
from d2video.data.datasets.from_config import dataset_format
from d2video.data.frame_annotations import FrameAnnotations
from d2video.data.records import Annotation, TrackingRecord
from d2video.formats.coco import COCOInstances, Instance, check_coco_instances
from d2video.formats.faults import Doubt, EntryError, Report, Tally, refuse, reporting
from d2video.formats.rle import to_rle
from d2video.formats.text import as_json, is_id, json_entries, read_json
from d2video.utils.errors import UserError

logger = logging.getLogger(__name__)


# An image of the file, whose fields of tracks have been checked.
_Image: TypeAlias = Mapping[str, Any]


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
        report: takes what :func:`~d2video.formats.coco.check_coco_instances` finds, and the faults
            of videos and tracks: images of a video differ in size, share a frame, are not as many
            as ``seq_length``, or their video is not among ``videos``; an annotation names another video;
            an object has no track, or a track is twice in an image; some objects have masks and others
            have none. Tracks of several classes are a doubt.

    Returns:
        one dict a video as docs/architecture.md describes those of tracking data. ``sequence`` is
        the name in the file's ``videos``, else "video_1" and so on. ``annotations`` is a
        :class:`FrameAnnotations`, absent where the file has none. Crowds and objects with
        ``ignore`` are ``ignored`` in its place.

    Raises:
        UserError: the file is missing, no JSON or not in the format, or lists no images.
    """
    content = read_json(json_file)
    file = check_coco_instances(content, json_file, report, whole_bodies=True)
    contiguous_id = {category_id: k for k, category_id in enumerate(file.categories)}
    if dataset_name is not None:
        set_classes(dataset_name, [*file.categories.values()], contiguous_id, json_file)
    images: dict[int | str, _Image] = {}
    for image_id, fields in file.images.items():
        with reporting(report, json_file, "image", image_id):
            _check_image(cast(_Image, fields))
            images[image_id] = cast(_Image, fields)
    videos = _group(images, json_file, report)
    names = _names(content, [_video(frames[0]) for frames in videos], json_file, report)
    records: list[TrackingRecord] = [
        {
            "video_id": video_id,
            "sequence": name,
            "file_names": [os.path.join(image_root, image["file_name"]) for image in frames],
            "height": frames[0]["height"],
            "width": frames[0]["width"],
            "length": len(frames),
            "frame_numbers": range(1, len(frames) + 1),
        }
        for video_id, (name, frames) in enumerate(zip(names, videos, strict=True), 1)
    ]
    if file.instances is not None:
        found, ignored = _read_annotations(file, images, contiguous_id, report)
        for record, frames in zip(records, videos, strict=True):
            record["annotations"] = _columns([[*found[i["id"]].values()] for i in frames])
            regions = [ignored[image["id"]] for image in frames]
            if any(regions):
                record["ignored"] = _columns(regions)
    logger.info("Read %d videos from %s", len(records), json_file)
    return records


def _video(image: _Image) -> tuple[str, Any]:
    """The (key, value) that the images of a video share."""
    key = "video_id" if "video_id" in image else "first_frame_image_id"
    return key, image.get(key)


def _check_image(image: _Image) -> None:
    _, video = _video(image)
    length: Any = image.get("seq_length")
    if not is_id(image.get("frame_id")) or not (is_id(video) or isinstance(video, str)):
        raise EntryError(
            "it needs frame_id, a whole number that grows through the video, and video_id (or "
            "first_frame_image_id), the same for all images of the video; complete the file"
        )
    if length is not None and not is_id(length):
        raise EntryError(f"its seq_length, {as_json(length)}, must be a whole number; correct it")


def _group(images: dict[Any, _Image], path: str, report: Report) -> list[list[_Image]]:
    """The images of each video in order; videos in the order of their first images in the file."""
    groups: dict[tuple[str, Any], list[_Image]] = {}
    for image in images.values():
        groups.setdefault(_video(image), []).append(image)
    videos = []
    for (key, value), frames in groups.items():
        with reporting(report, path, f"images with {key}", value):
            frames.sort(key=lambda image: image["frame_id"])
            if len({image["frame_id"] for image in frames}) < len(frames):
                raise EntryError("two have the same frame_id; correct the file")
            if len({(image["height"], image["width"]) for image in frames}) > 1:
                raise EntryError("they differ in size; resize them or make several videos of them")
            length = frames[0].get("seq_length")
            if length not in (None, len(frames)):
                raise EntryError(
                    f"there are {len(frames)}, but their seq_length is {length}; make them agree"
                )
            videos.append(frames)
    return videos


def _names(
    content: dict[str, Any], videos: list[tuple[str, Any]], path: str, report: Report
) -> list[str]:
    """The name of each (key, value) that the images of a video share; ``videos`` may be missing."""
    given: dict[tuple[str, Any], str] = {}
    entries = json_entries(content, "videos", path, refuse) if content.get("videos") else ()
    for entry, fields in entries:
        with entry:
            video, name = fields.get("id"), fields.get("name")
            if not all(is_id(each) or isinstance(each, str) for each in (video, name)):
                raise EntryError("it needs id, as images have it in video_id, and name; correct it")
            if ("video_id", video) in given:
                raise EntryError("its id is there twice; give every video its own")
            given["video_id", video] = str(name)
    names = []
    for k, (key, value) in enumerate(videos, 1):
        with reporting(report, path, f"images with {key}", value):
            names.append(given.get((key, value), f"video_{k}"))
            if given and key == "video_id" and (key, value) not in given:
                raise EntryError("the file's 'videos' have no such id; correct the file")
    if len(set(names)) < len(names):
        raise UserError(f"{path}: 'videos' repeats a name; correct the file")
    tally = Tally(path, "videos")
    tally.used = len(videos)
    tally.leave_out("without images", len(given.keys() - {*videos}))
    tally.tell(report)
    return names


def _read_annotations(
    file: COCOInstances,
    images: Mapping[int | str, _Image],
    contiguous_id: Mapping[int, int],
    report: Report,
) -> tuple[dict[int | str, dict[int, Annotation]], dict[int | str, list[Annotation]]]:
    """Image id → track id → annotation, all with a mask or none; image id → what is to be ignored."""
    found: dict[int | str, dict[int, Annotation]] = {image_id: {} for image_id in images}
    ignored: dict[int | str, list[Annotation]] = {image_id: [] for image_id in images}
    masked: bool | None = None
    classes: dict[tuple[Any, int], set[int]] = defaultdict(set)
    for place, instance in enumerate(file.instances or ()):
        image_id = instance["image_id"]
        if image_id not in images:
            continue  # the image is at fault
        with reporting(report, file.source, "annotation", instance.get("id", f"[{place}]")):
            # A crowd need not have a track.
            _check_video(cast(Mapping[str, Any], instance), images[image_id])
            track_id = 0 if instance["iscrowd"] else _track_id(cast(Mapping[str, Any], instance))
            image = file.images[image_id]
            size = image["height"], image["width"]
            annotation = _annotation(instance, track_id, contiguous_id, size)
            if instance["iscrowd"]:
                ignored[image_id].append(annotation)
                continue
            if track_id in found[image_id]:
                raise EntryError(f"track {track_id} is twice in image {image_id}; correct the file")
            if masked not in (None, "segmentation" in annotation):
                raise EntryError(
                    "some annotations have a segmentation and others have none: complete the "
                    "file, or remove all"
                )
            masked = "segmentation" in annotation
            found[image_id][track_id] = annotation
            classes[_video(images[image_id]), track_id].add(instance["category_id"])
    mixed = [track_id for (_, track_id), each in classes.items() if len(each) > 1]
    if mixed:
        report(
            Doubt(
                file.source,
                f"{len(mixed)} of {len(classes)} tracks have several classes (the first is track "
                f"{mixed[0]}), and evaluation by class counts each as several tracks: give it one class",
            )
        )
    return found, ignored


def _check_video(fields: Mapping[str, Any], image: _Image) -> None:
    (key, of_image), video = _video(image), fields.get("video_id")
    if video is not None and key == "video_id" and video != of_image:
        raise EntryError(
            f"its video_id, {as_json(video)}, is not that of image {image['id']}, "
            f"{as_json(of_image)}; correct it"
        )


def _track_id(fields: Mapping[str, Any]) -> int:
    """The track of an annotation; CocoVID calls it ``instance_id``, CVAT has it in ``attributes``."""
    attributes = fields.get("attributes")
    given = [fields.get("track_id"), fields.get("instance_id")]
    given.append(attributes.get("track_id") if isinstance(attributes, dict) else None)
    track_id = next((each for each in given if each is not None), None)
    if track_id is None:
        raise EntryError("it has no track_id (nor instance_id, nor attributes.track_id); add it")
    if not is_id(track_id) or track_id < 0:
        raise EntryError(
            f"its track_id, {as_json(track_id)}, must be a whole number from 0 on; correct it"
        )
    other = next((each for each in given if each not in (None, track_id)), None)
    if other is not None:
        raise EntryError(
            f"its track ids (track_id, instance_id, attributes.track_id), {as_json(track_id)} and "
            f"{as_json(other)}, contradict each other; keep one"
        )
    return track_id


def _annotation(
    instance: Instance, track_id: int, contiguous_id: Mapping[int, int], size: tuple[int, int]
) -> Annotation:
    visibility = cast(Mapping[str, Any], instance).get("visibility", 1)
    if type(visibility) not in (int, float) or not math.isfinite(visibility):
        raise EntryError(f"its visibility, {as_json(visibility)}, is not a number; correct it")
    annotation: Annotation = {
        "id": track_id,
        "category_id": contiguous_id[instance["category_id"]],
        "bbox": instance["bbox"],
        "bbox_mode": BoxMode.XYWH_ABS,
        "visibility": visibility,
    }
    if "segmentation" in instance:
        annotation["segmentation"] = to_rle(instance["segmentation"], *size)
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
