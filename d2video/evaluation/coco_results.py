"""Result files of COCO's images: read, and checked entry by entry.

A file is a JSON list with one entry a predicted object: ``image_id``, ``category_id`` (both as in the
annotation file), ``score`` and ``bbox`` (left, top, width, height in pixels), ``segmentation`` (a
compressed RLE of the image's size), or both.
"""

from collections import defaultdict
from functools import partial
from typing import Any

from d2video.evaluation.result_files import check_entries, fields_fault
from d2video.formats.coco import COCOInstances
from d2video.formats.geometry.boxes import is_box
from d2video.formats.geometry.rle_checks import find_mask_faults
from d2video.formats.text import as_json
from d2video.utils.errors import UserError

_FIELDS = ("image_id", "category_id", "score")
_TASKS = {"bbox": "bbox", "segmentation": "segm"}


def check_coco_results(results: Any, labels: COCOInstances, source: str) -> list[str]:
    """Check the content of a result file against the images and categories of its dataset.

    Args:
        results: as parsed from JSON.
        labels: of the dataset; it needs no annotations.
        source: name of the file, for the message.

    Returns:
        what there is to score, "bbox", "segm" or both; of an empty list both.

    Raises:
        UserError: names the first fault with its place: entry, counted from 0, and field.
    """
    first = results[0] if isinstance(results, list) and results else {}
    given = [key for key in _TASKS if isinstance(first, dict) and first.get(key) is not None]
    check_entries(results, source, partial(_find_fault, labels=labels, given=given))
    if "segmentation" in given:
        faults = _mask_faults(results, labels)
        if faults:
            index = min(faults)
            raise UserError(f"{source}: entry {index}, segmentation: {faults[index]}")
    return [_TASKS[key] for key in given or _TASKS]


def _find_fault(entry: Any, labels: COCOInstances, given: list[str]) -> str | None:
    known = {"image_id": labels.images, "category_id": labels.categories}
    fault = fields_fault(entry, _FIELDS, {"image_id": "video_id"}, known, labels.source)
    if fault is not None:
        return fault
    if not given:
        return ": it has neither bbox nor segmentation; add one of them"
    other = next((key for key in _TASKS if (entry.get(key) is not None) != (key in given)), None)
    if other is not None:
        has, have = ("no", "has one") if other in given else ("a", "has none")
        return f": it has {has} {other}, and entry 0 {have}; give all the same"
    if "bbox" in given and not (is_box(entry["bbox"]) and min(entry["bbox"][2:]) >= 0):
        box = as_json(entry["bbox"])
        return f", bbox: must be left, top, width and height in finite numbers, not {box}"
    return None


def _mask_faults(results: list[dict[str, Any]], labels: COCOInstances) -> dict[int, str]:
    """{entry: what is wrong with its mask}; those of one size are looked at together."""
    by_size: dict[tuple[int, int], list[int]] = defaultdict(list)
    for index, entry in enumerate(results):
        image = labels.images[entry["image_id"]]
        by_size[image["height"], image["width"]].append(index)
    return {
        places[k]: fault
        for size, places in by_size.items()
        for k, fault in find_mask_faults([results[i]["segmentation"] for i in places], *size)
    }
