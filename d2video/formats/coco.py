"""Annotation files in COCO's JSON of images, which detectron2's and pycocotools' readers trust.

They are checked here first.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from d2video.formats.faults import EntryError, Report, refuse
from d2video.formats.paths import leaves_folder
from d2video.formats.segmentation import find_segmentation_fault
from d2video.formats.text import json_entries, read_json
from d2video.utils.errors import UserError
from d2video.utils.limits import size_fault


def read_coco_instances(path: str, report: Report = refuse) -> dict[str, Any]:
    """The content of a file of COCO instances, without what detectron2 or pycocotools would choke on.

    Args:
        path: local or anything that detectron2's PathManager reads. ``annotations`` may be missing.
        report: takes the faults of single entries: something is missing; ids are repeated or
            unknown; a file name leaves the image root; a size, box, polygon or RLE cannot be.

    Raises:
        UserError: the file cannot be read, is not JSON, lacks a list or has no categories.
    """
    content = read_json(path)
    if not isinstance(content, dict):
        raise UserError(f"{path} is not in COCO's format: it is a {type(content).__name__}")
    missing = next((key for key in ("categories", "images") if key not in content), None)
    if missing is not None:
        raise UserError(f"{path} is not in COCO's format: '{missing}' is missing")
    categories = _sound_entries(content, "categories", path, report, _category_fault)
    if not content["categories"]:
        raise UserError(f"{path}: 'categories' is empty; add them to the file")
    images = _sound_entries(content, "images", path, report, _image_fault, (int, str))
    sound = {**content, "categories": categories, "images": images}
    if "annotations" in content:
        known = {each["id"] for each in categories}
        sizes = {each["id"]: (each["height"], each["width"]) for each in images}
        fault = partial(_annotation_fault, categories=known, sizes=sizes)
        sound["annotations"] = _sound_entries(content, "annotations", path, report, fault)
    return sound


def _sound_entries(
    content: dict[str, Any],
    key: str,
    path: str,
    report: Report,
    find_fault: Callable[[dict[str, Any]], str | None],
    id_types: tuple[type, ...] = (int,),
) -> list[dict[str, Any]]:
    """The entries of a list without faults; their ids are all different."""
    seen: dict[Any, dict[str, Any]] = {}
    for entry, fields in json_entries(content, key, path, report):
        with entry:
            name = fields.get("id")
            if type(name) not in id_types or name in seen:
                raise EntryError("its id is there twice, is missing or of another type")
            try:
                fault = find_fault(fields)
            except KeyError as error:
                fault = f"{error} is missing"
            if fault is not None:
                raise EntryError(fault)
            seen[name] = fields
            id_types = (type(name),)  # they are sorted
    return [*seen.values()]


def _category_fault(fields: dict[str, Any]) -> str | None:
    return None if isinstance(fields["name"], str) else "its name must be a text"


def _image_fault(fields: dict[str, Any]) -> str | None:
    name, sides = fields["file_name"], (fields["height"], fields["width"])
    if not isinstance(name, str):
        return "its file_name must be a path"
    if leaves_folder(name):
        return f"{name} lies outside the image root"
    return _size_fault(*sides)


def _annotation_fault(
    fields: dict[str, Any], categories: set[int], sizes: Mapping[Any, tuple[int, int]]
) -> str | None:
    image, category = fields["image_id"], fields["category_id"]
    if type(image) not in (int, str):
        return f"its image_id {image} is no id"
    if type(category) is not int or category not in categories:
        return f"its category_id {category} is not in the file"
    if fields.get("ignore", 0) != 0:
        return "its ignore is set, which detectron2 does not take; remove the annotation"
    if type(fields.get("iscrowd", 0)) not in (int, bool):
        return "its iscrowd must be 0 or 1"
    for key, length in (("bbox", 4), ("area", None)):
        value = fields.get(key, [] if length is None else [0.0] * length)
        numbers = value if isinstance(value, list) else [value]
        if (length is not None and len(numbers) != length) or not all(map(_is_number, numbers)):
            return f"its {key}, {value}, is not made of finite numbers"
    points = fields.get("keypoints") or []
    if not isinstance(points, list) or len(points) % 3 or not all(map(_is_number, points)):
        return "its keypoints are not triples of numbers"
    if image not in sizes:  # nobody asks for what belongs to no image
        return None
    fault = find_segmentation_fault(fields.get("segmentation"), *sizes[image])
    return fault and f"its segmentation: {fault}"


def _size_fault(height: Any, width: Any) -> str | None:
    if type(height) is int and type(width) is int:
        return size_fault(height, width)
    return f"its size, {width}x{height}, cannot be"


def _is_number(value: Any) -> bool:
    # Written so that NaN fails, and what is too large to be a float.
    return type(value) in (int, float) and abs(value) < 2**53
