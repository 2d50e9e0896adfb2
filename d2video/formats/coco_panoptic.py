"""Annotation files in COCO's panoptic JSON."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from d2video.formats.faults import EntryError, Report, Tally, refuse
from d2video.formats.paths import leaves_folder
from d2video.formats.text import is_id, json_entries, read_categories, read_json
from d2video.utils.errors import UserError

_MOST_SEGMENTS = 256**3  # ids that a label image can hold


@dataclass(frozen=True)
class PanopticFile:
    """The checked content of a file.

    Attributes:
        categories: dicts with ``id``, ``name`` and ``isthing``, in the order of the file.
        annotations: dicts with ``image_id``, ``file_name`` and ``segments_info``, whose segments have
            ``id``, ``category_id`` and ``iscrowd`` (0 or 1).
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
                in the file. Crowds, which are neither trained on nor missed in evaluation, are counted,
                and images without an annotation.

        Raises:
            UserError: missing, not JSON, or another format; categories without isthing, or as
                :func:`read_categories`; no annotations, or all segments are crowds.
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
                is_thing = fields.get("isthing")
                if type(is_thing) not in (int, bool) or is_thing not in (0, 1):
                    raise EntryError("it has no isthing, 1 or 0; correct it")
                categories[fields["id"]] = fields
        annotations: dict[int, dict[str, Any]] = {}
        entries = json_entries(
            content, "annotations", path, report, kind="annotation of image", name="image_id"
        )
        segments = Tally(path, "segments")
        for entry, fields in entries:
            with entry:
                _check_annotation(fields, categories)
                if int(fields["image_id"]) in annotations:
                    raise EntryError("the image is there twice; merge its annotations")
                annotations[int(fields["image_id"])] = fields
                crowds = sum(segment["iscrowd"] for segment in fields["segments_info"])
                segments.used += len(fields["segments_info"]) - crowds
                segments.leave_out("with iscrowd 1", crowds)
        if not content["annotations"]:
            raise UserError(f"{path} has no annotations of images; fetch or write it again")
        if not segments.used and +segments.reasons:
            raise UserError(f"{segments.left_out()}: nothing is left; correct the file")
        segments.tell(report)
        _tell_unlabelled(content.get("images"), path, report, annotations)
        return cls([*categories.values()], [*annotations.values()])


def _check_annotation(fields: dict[str, Any], categories: dict[int, dict[str, Any]]) -> None:
    image, name, entries = (fields.get(k) for k in ("image_id", "file_name", "segments_info"))
    known = type(image) is int or (isinstance(image, str) and image.isdecimal())
    if not known or abs(int(image or 0)) >= 2**63:
        raise EntryError("it has no image_id, a number or its text; add it")
    if not isinstance(name, str):
        raise EntryError("it has no file_name, of its label image; add it")
    if leaves_folder(name):
        raise EntryError(f"{name} lies outside the folder of label images; write a path in it")
    if not isinstance(entries, list) or not all(isinstance(each, dict) for each in entries):
        raise EntryError("it has no list of objects 'segments_info'; add it")
    segments: set[int] = set()
    for segment in entries:
        identity, category = segment.get("id"), segment.get("category_id")
        if type(identity) is not int or not 0 < identity < _MOST_SEGMENTS:
            raise EntryError(
                f"the id {identity} of a segment is not a number from 1 to {_MOST_SEGMENTS - 1}; "
                "number it as in the label image"
            )
        if identity in segments:
            raise EntryError(f"segment {identity} is there twice; remove one")
        segments.add(identity)
        if type(category) is not int or category not in categories:
            raise EntryError(f"category id {category} is not in its categories; correct it")
        if segment.get("iscrowd") not in (None, 0, 1):
            raise EntryError(f"the iscrowd of segment {identity} must be 0 or 1; correct it")
        segment["iscrowd"] = int(segment.get("iscrowd") or 0)


def _tell_unlabelled(images: Any, path: str, report: Report, annotations: Collection[int]) -> None:
    """Tell how many entries of ``images``, which need not be there, no annotation is of."""
    tally = Tally(path, "images")
    for image in images if isinstance(images, list) else ():
        identity = image.get("id") if isinstance(image, dict) else None
        if is_id(identity) and identity not in annotations:
            tally.leave_out("without an annotation")
        else:
            tally.used += 1
    tally.tell(report)
