"""Errors of instances: tracks of masks in videos, boxes and masks in images."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pycocotools.mask as coco_mask

from d2video.evaluation.coco import COCOInstanceEvaluator
from d2video.evaluation.errors.breakdown import Breakdown, Row, find_errors
from d2video.evaluation.errors.objects import (
    Comparison,
    object_groups,
    object_rows,
    object_tables,
)
from d2video.evaluation.errors.oracles import judge, oracle_table
from d2video.evaluation.vis.compare import track_ious
from d2video.evaluation.vis.evaluator import YTVISEvaluator
from d2video.evaluation.vis.ground_truth import RLE, VideoTruth


def instance_breakdown(
    name: str, compared: Sequence[Comparison], names: Mapping[int, str], noun: str, min_score: float
) -> list[Breakdown]:
    """The breakdown of all inputs, empty without labelled objects; see :func:`find_errors`.

    Args:
        names: of the classes, by category id.
        noun: what an input is, "video" or "image".
    """
    rows = object_rows(compared, names, noun, min_score)
    if not rows:
        return []
    title = f"AP50 if an error were corrected (number: of predictions with score ≥ {min_score:g})"
    tables = object_tables(rows, noun, min_score)
    tables[title] = oracle_table(judge(compared), min_score)
    return [Breakdown(name, tables, rows)]


@find_errors.register
def _(evaluator: YTVISEvaluator, min_score: float) -> list[Breakdown]:
    kept = evaluator.gather()
    if kept is None:
        return []
    videos, scored = evaluator.ground_truth.videos, evaluator.scored
    entries = {
        video_id: [e for e in kept.get(video_id, ([],))[0] if e["category_id"] in scored]
        for video_id in videos
    }
    compared = [_compare_video(video, entries[i], scored) for i, video in videos.items()]
    found = instance_breakdown(evaluator.name, compared, scored, "video", min_score)
    for breakdown in found:
        for row in breakdown.objects:
            row["pixels"] = pixels_of(videos[row["video"]], row, entries[row["video"]])
        groups = object_groups(breakdown.objects).items()
        title = "the best prediction's pixels, in % of the objects' pixels"
        breakdown.tables[title] = [_pixel_row(name, rows) for name, rows in groups]
    return found


def _compare_video(
    video: VideoTruth, found: Sequence[Mapping[str, Any]], scored: Mapping[int, str]
) -> Comparison:
    tracks = [each for each in video.tracks if each.category_id in scored]
    masks = [each["segmentations"] for each in found]
    ious, _ = track_ious(masks, [each.masks for each in tracks], video.height, video.width)
    seen = [sum(box is not None for box in each.boxes) for each in tracks]
    return Comparison(
        name=video.video_id,
        ious=ious,
        scores=np.array([each["score"] for each in found], float),
        classes=np.array([each["category_id"] for each in found], np.int64),
        truth_ids=[each.track_id for each in tracks],
        truth_classes=np.array([each.category_id for each in tracks], np.int64),
        crowd=np.array([each.is_crowd for each in tracks], bool),
        areas=np.array([each.area for each in tracks], float),
        presence=np.array(seen, float) / video.num_frames,
    )


def pixels_of(video: VideoTruth, row: Row, entries: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """Count the pixels of an object in all frames, those that its best prediction misses, and those that it
    wrongly covers: on other objects, on background, or in frames without the object."""
    pixels = dict.fromkeys(("object", "missed", "on others", "on background", "when absent"), 0)
    (own,) = (each for each in video.tracks if each.track_id == row["object"])
    others = [each.masks for each in video.tracks if each is not own]
    nothing = [None] * video.num_frames
    best = nothing if row["best"] is None else entries[row["best"]]["segmentations"]
    for true, found, *beside in zip(own.masks, best, *others, strict=True):
        size, area, common = _area([true]), _area([found]), _area([true, found])
        on_others = min(_area([found, _union(beside)]), area - common) if size else 0
        pixels["object"] += size
        pixels["missed"] += size - common
        pixels["on others"] += on_others
        pixels["on background" if size else "when absent"] += area - common - on_others
    return pixels


def _area(masks: Sequence[RLE | None]) -> int:
    """Pixels that all masks have in common, 0 if one is None."""
    if any(mask is None for mask in masks):
        return 0
    return int(coco_mask.area(coco_mask.merge(masks, intersect=True)))


def _union(masks: Sequence[RLE | None]) -> RLE | None:
    present = [mask for mask in masks if mask is not None]
    return coco_mask.merge(present) if present else None


def _pixel_row(name: str, rows: Sequence[Row]) -> Row:
    total = {key: sum(row["pixels"][key] for row in rows) for key in rows[0]["pixels"]}
    count = total.pop("object")
    return {"objects": name, **{key: 100 * n / max(count, 1) for key, n in total.items()}}


@find_errors.register
def _(evaluator: COCOInstanceEvaluator, min_score: float) -> list[Breakdown]:
    gathered = evaluator.gather()
    if gathered is None:
        return []
    tasks, by_image = gathered
    api = evaluator.truth
    names = {each["id"]: each["name"] for each in api.dataset["categories"]}
    breakdowns = []
    for task in tasks:
        compared = []
        for image_id in sorted(api.imgs):
            found = [each for each in by_image.get(image_id, ()) if each["category_id"] in names]
            compared.append(_compare_image(api, image_id, found, task))
        breakdowns += instance_breakdown(task, compared, names, "image", min_score)
    return breakdowns


def _compare_image(
    api: Any, image_id: Any, found: Sequence[Mapping[str, Any]], task: str
) -> Comparison:
    truths = api.imgToAnns[image_id]
    crowd = [int(each["iscrowd"]) for each in truths]
    ious = np.zeros((len(found), len(truths)))
    if ious.size and task == "bbox":
        boxes = [np.array([each["bbox"] for each in part], float) for part in (found, truths)]
        ious = coco_mask.iou(*boxes, crowd)
    elif ious.size:
        masks = [each["segmentation"] for each in found]
        ious = coco_mask.iou(masks, [*map(api.annToRLE, truths)], crowd)
    return Comparison(
        name=image_id,
        ious=ious,
        scores=np.array([each["score"] for each in found], float),
        classes=np.array([each["category_id"] for each in found], np.int64),
        truth_ids=[each["id"] for each in truths],
        truth_classes=np.array([each["category_id"] for each in truths], np.int64),
        crowd=np.array(crowd, bool),
        areas=np.array([each["area"] for each in truths], float),
        presence=np.ones(len(truths)),
    )
