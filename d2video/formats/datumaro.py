"""CVAT's export in Datumaro's JSON ("Datumaro 1.0"): read as its COCO files, which hold the same."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

from d2video.formats.cvat_coco import label_set_of
from d2video.formats.faults import EntryError, Report, refuse
from d2video.formats.labels.label_formats import label_format
from d2video.formats.labels.label_set import LabelSet
from d2video.formats.labels.recognition import Seen, only_json_file
from d2video.formats.text import as_json, json_entries, read_json
from d2video.utils.errors import UserError

_SHAPES = ("bbox", "polygon", "mask")


def _is_datumaro(seen: Seen) -> bool:
    content = seen.content
    if not isinstance(content, dict) or not isinstance(content.get("items"), list):
        return False
    categories = content.get("categories")
    return isinstance(categories, dict) and isinstance(categories.get("label"), dict)


@label_format("datumaro", _is_datumaro)
def read_datumaro(
    root: str,
    report: Report = refuse,
    *,
    image_root: str | None = None,
    tracked: bool = True,
) -> LabelSet:
    """Read one file. The images of one folder are the frames of a video.

    Args:
        root: the JSON file, or the folder with ``annotations`` and ``images``.
        report, image_root, tracked: see :func:`~d2video.formats.cvat_coco.read_cvat_coco`.

    Raises:
        UserError: the file is missing or not in the format, or the frames are not found or not those
            that were labelled.
    """
    path = only_json_file(root)
    content = read_json(path)
    kinds = content.get("categories") if isinstance(content, dict) else None
    names = kinds.get("label") if isinstance(kinds, dict) else None
    if not isinstance(names, dict):
        raise UserError(f"{path} is not in Datumaro's format: categories.label is missing")
    categories = [
        {"id": number, "name": fields.get("name")}
        for number, (_, fields) in enumerate(json_entries(names, "labels", path, refuse))
    ]
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    others: Counter[str] = Counter()
    for entry, item in json_entries(content, "items", path, report):
        with entry:
            images.append(_image(item, len(images)))
            for fields in _annotations(item):
                if fields.get("type") in _SHAPES:
                    annotations.append(_annotation(fields, images[-1]["id"]))
                else:
                    others[f"of type {fields.get('type')}"] += 1
    coco = {"categories": categories, "images": images, "annotations": annotations}
    labels = label_set_of(coco, path, report, image_root, tracked=tracked)
    for reason, count in others.items():
        labels.tally.leave_out(reason, count)
    return labels.finished(judged=True)


def _image(item: dict[str, Any], number: int) -> dict[str, Any]:
    image, attributes = item.get("image"), item.get("attr")
    size = image.get("size") if isinstance(image, dict) else None
    if not isinstance(image, dict) or not isinstance(size, list) or len(size) != 2:
        raise EntryError(f"its image, {as_json(image)}, has no size [height, width]; correct it")
    frame = attributes.get("frame") if isinstance(attributes, dict) else None
    return {
        "id": number,
        "file_name": image.get("path") or f"{item.get('id')}.PNG",
        "height": size[0],
        "width": size[1],
        "frame": frame,
    }


def _annotations(item: dict[str, Any]) -> Iterator[dict[str, Any]]:
    found = item.get("annotations") or []
    if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
        raise EntryError("its annotations are not a list of objects; correct the file")
    yield from found


def _annotation(fields: dict[str, Any], image: int) -> dict[str, Any]:
    attributes = fields.get("attributes")
    given = {**attributes} if isinstance(attributes, dict) else {}
    segmentation = fields.get("rle") if fields["type"] == "mask" else []
    if fields["type"] == "polygon":
        segmentation = [fields.get("points")]
    return {
        "image_id": image,
        "category_id": fields.get("label_id"),
        "bbox": fields.get("bbox") or [],
        "segmentation": segmentation,
        "iscrowd": int(given.pop("is_crowd", False) is True),
        "attributes": given,
    }
