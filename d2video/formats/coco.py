"""Annotation files in COCO's JSON of images, which detectron2's and pycocotools' readers trust.

They are checked here first, and what the readers find besides is told to the user.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from detectron2.utils.file_io import PathManager

from d2video.formats.json_text import parse_json
from d2video.formats.paths import leaves_folder
from d2video.formats.polygons import find_polygon_fault
from d2video.formats.rle_codec import find_rle_fault
from d2video.utils.errors import UserError
from d2video.utils.limits import size_fault

# What the readers raise for a file of another format, besides OSError.
_NOT_AS_EXPECTED = (
    *(AssertionError, AttributeError, IndexError, KeyError, TypeError, ValueError),
    *(OverflowError, RecursionError),
)


@contextmanager
def annotation_file_errors(dataset_name: str, path: str) -> Iterator[None]:
    """Turn what readers raise within this context into a UserError of one line.

    Args:
        dataset_name: the registered dataset.
        path: its annotation file.

    Raises:
        UserError: the file or one that it names is missing, or the file is not in its format.
    """
    try:
        yield
    except (OSError, *_NOT_AS_EXPECTED) as error:
        raise UserError(
            f"dataset {dataset_name} cannot be read from {path} ({_reason(error)}): check the path "
            "and that the file is in the COCO format of the task"
        ) from error


def check_coco_instances(path: str) -> None:
    """Refuse a file of COCO instances that detectron2 or pycocotools would choke on, or worse.

    Args:
        path: local or anything that detectron2's PathManager reads. ``annotations`` may be missing.

    Raises:
        OSError: the file cannot be read.
        KeyError, ValueError: it is no JSON or not in the format: something is missing; ids are
            repeated or unknown; a file name leaves the image root; a size, box, polygon or RLE
            cannot be.
    """
    with PathManager.open(path, "r", encoding="utf-8") as file:
        content = parse_json(file.read())
    if not isinstance(content, dict):
        raise ValueError(f"it is a {type(content).__name__}")
    categories = set()
    for where, fields in _entries(content, "categories"):
        _require(isinstance(fields["name"], str), f"{where}: its name must be a text")
        categories.add(fields["id"])
    for where, fields in _entries(content, "images", (int, str)):
        name, sides = fields["file_name"], (fields["height"], fields["width"])
        _require(isinstance(name, str), f"{where}: its file_name must be a path")
        _require(not leaves_folder(name), f"{where}: {name} lies outside the image root")
        fault = _size_fault(*sides)
        _require(fault is None, f"{where}: {fault}")
    if "annotations" in content:
        for where, fields in _entries(content, "annotations"):
            fault = _annotation_fault(fields, categories)
            _require(fault is None, f"{where}: {fault}")


def _entries(
    content: dict[str, Any], key: str, id_types: tuple[type, ...] = (int,)
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each entry of a list, and how to call it in a message; their ids are all different."""
    entries, seen = content[key], set()
    _require(isinstance(entries, list), f"its '{key}' is no list")
    for number, fields in enumerate(entries):
        _require(isinstance(fields, dict), f"entry {number} of '{key}' is no object")
        name = fields["id"]
        _require(
            type(name) in id_types and name not in seen,
            f"the id of entry {number} of '{key}', {name}, is there twice or of another type",
        )
        seen.add(name)
        yield f"id {name} of '{key}'", fields


def _annotation_fault(fields: dict[str, Any], categories: set[int]) -> str | None:
    image, category = fields["image_id"], fields["category_id"]
    if type(image) not in (int, str):
        return f"its image_id {image} is no id"
    if type(category) is not int or category not in categories:
        return f"its category_id {category} is not in the file"
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
    return _segmentation_fault(fields.get("segmentation"))


def _segmentation_fault(segmentation: Any) -> str | None:
    if not segmentation:
        return None
    if isinstance(segmentation, list):
        if not all(isinstance(polygon, list) for polygon in segmentation):
            return "its segmentation is no list of polygons"
        # detectron2 leaves the others out.
        return find_polygon_fault([p for p in segmentation if len(p) >= 6 and len(p) % 2 == 0])
    if not isinstance(segmentation, dict):
        return "its segmentation is neither polygons nor RLE"
    # Whether that is the image's size, the mapper tells.
    size = segmentation.get("size")
    if not isinstance(size, list) or len(size) != 2:
        return f"the size of its segmentation, {size}, cannot be"
    fault = _size_fault(*size)
    return f"its segmentation: {fault}" if fault else find_rle_fault(segmentation, *size)


def _size_fault(height: Any, width: Any) -> str | None:
    if type(height) is int and type(width) is int:
        return size_fault(height, width)
    return f"its size, {width}x{height}, cannot be"


def _is_number(value: Any) -> bool:
    # Written so that NaN fails, and what is too large to be a float.
    return type(value) in (int, float) and abs(value) < 2**53


def _require(holds: bool, fault: str) -> None:
    if not holds:
        raise ValueError(fault)


def _reason(error: Exception) -> str:
    if isinstance(error, FileNotFoundError) and error.filename:
        return f"{error.filename} does not exist"
    if isinstance(error, OSError):
        return str(error)
    cause = error.args[0] if error.args else ""
    text = " ".join(str(cause).split())
    if isinstance(error, KeyError) and text.isidentifier():
        return f"'{text}' is missing"
    if isinstance(error, KeyError) and isinstance(cause, int):
        return f"id {cause} is unknown"
    return text if isinstance(error, KeyError) else f"{type(error).__name__}: {text}"
