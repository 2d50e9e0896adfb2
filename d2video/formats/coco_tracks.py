"""Annotation files in COCO's JSON with track ids, the form that TrackFormer uses.

Besides COCO's keys ``images`` have ``frame_id`` (a number that grows through the video) and either
``video_id`` or ``first_frame_image_id`` (the same for all images of a video), and, where told,
``seq_length``. ``annotations`` have ``track_id`` and, where told, ``ignore`` and ``visibility``.
``videos`` with ``id`` and ``name`` may be there.
"""

import math
from dataclasses import dataclass
from typing import Any

from detectron2.utils.file_io import PathManager

from d2video.formats.json_text import parse_json
from d2video.formats.paths import leaves_folder
from d2video.formats.polygons import find_polygon_fault
from d2video.formats.rle import to_rle
from d2video.formats.rle_codec import find_rle_fault
from d2video.utils.errors import UserError
from d2video.utils.limits import size_fault

# What reading an entry of another kind raises.
_NOT_AS_EXPECTED = (AttributeError, IndexError, KeyError, OverflowError, TypeError, ValueError)


@dataclass(frozen=True)
class ImageEntry:
    """An image; its size in pixels, and (key, value) that the images of its video share."""

    image_id: Any
    file_name: str
    height: int
    width: int
    frame_id: int
    video: tuple[str, Any]
    video_length: int | None


@dataclass(frozen=True)
class BoxEntry:
    """An object in an image.

    Attributes:
        image_id, category_id: of entries of the file.
        track_id: at least 0, once in an image.
        box: left, top, width, height in pixels, with area; may overflow the image.
        visibility: 1 where the file tells none.
        mask: compressed RLE, or None.
    """

    image_id: Any
    category_id: int
    track_id: int
    box: tuple[float, ...]
    visibility: float
    mask: dict[str, Any] | None


@dataclass(frozen=True)
class COCOTracksFile:
    """The checked content of a file.

    Attributes:
        categories: id → name, ids ascending.
        videos: the images of each in order; videos in the order of their first images in the file.
        names: of the videos, all different.
        boxes: in the order of the file, without crowds and objects to be ignored; all have a mask
            or none has. None where there are no labels.
    """

    categories: dict[int, str]
    videos: list[list[ImageEntry]]
    names: list[str]
    boxes: list[BoxEntry] | None

    @classmethod
    def read(cls, path: str) -> "COCOTracksFile":
        """Read a file, local or anything that detectron2's PathManager reads.

        Raises:
            UserError: the file is missing, no JSON or not in the format; an id is repeated or
                refers to nothing; images of a video differ in size, share a frame or are not as
                many as ``seq_length``; objects have no track, no area or a damaged mask, or a
                track is twice in an image; some have masks and others have none.
        """
        content = _read_json(path)
        categories = _read_categories(content, path)
        images: dict[Any, ImageEntry] = {}
        for fields in _entries(content, "images", path):
            image = _read_image(fields, path)
            if image.image_id in images:
                raise UserError(f"{path}: image {image.image_id} is there twice; mend the file")
            images[image.image_id] = image
        if not images:
            raise UserError(f"{path} lists no images; fetch or write it again")
        videos = _group(images, path)
        names = _names(content, [frames[0].video for frames in videos], path)
        if content.get("annotations") is None:
            return cls(categories, videos, names, None)
        entries = _entries(content, "annotations", path)
        kept = [a for a in entries if not a.get("iscrowd") and not a.get("ignore")]
        boxes = [_read_box(fields, images, categories, path) for fields in kept]
        _check_boxes(boxes, path)
        return cls(categories, videos, names, boxes)


def _read_json(path: str) -> dict[str, Any]:
    if not PathManager.isfile(path):
        raise UserError(
            f"annotation file {path} does not exist: set DETECTRON2_DATASETS or mend the path"
        )
    try:
        with PathManager.open(path, "r", encoding="utf-8") as file:
            content = parse_json(file.read())
    except ValueError as error:
        raise UserError(
            f"annotation file {path} is not JSON ({error}): fetch or write it again"
        ) from None
    if not isinstance(content, dict):
        raise UserError(f"{path} is a {type(content).__name__}, not COCO's JSON: give another file")
    return content


def _entries(content: dict[str, Any], key: str, path: str) -> list[dict[str, Any]]:
    entries = content.get(key)
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise UserError(f"{path}: '{key}' must be a list of objects; mend the file")
    return entries


def _read_categories(content: dict[str, Any], path: str) -> dict[int, str]:
    try:
        pairs = [(int(c["id"]), str(c["name"])) for c in content["categories"]]
    except _NOT_AS_EXPECTED:
        pairs = []
    names = dict(sorted(pairs))
    if not names or len(names) < len(pairs):
        raise UserError(
            f"{path}: 'categories' must be a list of {{id, name}} with each id once; mend the file"
        )
    return names


def _read_image(fields: dict[str, Any], path: str) -> ImageEntry:
    where = f"{path}: image {fields.get('id')}"
    key = "video_id" if "video_id" in fields else "first_frame_image_id"
    try:
        height, width, frame_id = (int(fields[k]) for k in ("height", "width", "frame_id"))
        name, length, video = str(fields["file_name"]), fields.get("seq_length"), (key, fields[key])
        hash((fields["id"], video))
    except _NOT_AS_EXPECTED:
        raise UserError(
            f"{where} needs id, file_name, height, width, frame_id and video_id (or "
            "first_frame_image_id); mend the file"
        ) from None
    fault = size_fault(height, width)
    if fault:
        raise UserError(f"{where}: {fault}; mend it")
    if leaves_folder(name):
        raise UserError(f"{where}: {name} lies outside the image root; mend the file")
    return ImageEntry(fields["id"], name, height, width, frame_id, video, length)


def _group(images: dict[Any, ImageEntry], path: str) -> list[list[ImageEntry]]:
    groups: dict[tuple[str, Any], list[ImageEntry]] = {}
    for image in images.values():
        groups.setdefault(image.video, []).append(image)
    for (key, value), frames in groups.items():
        where = f"{path}: the images with {key} {value}"
        frames.sort(key=lambda image: image.frame_id)
        if len({image.frame_id for image in frames}) < len(frames):
            raise UserError(f"{where} have a frame_id twice; mend the file")
        if len({(image.height, image.width) for image in frames}) > 1:
            raise UserError(f"{where} differ in size; resize them or make several videos of them")
        if frames[0].video_length not in (None, len(frames)):
            raise UserError(
                f"{where} are {len(frames)}, but their seq_length is {frames[0].video_length}; "
                "make them agree"
            )
    return [*groups.values()]


def _names(content: dict[str, Any], videos: list[tuple[str, Any]], path: str) -> list[str]:
    try:
        given = {("video_id", v["id"]): str(v["name"]) for v in content.get("videos") or ()}
    except _NOT_AS_EXPECTED:
        raise UserError(
            f"{path}: 'videos' must be a list of {{id, name}}, or not be there; mend the file"
        ) from None
    names = [given.get(video, f"video_{k}") for k, video in enumerate(videos, 1)]
    if len(set(names)) < len(names):
        raise UserError(f"{path}: 'videos' repeats a name; mend the file")
    return names


def _read_box(
    fields: dict[str, Any], images: dict[Any, ImageEntry], categories: dict[int, str], path: str
) -> BoxEntry:
    where = f"{path}: annotation {fields.get('id')}"
    try:
        image, category_id = images[fields["image_id"]], int(fields["category_id"])
        track_id, visibility = int(fields["track_id"]), float(fields.get("visibility", 1))
        x, y, width, height = (float(number) for number in fields["bbox"])
        known = category_id in categories
    except KeyError as error:
        missing = error.args[0] in ("image_id", "category_id", "track_id", "bbox")
        fault = f"it has no {error.args[0]}" if missing else f"there is no image {error.args[0]}"
        raise UserError(f"{where}: {fault}; mend the file") from None
    except _NOT_AS_EXPECTED as error:
        raise UserError(
            f"{where}: track_id and category_id must be whole numbers and bbox four numbers "
            f"({error}); mend the file"
        ) from None
    if not known:
        raise UserError(f"{where}: category {category_id} is not in the file; mend it")
    if not all(map(math.isfinite, (x, y, width, height))) or min(width, height) <= 0:
        raise UserError(f"{where}: its bbox {fields['bbox']} has no area; mend or remove it")
    if track_id < 0:
        raise UserError(f"{where}: track_id {track_id} is negative; mend it")
    mask = _read_mask(fields.get("segmentation"), image, where)
    return BoxEntry(image.image_id, category_id, track_id, (x, y, width, height), visibility, mask)


def _read_mask(segmentation: Any, image: ImageEntry, where: str) -> dict[str, Any] | None:
    if not segmentation:  # an empty list is how some exporters write null
        return None
    fault = _mask_fault(segmentation, image.height, image.width)
    if fault is not None:
        raise UserError(f"{where}: segmentation: {fault}; mend the file")
    return to_rle(segmentation, image.height, image.width)


def _mask_fault(segmentation: Any, height: int, width: int) -> str | None:
    if isinstance(segmentation, list):
        return find_polygon_fault(segmentation)
    return find_rle_fault(segmentation, height, width)


def _check_boxes(boxes: list[BoxEntry], path: str) -> None:
    seen = set()
    for box in boxes:
        if (box.image_id, box.track_id) in seen:
            raise UserError(
                f"{path}: track {box.track_id} is twice in image {box.image_id}; mend the file"
            )
        seen.add((box.image_id, box.track_id))
        if (box.mask is None) != (boxes[0].mask is None):
            raise UserError(
                f"{path}: some annotations have a segmentation and others have none, as that of "
                f"track {box.track_id} in image {box.image_id}: complete the file, or remove all"
            )
