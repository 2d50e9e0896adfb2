"""Annotation files in COCO's JSON of images, read under one set of rules.

Training, evaluation and d2video check read the files here, and those with tracks
(data/datasets/coco_tracks.py), too. The rules are in docs/formats/images.md.
"""

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from os.path import normpath
from typing import Any, TypedDict, cast

from d2video.formats.coco_objects import Instance, read_objects
from d2video.formats.faults import Doubt, EntryError, Report, Tally, refuse
from d2video.formats.geometry.boxes import is_box, is_number
from d2video.formats.paths import leaves_folder, portable
from d2video.formats.roboflow import root_category
from d2video.formats.text import (
    as_json,
    check_size,
    is_id,
    json_entries,
    json_kind,
    read_categories,
    read_json,
)
from d2video.utils.collection import paused_collection
from d2video.utils.errors import UserError

# What TAO and LVIS say of classes whose objects are not all labelled.
_CLASS_LISTS = ("neg_category_ids", "not_exhaustive_category_ids")


class Image(TypedDict):
    """An image; further fields are kept as in the file.

    Keys:
        id: a text in all images of a file, or a number in all.
        file_name: relative to the folder of the images.
        height, width: in pixels.
    """

    id: int | str
    file_name: str
    height: int
    width: int


@dataclass(frozen=True)
class COCOInstances:
    """The sound content of a file.

    Attributes:
        source: its path.
        categories: id → name, ids ascending.
        images: id → image, in the order of the file.
        instances: in the order of the file; None where there are no labels.
    """

    source: str
    categories: dict[int, str]
    images: dict[int | str, Image]
    instances: list[Instance] | None


@paused_collection()
def read_coco_instances(path: str, report: Report = refuse) -> COCOInstances:
    """Read a file, local or anything that detectron2's PathManager reads.

    Raises:
        UserError: it cannot be read or is not JSON, or as :func:`check_coco_instances`.
    """
    return check_coco_instances(read_json(path), path, report)


def check_coco_instances(
    content: Any, path: str, report: Report = refuse, *, whole_bodies: bool = False
) -> COCOInstances:
    """The sound part of the content of a file.

    Args:
        content: of the file; its annotations change. ``annotations`` may be missing or null.
        path: of the file, for messages.
        report: takes the faults of single images and annotations (something is missing or of another
            type; ids are repeated or unknown; a file name leaves the image root; a size, box, polygon
            or RLE cannot be), doubts if a file is listed under several ids, an annotation is there
            twice or the boxes are in another layout, and what is left out.
        whole_bodies: as in :func:`~d2video.formats.geometry.box_layout.layout_doubt`.

    Raises:
        UserError: it lacks images or categories, has faulty categories, or has annotations but none
            that can be used.
    """
    if not isinstance(content, dict):
        raise UserError(f"{path} is not in COCO's format: it is {json_kind(content)}")
    missing = next((key for key in ("categories", "images") if key not in content), None)
    if missing is not None:
        raise UserError(f"{path} is not in COCO's format: '{missing}' is missing")
    root = root_category(content, path, report)
    categories = read_categories(content, path, report, without=root)
    images, faulty = _read_images(content, path, report)
    videos = content.get("videos")
    lists = [*content["images"], *(videos if isinstance(videos, list) else ())]
    tell_class_lists(lists, path, report)
    if content.get("annotations") is None:
        return COCOInstances(path, categories, images, None)
    given = _read_annotations(content, path, report, images, faulty, categories)
    sizes = {key: (image["height"], image["width"]) for key, image in images.items()}
    instances = read_objects(given, sizes, path, report, whole_bodies)
    return COCOInstances(path, categories, images, instances)


def _read_images(
    content: dict[str, Any], path: str, report: Report
) -> tuple[dict[int | str, Image], set[int | str]]:
    """The sound images by id, and the ids of others, so that what refers to them is not at fault."""
    images: dict[int | str, Image] = {}
    faulty: set[int | str] = set()
    for entry, fields in json_entries(content, "images", path, report):
        with entry:
            _check_image(fields, images)
            images[fields["id"]] = cast(Image, fields)
            continue
        if _is_image_id(fields.get("id")):
            faulty.add(fields["id"])
    if not content["images"]:
        raise UserError(f"{path} lists no images; fetch or write it again")
    files = Counter(normpath(image["file_name"]) for image in images.values())
    twice = [name for name, count in files.items() if count > 1]
    if twice:
        report(
            Doubt(
                path,
                f"{len(twice)} files are listed under several image ids (the first is {twice[0]}), so "
                "that each has only a part of the labels: list each file once",
            )
        )
    return images, faulty - images.keys()


def tell_class_lists(entries: Iterable[Any], path: str, report: Report) -> None:
    """Count what images or videos of TAO and LVIS list of classes whose objects are not all labelled."""
    tally = Tally(path, "classes that images or videos list")
    advice = "training and evaluation take what is not labelled for background"
    for fields in entries:
        for key in _CLASS_LISTS if isinstance(fields, dict) else ():
            listed = fields.get(key)
            if listed and isinstance(listed, list):
                tally.leave_out(f"in {key}", len(listed), advice)
    tally.tell(report)


def _check_image(fields: dict[str, Any], before: dict[int | str, Image]) -> None:
    for key in ("id", "file_name", "height", "width"):
        if key not in fields:
            raise EntryError(f"it has no {key}; complete the file")
    identity, name, height, width = (fields[k] for k in ("id", "file_name", "height", "width"))
    if not _is_image_id(identity):
        raise EntryError("its id must be a whole number or a text; correct it")
    if before and type(identity) is not type(next(iter(before))):
        raise EntryError(
            "its id is a text and others are numbers, or the reverse; correct the file"
        )
    if identity in before:
        raise EntryError("its id is there twice; give every image its own")
    if not isinstance(name, str):
        raise EntryError("its file_name must be a path; correct it")
    if leaves_folder(name):
        raise EntryError(f"{name} lies outside the image root; write paths relative to it")
    fields["file_name"] = portable(name)
    check_size(height, width)


def _read_annotations(
    content: dict[str, Any],
    path: str,
    report: Report,
    images: Collection[int | str],
    faulty: Collection[int | str],
    categories: Collection[int],
) -> list[dict[str, Any]]:
    """The annotations whose fields are sound, but for their segmentations."""
    found: list[dict[str, Any]] = []
    ids: set[int] = set()
    for entry, fields in json_entries(content, "annotations", path, report):
        with entry:
            identity, image_id = fields.get("id"), fields.get("image_id")
            if identity is not None and not is_id(identity):
                raise EntryError("its id must be a whole number; correct it")
            if identity in ids:
                raise EntryError("its id is there twice; give every annotation its own")
            if not _is_image_id(image_id) or image_id not in images:
                if _is_image_id(image_id) and image_id in faulty:
                    continue
                raise EntryError(
                    f"its image_id, {as_json(image_id)}, is not the id of an image; correct it"
                )
            _check_annotation(fields, categories)
            if identity is not None:
                ids.add(identity)
            found.append(fields)
    return found


def _check_annotation(fields: dict[str, Any], categories: Collection[int]) -> None:
    category = fields.get("category_id")
    if not is_id(category) or category not in categories:
        raise EntryError(
            f"its category_id, {as_json(category)}, is not the id of a category; correct it"
        )
    for key in ("iscrowd", "ignore"):
        if fields.get(key) not in (None, 0, 1):
            raise EntryError(f"its {key}, {as_json(fields[key])}, must be 0 or 1; correct it")
    box = fields.get("bbox")
    if box is not None and box != [] and not is_box(box):
        raise EntryError(
            f"its bbox, {as_json(box)}, is not made of four finite numbers; correct it"
        )
    points = fields.get("keypoints")
    if points and not (
        isinstance(points, list) and len(points) % 3 == 0 and all(map(is_number, points))
    ):
        raise EntryError("its keypoints are not triples of numbers; correct them")


def _is_image_id(value: Any) -> bool:
    return is_id(value) or isinstance(value, str)
