"""The YouTube-VIS protocol: average precision of mask tracks.

The semantics are those of the evaluation code published with YouTube-VIS (youtubevos/cocoapi,
``ytvoseval`` with ``iouType="segm"``), to the last bit; the computation is vectorised over
thresholds, area ranges and (video, category) units.

Shapes: D predictions and G labelled tracks of a unit, sorted by falling score and in file order; T
IoU thresholds, R recall levels, K categories, A area ranges, M limits on the predictions.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from d2video.evaluation.vis.compare import MAX_PREDICTIONS, Unit

IOU_THRESHOLDS = np.linspace(0.5, 0.95, 10)
RECALL_LEVELS = np.linspace(0.0, 1.0, 101)
# Bounds of a track's mean area in pixels, inclusive at both ends.
AREA_RANGES = {
    "all": (0.0, 1e10),
    "small": (0.0, 128.0**2),
    "medium": (128.0**2, 256.0**2),
    "large": (256.0**2, 1e10),
}
_LOW, _HIGH = np.array(list(AREA_RANGES.values())).T[..., None]  # (A, 1) each
# Best-scored predictions of a video *and category* that count.
MAX_DETECTIONS = (1, 10, MAX_PREDICTIONS)

# Elements of the largest array in a batch of units that are matched together.
_MATCH_BATCH = 2_000_000


@dataclass(frozen=True)
class UnitMatches:
    """What the predictions of a unit were matched with.

    Attributes:
        truth: (A, T, D) int64, place of the matched track among the unit's G, -1 for none.
        ignored: (A, T, D) bool, predictions that are neither true nor false positives.
    """

    truth: np.ndarray
    ignored: np.ndarray


@dataclass(frozen=True)
class Accumulated:
    """Curves over a dataset; -1 where a category has no track in an area range.

    Attributes:
        precision: (T, R, K, A, M) float64.
        recall: (T, K, A, M) float64.
    """

    precision: np.ndarray
    recall: np.ndarray

    def summarize(self, category: int | None = None) -> dict[str, float]:
        """The protocol's 12 figures as fractions, -1.0 where nothing can be said.

        ``category`` limits them to one category, by its place among the ascending ids.
        """
        chosen = slice(None) if category is None else slice(category, category + 1)
        precision, recall = self.precision[:, :, chosen], self.recall[:, chosen]

        def ap(area: int = 0, threshold: int | slice = slice(None)) -> float:
            return _mean_of_present(precision[threshold, ..., area, -1])

        def ar(limit: int, area: int = 0) -> float:
            return _mean_of_present(recall[..., area, limit])

        return {
            "AP": ap(),
            "AP50": ap(threshold=0),
            "AP75": ap(threshold=5),
            "APs": ap(area=1),
            "APm": ap(area=2),
            "APl": ap(area=3),
            "AR1": ar(0),
            "AR10": ar(1),
            "AR100": ar(2),
            "ARs": ar(2, area=1),
            "ARm": ar(2, area=2),
            "ARl": ar(2, area=3),
        }


def match(units: Sequence[Unit]) -> list[UnitMatches]:
    """Match predictions with labelled tracks, greedily by falling score, within every unit.

    At each threshold a prediction takes the track of highest IoU that is free (of equal ones the
    last in file order) and reaches the threshold, if possible one that counts in the area range.
    Crowd tracks stay free. A prediction is ignored if its track is, or if it has none and lies
    outside the area range.
    """
    matches: dict[int, UnitMatches] = {}
    # Units of similar size share padded arrays.
    order = sorted(range(len(units)), key=lambda i: (units[i].ious.shape[1], len(units[i].scores)))
    widths = np.array([max(units[i].ious.shape[1], 1) for i in order])  # ascending
    while len(matches) < len(units):
        start = len(matches)
        # Of the first unit, the first two, ...: each pads those before it to its own width.
        elements = np.arange(1, len(order) - start + 1) * widths[start:]
        elements *= len(AREA_RANGES) * len(IOU_THRESHOLDS)
        count = max(1, int(np.searchsorted(elements, _MATCH_BATCH, "right")))
        batch = order[start : start + count]
        matches |= zip(batch, _match_batch([units[i] for i in batch]), strict=True)
    return [matches[i] for i in range(len(units))]


def _match_batch(units: Sequence[Unit]) -> list[UnitMatches]:
    num_predictions = max(len(unit.scores) for unit in units)
    num_truths = max(max(unit.ious.shape[1] for unit in units), 1)
    # Tracks in reverse, so that argmax, which returns the first maximum, finds the last in file
    # order; padding has IoU -1 and is never free.
    ious = np.full((len(units), num_predictions, num_truths), -1.0)
    real = np.zeros((len(units), num_truths), dtype=bool)
    crowd = np.zeros_like(real)
    areas = np.zeros((len(units), num_truths))
    for i, unit in enumerate(units):
        d, g = unit.ious.shape
        ious[i, :d, :g] = unit.ious[:, ::-1]
        real[i, :g] = True
        crowd[i, :g] = unit.truth_crowd[::-1]
        areas[i, :g] = unit.truth_areas[::-1]
    counts = (real & ~crowd)[:, None] & ~_outside(areas)  # (U, A, G)
    thresholds = np.minimum(IOU_THRESHOLDS, 1 - 1e-10)[:, None]
    shape = len(units), len(AREA_RANGES), len(IOU_THRESHOLDS)
    free = np.broadcast_to(real[:, None, None], (*shape, num_truths)).copy()
    found = np.full((*shape, num_predictions), -1, dtype=np.int64)
    track = np.arange(num_truths)
    once = ~crowd[:, None, None]

    reaches = ious.max(axis=2) >= IOU_THRESHOLDS[0]
    for d in range(num_predictions):  # greedy: each prediction sees what the better ones left
        u = np.flatnonzero(reaches[:, d])
        if not u.size:
            continue
        iou = ious[u, d, None, None]
        open_ = free[u] & (iou >= thresholds)
        open_counting = open_ & counts[u][:, :, None]
        candidates = np.where(open_counting.any(-1, keepdims=True), open_counting, open_)
        best = np.where(candidates, iou, -1.0).argmax(-1)
        hit = np.take_along_axis(candidates, best[..., None], axis=-1)
        found[u, ..., d] = np.where(hit[..., 0], best, -1)
        free[u] &= ~(once[u] & hit & (best[..., None] == track))

    truth_ignored = np.take_along_axis(
        np.broadcast_to(~counts[:, :, None], (*shape, num_truths)), np.maximum(found, 0), axis=-1
    )
    result = []
    for i, unit in enumerate(units):
        d, g = unit.ious.shape
        mine = found[i, ..., :d]
        result.append(
            UnitMatches(
                truth=np.where(mine >= 0, g - 1 - mine, -1),
                ignored=np.where(
                    mine >= 0, truth_ignored[i, ..., :d], _outside(unit.areas)[:, None]
                ),
            )
        )
    return result


def _outside(areas: np.ndarray) -> np.ndarray:
    """(..., N) areas to (..., A, N) bool: not within the range, whose ends belong to it."""
    return (areas[..., None, :] < _LOW) | (areas[..., None, :] > _HIGH)


def accumulate(
    units: Sequence[Unit], matches: Sequence[UnitMatches], category_ids: Sequence[int]
) -> Accumulated:
    """Precision and recall of every category over all videos.

    Args:
        units: of all videos of the dataset, also of those without predictions.
        matches: of the units.
        category_ids: all K categories of the dataset.
    """
    by_category: dict[int, list[tuple[Unit, UnitMatches]]] = {i: [] for i in sorted(category_ids)}
    # Ascending by video, so that equal scores come in the protocol's order.
    for unit, matched in sorted(zip(units, matches, strict=True), key=lambda p: p[0].video_id):
        by_category[unit.category_id].append((unit, matched))

    t, r = len(IOU_THRESHOLDS), len(RECALL_LEVELS)
    shape = len(by_category), len(AREA_RANGES), len(MAX_DETECTIONS)
    result = Accumulated(np.full((t, r, *shape), -1.0), np.full((t, *shape), -1.0))
    for index, pairs in enumerate(by_category.values()):
        if pairs:
            _accumulate_category(pairs, index, result)
    return result


def _accumulate_category(
    pairs: Sequence[tuple[Unit, UnitMatches]], index: int, result: Accumulated
) -> None:
    """Fill in category number ``index`` from its units, ascending by video."""
    truth_areas = np.concatenate([unit.truth_areas for unit, _ in pairs])
    crowd = np.concatenate([unit.truth_crowd for unit, _ in pairs])
    num_positives = (~_outside(truth_areas) & ~crowd).sum(axis=1)  # (A,)
    present = np.flatnonzero(num_positives)
    if not len(present):
        return
    scores = np.concatenate([unit.scores for unit, _ in pairs])
    rank = np.concatenate([np.arange(len(unit.scores)) for unit, _ in pairs])
    order = np.argsort(-scores, kind="stable")
    rank = rank[order]
    matched = np.concatenate([each.truth for _, each in pairs], axis=-1)[..., order] >= 0
    ignored = np.concatenate([each.ignored for _, each in pairs], axis=-1)[..., order]
    true = (matched & ~ignored)[present]
    false = (~matched & ~ignored)[present]
    positives = num_positives[present]
    for limit_index, limit in enumerate(MAX_DETECTIONS):
        chosen = rank < limit
        precision, recall = curves(true[..., chosen], false[..., chosen], positives)
        # (A, T, R) to (T, R, A)
        result.precision[:, :, index, present, limit_index] = np.moveaxis(precision, 0, -1)
        result.recall[:, index, present, limit_index] = recall.T


def curves(
    true: np.ndarray, false: np.ndarray, positives: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Precision at the recall levels, and final recall.

    Args:
        true: (A, T, N) bool, true positives by falling score.
        false: (A, T, N) bool, false positives.
        positives: (A,) number of tracks to be found, not 0.

    Returns:
        (A, T, R) and (A, T) float64.
    """
    a, t, n = true.shape
    levels = len(RECALL_LEVELS)
    if n == 0:
        return np.zeros((a, t, levels)), np.zeros((a, t))
    hits = true.cumsum(axis=-1)
    misses = false.cumsum(axis=-1)
    precision = hits / (hits + misses + np.spacing(1.0))
    # The best precision at this or any higher recall.
    precision = np.maximum.accumulate(precision[..., ::-1], axis=-1)[..., ::-1]

    # First place where a recall level is reached. Recall is hits / positives, so a level stands for
    # a number of hits; all curves, each lifted above the one before, are one sorted array.
    needed = np.stack([np.searchsorted(np.arange(p + 1) / p, RECALL_LEVELS) for p in positives])
    lift = np.arange(a * t) * (int(positives.max()) + 2)
    place = np.searchsorted(
        (hits.reshape(a * t, n) + lift[:, None]).ravel(),
        (np.repeat(needed, t, axis=0) + lift[:, None]).ravel(),
    ).reshape(a, t, levels) - (np.arange(a * t) * n).reshape(a, t, 1)
    found = np.take_along_axis(precision, np.minimum(place, n - 1), axis=-1)
    return np.where(place < n, found, 0.0), hits[..., -1] / positives[:, None]


def _mean_of_present(values: np.ndarray) -> float:
    present = values[values > -1]
    return float(present.mean()) if present.size else -1.0
