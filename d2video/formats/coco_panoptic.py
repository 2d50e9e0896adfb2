"""Annotation files in COCO's panoptic JSON."""

from dataclasses import dataclass
from typing import Any

from d2video.formats.faults import EntryError, Report, refuse
from d2video.formats.paths import leaves_folder
from d2video.formats.text import json_entries, read_categories, read_json
from d2video.utils.errors import UserError

_MOST_SEGMENTS = 256**3  # ids that a label image can hold


@dataclass(frozen=True)
class PanopticFile:
    """The checked content of a file.

    Attributes:
        categories: dicts with ``id``, ``name`` and ``isthing``, in the order of the file.
        annotations: dicts with ``image_id``, ``file_name`` and ``segments_info``.
    """

    categories: list[dict[str, Any]]
    annotations: list[dict[str, Any]]

    @classmethod
    def read(cls, path: str, report: Report = refuse) -> "PanopticFile":
        """Read a file, local or anything that detectron2's PathManager reads.

        Args:
            report: takes the faults of annotations: no image_id, file_name or segments_info; an
                image that another one is of, or a file outside the folder of the label images;
                segments without id and category_id, with an id twice, or of a category that is not
                in the file.

        Raises:
            UserError: missing, not JSON, or another format; categories without isthing, or as
                :func:`read_categories`.
        """
        content = read_json(path)
        if not isinstance(content, dict):
            raise UserError(
                f"{path} is not in COCO panoptic format: it is a {type(content).__name__}; give a "
                "JSON file with categories and annotations of segments"
            )
        for key in ("categories", "annotations"):
            if not isinstance(content.get(key), list):
                raise UserError(f"{path} is not in COCO panoptic format: it has no list '{key}'")
        read_categories(content, path)
        categories: dict[int, dict[str, Any]] = {}
        for entry, fields in json_entries(content, "categories", path, refuse):
            with entry:
                if type(fields.get("isthing")) not in (int, bool):
                    raise EntryError("it has no isthing, 1 or 0; correct it")
                categories[fields["id"]] = fields
        annotations: dict[int, dict[str, Any]] = {}
        entries = json_entries(
            content, "annotations", path, report, kind="annotation of image", name="image_id"
        )
        for entry, fields in entries:
            with entry:
                _check_annotation(fields, categories)
                if int(fields["image_id"]) in annotations:
                    raise EntryError("the image is there twice")
                annotations[int(fields["image_id"])] = fields
        return cls([*categories.values()], [*annotations.values()])


def _check_annotation(fields: dict[str, Any], categories: dict[int, dict[str, Any]]) -> None:
    image, name, entries = (fields.get(k) for k in ("image_id", "file_name", "segments_info"))
    known = type(image) is int or (isinstance(image, str) and image.isdecimal())
    if not known or abs(int(image or 0)) >= 2**63:
        raise EntryError("it has no image_id")
    if not isinstance(name, str):
        raise EntryError("it has no file_name")
    if leaves_folder(name):
        raise EntryError(f"{name} lies outside the folder of label images")
    if not isinstance(entries, list) or not all(isinstance(each, dict) for each in entries):
        raise EntryError("it has no list of objects 'segments_info'")
    segments: set[int] = set()
    for segment in entries:
        identity, category = segment.get("id"), segment.get("category_id")
        if type(identity) is not int or not 0 < identity < _MOST_SEGMENTS:
            raise EntryError(
                f"the id {identity} of a segment is not a number from 1 to {_MOST_SEGMENTS - 1}"
            )
        if identity in segments:
            raise EntryError(f"segment {identity} is there twice")
        segments.add(identity)
        if type(category) is not int or category not in categories:
            raise EntryError(f"category id {category} is not in its categories")
        if type(segment.get("iscrowd", 0)) not in (int, bool):
            raise EntryError("iscrowd must be 0 or 1")
