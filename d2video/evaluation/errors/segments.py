"""Errors of panoptic segmentation."""

import numpy as np

from d2video.evaluation.errors.breakdown import Breakdown, Row, find_errors
from d2video.evaluation.errors.objects import NO_IOU, Comparison, object_rows, object_tables
from d2video.evaluation.panoptic.evaluator import PanopticEvaluator
from d2video.evaluation.panoptic.quality import FN, FP, TP, ImageComparison, mean_quality


@find_errors.register
def _(evaluator: PanopticEvaluator, min_score: float) -> list[Breakdown]:
    kept = evaluator.gather()
    if kept is None:
        return []
    images = evaluator.of_all_images(kept)
    categories = np.array([*evaluator.is_thing])
    names = {i: evaluator.names[i] for i in categories[evaluator.is_scored].tolist()}
    compared = [_comparison(image_id, each, [*names]) for image_id, each in images.items()]
    rows = object_rows(compared, names, "image", 0)  # the map has no scores
    if not rows:
        return []
    # (K,7): IoU, matches, false and missed segments, and the false ones by what they are.
    tallies = [each.tally(categories.tolist()) for each in images.values()]
    false = [_false_kinds(each, categories) for each in images.values()]
    total = np.concatenate([np.sum(tallies, 0), np.sum(false, 0)], 1)
    is_thing = np.array([*evaluator.is_thing.values()], bool)
    groups = {
        "all": evaluator.is_scored,
        "things": evaluator.is_scored & is_thing,
        "stuff": evaluator.is_scored & ~is_thing,
        **{f"class {name}": categories == i for i, name in names.items()},
    }
    quality = [_quality_row(name, total[chosen]) for name, chosen in groups.items()]
    title = "quality in %, and segments (false: by what they overlap)"
    return [Breakdown(evaluator.name, {title: quality, **object_tables(rows, "image", 0)}, rows)]


def _comparison(image_id: int, image: ImageComparison, scored: list[int]) -> Comparison:
    truth_classes = np.array([s.category_id for s in image.truth], np.int64)
    classes = np.array(image.predicted, np.int64)
    rows, columns = np.isin(truth_classes, scored), np.isin(classes, scored)
    return Comparison(
        name=image_id,
        ious=image.iou[rows][:, columns].T,
        scores=np.ones(int(columns.sum())),
        classes=classes[columns],
        truth_ids=[s.segment_id for s, kept in zip(image.truth, rows, strict=True) if kept],
        truth_classes=truth_classes[rows],
        crowd=image.crowd[rows],
        areas=image.areas[rows].astype(float),
        presence=np.ones(int(rows.sum())),
    )


def _false_kinds(image: ImageComparison, categories: np.ndarray) -> np.ndarray:
    """(K,3) false segments by category: on one of another class (IoU > 0.5), poor, on background."""
    false = image.counts & ~image.matches().any(0)
    best = image.iou[~image.crowd].max(0, initial=0)
    place = np.searchsorted(categories, image.predicted)
    kinds = (best > 0.5, (best <= 0.5) & (best >= NO_IOU), best < NO_IOU)
    return np.stack([np.bincount(place, false & kind, len(categories)) for kind in kinds], 1)


def _quality_row(name: str, total: np.ndarray) -> Row:
    quality, _ = mean_quality(total[:, :4])
    counts = total.sum(0).astype(int).tolist()
    return {
        "segments": name,
        **quality,
        "found": counts[TP],
        "missed": counts[FN],
        "false": counts[FP],
        **dict(zip(("… other class", "… poor", "… background"), counts[4:], strict=True)),
    }
