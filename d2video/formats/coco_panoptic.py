"""Annotation files in COCO's panoptic JSON, checked before detectron2's reader trusts them."""

from typing import Any

from d2video.formats.paths import leaves_folder

_MOST_SEGMENTS = 256**3  # ids that a label image can hold


def check_panoptic_content(content: Any) -> None:
    """
    Raises:
        ValueError: not the format: categories without id, name and isthing or with an id twice;
            annotations without image_id, file_name and segments_info, of an image that another one
            is of, or of a file outside the folder of the label images; segments without id and
            category_id, with an id twice, or of a category that is not in the file.
    """
    _require(isinstance(content, dict), f"it is a {type(content).__name__}")
    categories: set[int] = set()
    for number, each in _objects(content, "categories", "it"):
        where = f"entry {number} of 'categories'"
        _require(type(each.get("id")) is int, f"{where} has no id")
        _require(isinstance(each.get("name"), str), f"{where} has no name")
        _require(type(each.get("isthing")) in (int, bool), f"{where} has no isthing")
        _require(each["id"] not in categories, f"category {each['id']} is there twice")
        categories.add(each["id"])
    images: set[int] = set()
    for number, each in _objects(content, "annotations", "it"):
        where = f"entry {number} of 'annotations'"
        image, name = each.get("image_id"), each.get("file_name")
        known = type(image) is int or (isinstance(image, str) and image.isdecimal())
        _require(known and abs(int(image)) < 2**63, f"{where} has no image_id")
        _require(int(image) not in images, f"{where}: image {image} is there twice")
        images.add(int(image))
        _require(isinstance(name, str), f"{where} has no file_name")
        _require(
            not leaves_folder(name), f"{where}: {name} lies outside the folder of label images"
        )
        segments: set[int] = set()
        for _, segment in _objects(each, "segments_info", where):
            identity, category = segment.get("id"), segment.get("category_id")
            _require(
                type(identity) is int and 0 < identity < _MOST_SEGMENTS,
                f"{where}: the id {identity} of a segment is no number from 1 to {_MOST_SEGMENTS - 1}",
            )
            _require(identity not in segments, f"{where}: segment {identity} is there twice")
            segments.add(identity)
            known = type(category) is int and category in categories
            _require(known, f"{where}: category id {category} is not in its categories")
            _require(
                type(segment.get("iscrowd", 0)) in (int, bool), f"{where}: iscrowd must be 0 or 1"
            )


def _objects(fields: dict[str, Any], key: str, where: str) -> Any:
    entries = fields.get(key)
    good = isinstance(entries, list) and all(isinstance(entry, dict) for entry in entries)
    _require(good, f"{where} has no list of objects '{key}'")
    return enumerate(entries or ())


def _require(holds: bool, fault: str) -> None:
    if not holds:
        raise ValueError(fault)
