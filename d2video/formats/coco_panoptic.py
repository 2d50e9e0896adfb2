"""Annotation files in COCO's panoptic JSON."""

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from os.path import normpath
from typing import Any

from d2video.formats.faults import Doubt, EntryError, Report, Tally, refuse
from d2video.formats.paths import leaves_folder
from d2video.formats.text import (
    as_json,
    check_size,
    is_id,
    json_entries,
    json_kind,
    read_categories,
    read_json,
)
from d2video.utils.errors import UserError
from d2video.utils.whole_numbers import whole_number

_MOST_SEGMENTS = 256**3  # ids that a label image can hold


@dataclass(frozen=True)
class PanopticFile:
    """The checked content of a file.

    Attributes:
        categories: dicts with ``id``, ``name`` and ``isthing``, in the order of the file.
        annotations: dicts with ``image_id``, ``file_name`` and ``segments_info``, whose segments have
            ``id``, ``category_id`` and ``iscrowd`` (0 or 1).
        images: id → file name relative to the folder of the images, of those that the file lists by name.
        sizes: id → height and width in pixels, of those that the file states.
    """

    categories: list[dict[str, Any]]
    annotations: list[dict[str, Any]]
    images: dict[int, str]
    sizes: dict[int, tuple[int, int]]

    @classmethod
    def read(cls, path: str, report: Report = refuse) -> "PanopticFile":
        """Read a file, local or anything that detectron2's PathManager reads.

        Args:
            report: takes the faults of annotations: no image_id, file_name or segments_info; an
                image that another one is of, or a file outside the folder of the label images;
                segments without id and category_id, with an id twice, or of a category that is not
                in the file. So are those of ``images``, which need not be there: no id, or one that
                is there twice, a size that cannot be, or a file outside the folder; an annotation of
                another image. Crowds, which are neither trained on nor missed in evaluation, are
                counted, and images without an annotation; a label image of several annotations is a
                doubt.

        Raises:
            UserError: missing, not JSON, or another format; categories without isthing, or as
                :func:`read_categories`; no annotations, or all segments are crowds.
        """
        content = read_json(path)
        if not isinstance(content, dict):
            raise UserError(
                f"{path} is not in COCO panoptic format: it is {json_kind(content)}; give a "
                "JSON file with categories and annotations of segments"
            )
        for key in ("categories", "annotations"):
            if not isinstance(content.get(key), list):
                raise UserError(f"{path} is not in COCO panoptic format: it has no list '{key}'")
        read_categories(content, path, report)
        categories: dict[int, dict[str, Any]] = {}
        for entry, fields in json_entries(content, "categories", path, refuse):
            with entry:
                is_thing = fields.get("isthing")
                if type(is_thing) not in (int, bool) or is_thing not in (0, 1):
                    raise EntryError("it has no isthing, 1 or 0; correct it")
                categories[fields["id"]] = fields
        listed, images, sizes = _read_images(content, path, report)
        annotations: dict[int, dict[str, Any]] = {}
        entries = json_entries(
            content, "annotations", path, report, kind="annotation of image", name="image_id"
        )
        segments = Tally(path, "segments")
        for entry, fields in entries:
            with entry:
                _check_annotation(fields, categories)
                image = int(fields["image_id"])
                if listed and image not in listed:
                    raise EntryError("its image_id is not the id of an image; correct it")
                if image in annotations:
                    raise EntryError("the image is there twice; merge its annotations")
                annotations[image] = fields
                crowds = sum(segment["iscrowd"] for segment in fields["segments_info"])
                segments.used += len(fields["segments_info"]) - crowds
                segments.leave_out("with iscrowd 1", crowds)
        if not content["annotations"]:
            raise UserError(f"{path} has no annotations of images; fetch or write it again")
        if not segments.used and +segments.reasons:
            raise UserError(f"{segments.left_out()}: nothing is left; correct the file")
        segments.tell(report)
        without = Tally(path, "images")
        without.used = len(annotations)
        without.leave_out("without an annotation", len(listed - annotations.keys()))
        without.tell(report)
        _doubt_shared_files(annotations.values(), path, report)
        return cls([*categories.values()], [*annotations.values()], images, sizes)


def _read_images(
    content: dict[str, Any], path: str, report: Report
) -> tuple[set[int], dict[int, str], dict[int, tuple[int, int]]]:
    """The ids of the images that a file lists, if it does, and where given the names of their files and
    their sizes."""
    listed: set[int] = set()
    names: dict[int, str] = {}
    sizes: dict[int, tuple[int, int]] = {}
    entries = json_entries(content, "images", path, report) if content.get("images") else ()
    for entry, fields in entries:
        with entry:
            identity: Any = fields.get("id")
            name = fields.get("file_name")
            if not _is_image_id(identity):
                raise EntryError(f"its id, {as_json(identity)}, must be a whole number; correct it")
            if int(identity) in listed:
                raise EntryError("its id is there twice; give every image its own")
            listed.add(int(identity))
            height: Any = fields.get("height")
            width: Any = fields.get("width")
            if height is not None or width is not None:
                check_size(height, width)
                sizes[int(identity)] = height, width
            if name is None:
                continue
            if not isinstance(name, str):
                raise EntryError("its file_name must be a path; correct it")
            if leaves_folder(name):
                raise EntryError(f"{name} lies outside the folder of the images; correct it")
            names[int(identity)] = name
    return listed, names, sizes


def _is_image_id(value: Any) -> bool:
    """Whether it is a whole number, or the text of one, as detectron2 reads it."""
    return is_id(whole_number(value, 19) if isinstance(value, str) else value)


def _doubt_shared_files(annotations: Collection[dict[str, Any]], path: str, report: Report) -> None:
    files = Counter(normpath(each["file_name"]) for each in annotations)
    shared = [name for name, count in files.items() if count > 1]
    if shared:
        report(
            Doubt(
                path,
                f"{len(shared)} label images belong to several annotations (the first is {shared[0]}): "
                "give each image its own",
            )
        )


def _check_annotation(fields: dict[str, Any], categories: dict[int, dict[str, Any]]) -> None:
    image, name, entries = (fields.get(k) for k in ("image_id", "file_name", "segments_info"))
    if not _is_image_id(image):
        raise EntryError(f"its image_id, {as_json(image)}, is not a whole number; correct it")
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
                f"the id {as_json(identity)} of a segment is not a number from 1 to {_MOST_SEGMENTS - 1}; "
                "number it as in the label image"
            )
        if identity in segments:
            raise EntryError(f"segment {identity} is there twice; remove one")
        segments.add(identity)
        if type(category) is not int or category not in categories:
            raise EntryError(
                f"category id {as_json(category)} is not in its categories; correct it"
            )
        if segment.get("iscrowd") not in (None, 0, 1):
            raise EntryError(f"the iscrowd of segment {identity} must be 0 or 1; correct it")
        segment["iscrowd"] = int(segment.get("iscrowd") or 0)
