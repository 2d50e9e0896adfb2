"""Annotation files in COCO's JSON with track ids, the form that TrackFormer uses.

Besides COCO's keys ``images`` have ``frame_id`` (a number that grows through the video) and either
``video_id`` or ``first_frame_image_id`` (the same for all images of a video), and, where told,
``seq_length``. ``annotations`` have ``track_id`` and, where told, ``ignore`` and ``visibility``.
``videos`` with ``id`` and ``name`` may be there.
"""

import math
from dataclasses import dataclass
from typing import Any

from d2video.formats.faults import Entry, EntryError, Report, refuse
from d2video.formats.paths import leaves_folder
from d2video.formats.polygons import find_polygon_fault
from d2video.formats.rle import to_rle
from d2video.formats.rle_codec import find_rle_fault
from d2video.formats.text import ids_without, json_entries, read_json
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
    def read(cls, path: str, report: Report = refuse) -> "COCOTracksFile":
        """Read a file, local or anything that detectron2's PathManager reads.

        Args:
            report: takes the faults of entries: something is missing, or an id is repeated or
                refers to nothing; images of a video differ in size, share a frame or are not as
                many as ``seq_length``; objects have no track, no area or a damaged mask, or a
                track is twice in an image; some have masks and others have none.

        Raises:
            UserError: the file is missing, no JSON or not in the format, or lists no images.
        """
        content = read_json(path)
        if not isinstance(content, dict):
            raise UserError(
                f"{path} is a {type(content).__name__}, not COCO's JSON: give another file"
            )
        categories = _read_categories(content, path)
        images: dict[Any, ImageEntry] = {}
        for entry, fields in json_entries(content, "images", path, report):
            with entry:
                image = _read_image(fields)
                if image.image_id in images:
                    raise EntryError("it is there twice; give every image its own id")
                images[image.image_id] = image
        if not content["images"]:
            raise UserError(f"{path} lists no images; fetch or write it again")
        videos = _group(images, path, report)
        names = _names(content, [frames[0].video for frames in videos], path)
        if content.get("annotations") is None:
            return cls(categories, videos, names, None)
        faulty = ids_without(content["images"], images)
        boxes: dict[tuple[Any, int], BoxEntry] = {}
        for entry, fields in json_entries(content, "annotations", path, report):
            if fields.get("iscrowd") or fields.get("ignore") or fields.get("image_id") in faulty:
                continue
            with entry:
                box = _read_box(fields, images, categories)
                if (box.image_id, box.track_id) in boxes:
                    raise EntryError(
                        f"track {box.track_id} is twice in image {box.image_id}; correct the file"
                    )
                if boxes and (box.mask is None) != (next(iter(boxes.values())).mask is None):
                    raise EntryError(
                        "some annotations have a segmentation and others have none: complete the "
                        "file, or remove all"
                    )
                boxes[box.image_id, box.track_id] = box
        return cls(categories, videos, names, [*boxes.values()])


def _read_categories(content: dict[str, Any], path: str) -> dict[int, str]:
    try:
        pairs = [(int(c["id"]), str(c["name"])) for c in content["categories"]]
    except _NOT_AS_EXPECTED:
        pairs = []
    names = dict(sorted(pairs))
    if not names or len(names) < len(pairs):
        raise UserError(
            f"{path}: 'categories' must be a list of {{id, name}} with each id once; correct the file"
        )
    return names


def _read_image(fields: dict[str, Any]) -> ImageEntry:
    key = "video_id" if "video_id" in fields else "first_frame_image_id"
    try:
        height, width, frame_id = (int(fields[k]) for k in ("height", "width", "frame_id"))
        name, length, video = str(fields["file_name"]), fields.get("seq_length"), (key, fields[key])
        hash((fields["id"], video))
    except _NOT_AS_EXPECTED:
        raise EntryError(
            "it needs id, file_name, height, width, frame_id and video_id (or "
            "first_frame_image_id); correct the file"
        ) from None
    fault = size_fault(height, width)
    if fault:
        raise EntryError(f"{fault}; correct it")
    if leaves_folder(name):
        raise EntryError(f"{name} lies outside the image root; correct the file")
    return ImageEntry(fields["id"], name, height, width, frame_id, video, length)


def _group(images: dict[Any, ImageEntry], path: str, report: Report) -> list[list[ImageEntry]]:
    groups: dict[tuple[str, Any], list[ImageEntry]] = {}
    for image in images.values():
        groups.setdefault(image.video, []).append(image)
    videos = []
    for (key, value), frames in groups.items():
        with Entry(report, path, f"images with {key}", value):
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
    except _NOT_AS_EXPECTED:
        raise UserError(
            f"{path}: 'videos' must be a list of {{id, name}}, or not be there; correct the file"
        ) from None
    names = [given.get(video, f"video_{k}") for k, video in enumerate(videos, 1)]
    if len(set(names)) < len(names):
        raise UserError(f"{path}: 'videos' repeats a name; correct the file")
    return names


def _read_box(
    fields: dict[str, Any], images: dict[Any, ImageEntry], categories: dict[int, str]
) -> BoxEntry:
    try:
        image, category_id = images[fields["image_id"]], int(fields["category_id"])
        track_id, visibility = int(fields["track_id"]), float(fields.get("visibility", 1))
        x, y, width, height = (float(number) for number in fields["bbox"])
    except KeyError as error:
        missing = error.args[0] in ("image_id", "category_id", "track_id", "bbox")
        fault = f"it has no {error.args[0]}" if missing else f"there is no image {error.args[0]}"
        raise EntryError(f"{fault}; correct the file") from None
    except _NOT_AS_EXPECTED as error:
        raise EntryError(
            f"track_id and category_id must be whole numbers and bbox four numbers ({error}); "
            "correct the file"
        ) from None
    if category_id not in categories:
        raise EntryError(f"category {category_id} is not in the file; correct it")
    if not all(map(math.isfinite, (x, y, width, height))) or min(width, height) <= 0:
        raise EntryError(f"its bbox {fields['bbox']} has no area; correct or remove it")
    if track_id < 0:
        raise EntryError(f"track_id {track_id} is negative; correct it")
    mask = _read_mask(fields.get("segmentation"), image)
    return BoxEntry(image.image_id, category_id, track_id, (x, y, width, height), visibility, mask)


def _read_mask(segmentation: Any, image: ImageEntry) -> dict[str, Any] | None:
    if not segmentation:  # an empty list is how some exporters write null
        return None
    size = image.height, image.width
    if isinstance(segmentation, list):
        fault = find_polygon_fault(segmentation)
    else:
        fault = find_rle_fault(segmentation, *size)
    if fault is not None:
        raise EntryError(f"segmentation: {fault}; correct the file")
    return to_rle(segmentation, *size)
