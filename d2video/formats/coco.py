"""Annotation files in COCO's JSON of images, read under one set of rules.

Training, evaluation and d2video check read the files here, and those with tracks
(data/datasets/coco_tracks.py), too. The rules are in docs/datasets_images.md.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Hashable, Mapping
from dataclasses import dataclass
from os.path import normpath
from typing import Any, TypedDict, cast

from typing_extensions import NotRequired

from d2video.formats.box_layout import layout_doubt
from d2video.formats.boxes import NO_BOX, is_area, is_box, is_number, unusable_box
from d2video.formats.faults import (
    Doubt,
    EntryError,
    Report,
    Tally,
    refuse,
    repeated_doubt,
    reporting,
)
from d2video.formats.paths import leaves_folder
from d2video.formats.rle import mask_areas, to_rle
from d2video.formats.roboflow import without_root
from d2video.formats.segmentation import (
    box_around,
    find_segmentation_faults,
    is_empty,
    without_short_polygons,
)
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
_MASKS_AT_ONCE = 1024
_BOXES_LOOKED_AT = 20_000


class Image(TypedDict):
    """An image; further fields stand as in the file.

    Keys:
        id: a text in all images of a file, or a number in all.
        file_name: relative to the folder of the images.
        height, width: in pixels.
    """

    id: int | str
    file_name: str
    height: int
    width: int


class Instance(TypedDict):
    """An annotated object; further fields stand as in the file.

    Keys:
        id: may be any number, or missing.
        image_id, category_id: of an image and a category of the file.
        iscrowd: 1 also where ``ignore`` was set: neither trained on nor missed in evaluation.
        bbox: left, top, width, height in pixels; a part with an area lies inside the image.
        area: in pixels.
        segmentation: polygons of three points or more, or compressed RLE of the image's size.
        keypoints: x, y, visibility of each point.
    """

    id: NotRequired[int]
    image_id: int | str
    category_id: int
    iscrowd: int
    bbox: list[float]
    area: float
    segmentation: NotRequired[Any]
    keypoints: NotRequired[list[float]]


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
        whole_bodies: as in :func:`~d2video.formats.box_layout.layout_doubt`.

    Raises:
        UserError: it lacks images or categories, has faulty categories, or has annotations but none
            that can be used.
    """
    if not isinstance(content, dict):
        raise UserError(f"{path} is not in COCO's format: it is {json_kind(content)}")
    missing = next((key for key in ("categories", "images") if key not in content), None)
    if missing is not None:
        raise UserError(f"{path} is not in COCO's format: '{missing}' is missing")
    categories = without_root(read_categories(content, path, report), content, path, report)
    images, faulty = _read_images(content, path, report)
    _tell_class_lists(content, path, report)
    if content.get("annotations") is None:
        return COCOInstances(path, categories, images, None)
    given = _read_annotations(content, path, report, images, faulty, categories)
    faults = _segmentation_faults(given, images)
    # Before boxes are derived.
    doubt = _layout_doubt(given, faults, path, images, whole_bodies)
    instances = _read_instances(given, faults, path, report, images)
    if doubt is not None:
        report(doubt)
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


def _tell_class_lists(content: dict[str, Any], path: str, report: Report) -> None:
    tally = Tally(path, "classes that images or videos list")
    advice = "training and evaluation take what is not labelled for background"
    for entries in (content["images"], content.get("videos")):
        for fields in entries if isinstance(entries, list) else ():
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


def _read_instances(
    given: list[dict[str, Any]],
    faults: Mapping[int, str],
    path: str,
    report: Report,
    images: Mapping[int | str, Image],
) -> list[Instance]:
    """The annotations that can be used; what they lack is derived, and the others are told."""
    tally, polygons = Tally(path, "annotations"), Tally(path, "polygons")
    instances: list[Instance] = []
    empty: list[str] = []
    seen: dict[Hashable, tuple[Any, Any]] = {}  # segmentation and name
    repeated: list[tuple[Any, Any]] = []
    for place, fields in enumerate(given):
        image = images[fields["image_id"]]
        name = fields.get("id", f"[{place}]")
        with reporting(report, path, "annotation", name):
            crowd = next(
                (f"with {key} 1" for key in ("ignore", "iscrowd") if fields.get(key)), None
            )
            size = image["height"], image["width"]
            reason = _complete(fields, faults.get(place), size, polygons)
            if reason is None:
                fields["iscrowd"] = int(crowd is not None)
                instances.append(cast(Instance, fields))
                if (
                    crowd is None
                    and "segmentation" in fields
                    and is_empty(fields["segmentation"], *size)
                ):
                    empty.append(f"{name}")
            reason = reason or crowd
            if reason is None:
                tally.used += 1
                key = fields["image_id"], fields["category_id"], *fields["bbox"]
                mask = fields.get("segmentation")
                first = seen.setdefault(key, (mask, name))
                if first[1] != name and first[0] == mask:
                    repeated.append((first[1], name))
            else:
                tally.leave_out(reason)
    if tally.reasons and not tally.used:
        raise UserError(f"{tally.left_out()}: nothing is left; correct the file")
    tally.tell(report)
    polygons.tell(report)
    doubt = repeated_doubt(path, repeated)
    if doubt is not None:
        report(doubt)
    if empty:
        report(
            Doubt(
                path,
                f"{len(empty)} masks cover no pixel (the first is that of annotation {empty[0]}): a "
                "model of masks is not trained on the object, and its evaluation counts it as missed",
            )
        )
    objects = [each for each in instances if not each["iscrowd"]]
    masks = sum("segmentation" in each for each in objects)
    if 0 < masks < len(objects):
        report(
            Doubt(
                path,
                f"{len(objects) - masks} of {len(objects)} objects have no segmentation, which models of "
                "masks refuse: complete the file, or train on boxes (MODEL.MASK_ON False)",
            )
        )
    return instances


def _segmentation_faults(
    given: list[dict[str, Any]], images: dict[int | str, Image]
) -> dict[int, str]:
    """{place: what is wrong with the segmentation}; many are looked at together, for speed."""
    by_size: dict[tuple[int, int], list[int]] = defaultdict(list)
    for place, fields in enumerate(given):
        image = images[fields["image_id"]]
        by_size[image["height"], image["width"]].append(place)
    faults: dict[int, str] = {}
    for size, places in by_size.items():
        for first in range(0, len(places), _MASKS_AT_ONCE):
            part = places[first : first + _MASKS_AT_ONCE]
            masks = [given[place].get("segmentation") for place in part]
            faults |= {part[k]: fault for k, fault in find_segmentation_faults(masks, *size)}
    return faults


def _layout_doubt(
    given: list[dict[str, Any]],
    faults: Mapping[int, str],
    path: str,
    images: Mapping[int | str, Image],
    whole_bodies: bool,
) -> Doubt | None:
    """Of a large file every n-th box is looked at, for speed."""
    boxes: list[Any] = []
    sizes: list[tuple[int, int]] = []
    around: list[list[float]] = []
    step = max(1, len(given) // _BOXES_LOOKED_AT)
    for place in range(0, len(given), step):
        fields = given[place]
        if not fields.get("bbox"):
            continue
        image = images[fields["image_id"]]
        size = image["height"], image["width"]
        mask = None if place in faults else fields.get("segmentation")
        if isinstance(mask, list):
            mask = [polygon for polygon in mask if len(polygon) >= 6]
        elif mask:
            mask = to_rle(mask, *size)
        boxes.append(fields["bbox"])
        sizes.append(size)
        around.append(box_around(mask) if mask else NO_BOX)
    return layout_doubt(path, boxes, sizes, around, whole_bodies=whole_bodies)


def _complete(
    fields: dict[str, Any], fault: str | None, size: tuple[int, int], polygons: Tally
) -> str | None:
    """Derive what an annotation lacks of :class:`Instance`; or why it is left out.

    Args:
        fault: of its segmentation.
        size: height and width of the image.

    Raises:
        EntryError: its segmentation is at fault, or it has neither that nor a box.
    """
    reason = unusable_box(fields["bbox"], *size) if fields.get("bbox") else None
    if reason is not None:
        return reason
    if fault is not None:
        raise EntryError(f"its segmentation: {fault}; correct it")
    segmentation = fields.pop("segmentation", None)
    if segmentation and not any(segmentation):
        segmentation = None  # [[]] is how some exporters write that there is none
    if segmentation:
        segmentation = without_short_polygons(segmentation, polygons)
        if segmentation is None:
            return "whose polygons have fewer than three points"
        if isinstance(segmentation, dict) and isinstance(segmentation["counts"], list):
            segmentation = to_rle(segmentation, *size)
        fields["segmentation"] = segmentation
    if not fields.get("bbox"):
        if not segmentation:
            raise EntryError("it has neither bbox nor segmentation; complete the file")
        fields["bbox"] = box_around(segmentation)
    area = fields.get("area")
    if area is None:
        _, _, width, height = fields["bbox"]
        mask = fields.get("segmentation")
        fields["area"] = float(mask_areas([to_rle(mask, *size)])[0]) if mask else width * height
    elif not is_area(area):
        raise EntryError(f"its area, {as_json(area)}, is not a number of pixels; correct it")
    return unusable_box(fields["bbox"], *size)


def _is_image_id(value: Any) -> bool:
    return is_id(value) or isinstance(value, str)
