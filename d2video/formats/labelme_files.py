"""labelme's JSON files, one an image, with the images and the objects in them."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from d2video.fetching import around
from d2video.formats.faults import EntryError, Fault, Report, Tally, reporting
from d2video.formats.labelme_shapes import NO_OBJECTS, Instance, read_shape, shape_type
from d2video.formats.labels.footage import check_image_size
from d2video.formats.labels.label_set import LabelSet
from d2video.formats.text import as_json, is_id, read_json
from d2video.utils.errors import UserError
from d2video.video.image_io import in_natural_order, read_image_size


@dataclass(frozen=True)
class LabelledImage:
    """An image with its JSON file.

    Attributes:
        path: of the JSON file.
        folder: of that file, relative to the labels' root and with "/"; "" for the root.
        frame: path of the image.
        size: its height and width.
        objects: its shapes, joined.
        regions: those to ignore.
    """

    path: str
    folder: str
    frame: str
    size: tuple[int, int]
    objects: list[Instance]
    regions: list[Instance]


# Labels that are no classes.
_IGNORE, _BACKGROUND = "__ignore__", "_background_"


def is_labelme(content: Any) -> bool:
    """Whether the content of a JSON file is labelme's."""
    return (
        isinstance(content, dict)
        and isinstance(content.get("shapes"), list)
        and "imagePath" in content
    )


def read_labelled_images(
    labels: LabelSet, image_root: str | None, joined_by: str
) -> Iterator[LabelledImage]:
    """The sound images of ``labels.source``, in natural order; it may be one JSON file.

    Args:
        labels: take the counts of what is not used.
        joined_by: what shapes of one object have in common: "group_id" (and the label), or "label".

    Raises:
        UserError: no JSON file is labelme's, or ``image_root`` is not a folder.
    """
    if image_root is not None and not os.path.isdir(image_root):
        raise UserError(f"image_root, {image_root}, is not a folder: give that of the images")
    root, report = labels.source, labels.report
    remarks = Tally(root, "flags, attributes and descriptions")
    for path, content in _read_files(root, report):
        folder = os.path.relpath(os.path.dirname(path), root) if os.path.isdir(root) else "."
        folder = "" if folder == "." else folder.replace(os.sep, "/")
        remarks.leave_out("of images and shapes", _count_remarks(content))
        with reporting(report, path, "image", as_json(content["imagePath"])):
            frame, size = _find_image(path, content, folder, image_root)
            every = _read_objects(path, content["shapes"], size, labels, joined_by)
            objects = [each for each in every if each.label != _IGNORE]
            regions = [each for each in every if each.label == _IGNORE]
            yield LabelledImage(path, folder, frame, size, objects, regions)
    remarks.tell(report)


def _read_files(root: str, report: Report) -> Iterator[tuple[str, dict[str, Any]]]:
    """Path and content of labelme's JSON files; the others are counted."""
    paths = [root]
    if os.path.isdir(root):
        found = [
            path for path in Path(root).rglob("*.[jJ][sS][oO][nN]") if not _is_hidden(path, root)
        ]
        paths = [str(path) for path in in_natural_order(found)]
    tally, broken = Tally(root, "JSON files"), 0
    for path in paths:
        try:
            content = read_json(path)
        except UserError as error:
            report(Fault(path, "file", None, str(error)))
            broken += 1
            continue
        if is_labelme(content):
            tally.used += 1
            yield path, content
        else:
            tally.leave_out("that are not labelme's")
    if not tally.used and not broken:
        raise UserError(
            f"{root} holds no JSON file of labelme (with shapes and imagePath): name the format that "
            "it has, or give the folder of the labelled images"
        )
    tally.tell(report)


def _is_hidden(path: Path, root: str) -> bool:
    return any(part.startswith(".") for part in path.relative_to(root).parts)


def _count_remarks(content: dict[str, Any]) -> int:
    """How many flags and descriptions there are; attributes are those of X-AnyLabeling."""
    shapes = [each for each in content["shapes"] if isinstance(each, dict)]
    lists = [each.get(key) for each in (content, *shapes) for key in ("flags", "attributes")]
    values = [value for each in lists if isinstance(each, dict) for value in each.values()]
    values += [each.get(key) for each in shapes for key in ("description", "difficult")]
    return sum(map(bool, values))


def _find_image(
    path: str, content: dict[str, Any], folder: str, image_root: str | None
) -> tuple[str, tuple[int, int]]:
    """Path, height and width of the image of a JSON file.

    Raises:
        EntryError: it is not there, or of another size than the file says.
        BrokenFile: it cannot be read.
    """
    stated = content["imagePath"]
    if not isinstance(stated, str) or not stated:
        raise EntryError("imagePath must be a path; correct it")
    stated = stated.replace("\\", "/")  # of Windows
    name = os.path.basename(stated)
    if image_root is None:
        near = around(os.path.dirname(path))
        places = [os.path.join(place, each) for place in near for each in (stated, name)]
    else:
        places = [os.path.join(image_root, *each, name) for each in ([folder], [])]
    frame = next((os.path.normpath(place) for place in places if os.path.isfile(place)), None)
    if frame is None:
        where = f"{os.path.normpath(places[1])} is missing: "
        if content.get("imageData"):
            where += "write it there from imageData, which is that file in base64"
        else:
            where += "put the image there"
        raise EntryError(f"{where}, or give image_root")
    size = read_image_size(frame)
    stated = content.get("imageHeight") or size[0], content.get("imageWidth") or size[1]
    check_image_size(frame, size, stated)
    return frame, size


def _read_objects(
    path: str, shapes: list[Any], size: tuple[int, int], labels: LabelSet, joined_by: str
) -> list[Instance]:
    objects: dict[Any, Instance] = {}
    for number, fields in enumerate(shapes):
        with reporting(labels.report, path, "shape", f"[{number}]"):
            if not isinstance(fields, dict):
                raise EntryError("it is not an object; correct the file")
            label, group = fields.get("label"), fields.get("group_id")
            if not isinstance(label, str) or not label:
                raise EntryError(f"its label, {as_json(label)}, must be a text; correct it")
            if group is not None and not is_id(group):
                raise EntryError(
                    f"its group_id, {as_json(group)}, must be a whole number or null; correct it"
                )
            if label == _BACKGROUND:
                labels.tally.leave_out(f"labelled {label}")
                continue
            kind = shape_type(fields)
            if kind in NO_OBJECTS:
                labels.tally.leave_out(f"of type {kind}")
                continue
            shape = read_shape(kind, fields, size)
            if shape.is_turned:
                labels.leave_out_rotation()
            key: Any = label if joined_by == "label" else (label, group)
            if group is None and joined_by == "group_id":
                key = number
            objects.setdefault(key, Instance(number, label, group)).shapes.append(shape)
    return [*objects.values()]
