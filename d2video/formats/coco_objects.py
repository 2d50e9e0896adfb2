"""The objects of a file in COCO's JSON: what they lack is derived, and what cannot be used is left out."""

from collections import defaultdict
from collections.abc import Hashable, Mapping
from typing import Any, TypedDict, cast

from typing_extensions import NotRequired

from d2video.formats.annotation_doubts import partly_masked, repeated
from d2video.formats.faults import Doubt, EntryError, Report, Tally, reporting
from d2video.formats.geometry.box_layout import layout_doubt
from d2video.formats.geometry.boxes import NO_BOX, is_area, unusable_box
from d2video.formats.geometry.rle import mask_areas, to_rle
from d2video.formats.geometry.segmentation import (
    box_around,
    find_segmentation_faults,
    is_empty,
    without_short_polygons,
)
from d2video.formats.text import as_json
from d2video.utils.errors import UserError

_MASKS_AT_ONCE = 1024
_BOXES_LOOKED_AT = 20_000


class Instance(TypedDict):
    """An annotated object; further fields are kept as in the file.

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


def read_objects(
    given: list[dict[str, Any]],
    sizes: Mapping[int | str, tuple[int, int]],
    path: str,
    report: Report,
    whole_bodies: bool,
) -> list[Instance]:
    """The annotations that can be used; what they lack is derived, and the others are counted.

    Args:
        given: annotations whose fields are sound but for their segmentations; they change.
        sizes: height and width of each image, by its id.
        path, report, whole_bodies: see :func:`~d2video.formats.coco.check_coco_instances`.

    Raises:
        UserError: there are some, and none can be used.
    """
    faults = _segmentation_faults(given, sizes)
    # Before boxes are derived.
    doubt = _layout_doubt(given, faults, path, sizes, whole_bodies)
    tally, polygons = Tally(path, "annotations"), Tally(path, "polygons")
    instances: list[Instance] = []
    empty: list[str] = []
    seen: dict[Hashable, tuple[Any, Any]] = {}  # segmentation and name
    twice: list[tuple[Any, Any]] = []
    for place, fields in enumerate(given):
        size = sizes[fields["image_id"]]
        name = fields.get("id", f"[{place}]")
        with reporting(report, path, "annotation", name):
            reason = _complete(fields, faults.get(place), size, polygons)
            if reason is not None:
                tally.leave_out(reason)
                continue
            crowd = next((key for key in ("ignore", "iscrowd") if fields.get(key)), None)
            fields["iscrowd"] = int(crowd is not None)
            instances.append(cast(Instance, fields))
            if crowd is not None:
                tally.leave_out(f"with {crowd} 1")
                continue
            tally.used += 1
            mask = fields.get("segmentation")
            if "segmentation" in fields and is_empty(mask, *size):
                empty.append(f"{name}")
            key = fields["image_id"], fields["category_id"], *fields["bbox"]
            first = seen.setdefault(key, (mask, name))
            if first[1] != name and first[0] == mask:
                twice.append((first[1], name))
    if tally.reasons and not tally.used:
        raise UserError(f"{tally.left_out()}: nothing is left; correct the file")
    tally.tell(report)
    polygons.tell(report)
    objects = ["segmentation" in each for each in instances if not each["iscrowd"]]
    doubts = [repeated(path, twice), _empty(path, empty), partly_masked(path, objects), doubt]
    for each in filter(None, doubts):
        report(each)
    return instances


def _empty(path: str, names: list[str]) -> Doubt | None:
    if not names:
        return None
    return Doubt(
        path,
        f"{len(names)} masks cover no pixel (the first is that of annotation {names[0]}): a model of masks "
        "is not trained on the object, and its evaluation counts it as missed",
    )


def _segmentation_faults(
    given: list[dict[str, Any]], sizes: Mapping[int | str, tuple[int, int]]
) -> dict[int, str]:
    """{place: what is wrong with the segmentation}; many are looked at together, for speed."""
    by_size: dict[tuple[int, int], list[int]] = defaultdict(list)
    for place, fields in enumerate(given):
        by_size[sizes[fields["image_id"]]].append(place)
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
    sizes: Mapping[int | str, tuple[int, int]],
    whole_bodies: bool,
) -> Doubt | None:
    """Of a large file every n-th box is looked at, for speed."""
    boxes: list[Any] = []
    of_boxes: list[tuple[int, int]] = []
    around: list[list[float]] = []
    step = max(1, len(given) // _BOXES_LOOKED_AT)
    for place in range(0, len(given), step):
        fields = given[place]
        if not fields.get("bbox"):
            continue
        size = sizes[fields["image_id"]]
        mask = None if place in faults else fields.get("segmentation")
        if isinstance(mask, list):
            mask = [polygon for polygon in mask if len(polygon) >= 6]
        elif mask:
            mask = to_rle(mask, *size)
        boxes.append(fields["bbox"])
        of_boxes.append(size)
        around.append(box_around(mask) if mask else NO_BOX)
    return layout_doubt(path, boxes, of_boxes, around, whole_bodies=whole_bodies)


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
