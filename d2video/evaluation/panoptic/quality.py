"""Panoptic quality (Kirillov et al., 2019, section 4) by the rules of COCO's panoptic task.

torchmetrics' PanopticQuality has other rules: it takes predicted void out of the union, forgives
missed segments that are mostly predicted void, and knows no crowds.

Shapes: G labelled and P predicted segments of an image, K categories.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

# Columns of the tallies.
IOU, TP, FP, FN = range(4)


@dataclass(frozen=True)
class Segment:
    """A labelled segment: its id in the label image and its category, as in the annotation file."""

    segment_id: int
    category_id: int
    is_crowd: bool


@dataclass(frozen=True)
class ImageComparison:
    """The segments of an image, compared.

    Attributes:
        truth: the G labelled segments.
        predicted: category of each of the P predicted ones.
        iou: (G,P) float64, whatever the categories; void pixels of the labels are taken out of the union.
        areas: (G,) int64, pixels of the labelled segments.
        counts: (P,) bool, predictions that are false if they match nothing.
    """

    truth: Sequence[Segment]
    predicted: Sequence[int]
    iou: np.ndarray
    areas: np.ndarray
    counts: np.ndarray

    @property
    def crowd(self) -> np.ndarray:
        """(G,) bool."""
        return np.array([s.is_crowd for s in self.truth], bool)

    def matches(self) -> np.ndarray:
        """(G,P) bool, at most one in a row and one in a column: segments do not overlap."""
        same = np.equal.outer([s.category_id for s in self.truth], self.predicted)
        return (self.iou > 0.5) & same & ~self.crowd[:, None]

    def tally(self, category_ids: Sequence[int]) -> np.ndarray:
        """Summed IoU of the matches, number of matches, of false positives and of missed segments.

        Args:
            category_ids: the K categories, ascending.

        Returns:
            float64 (K,4).
        """
        matched = self.matches()
        true_category = np.searchsorted(category_ids, [s.category_id for s in self.truth])
        category = np.searchsorted(category_ids, self.predicted)

        def count(categories: np.ndarray, weights: np.ndarray) -> np.ndarray:
            return np.bincount(categories, weights, minlength=len(category_ids))

        return np.stack(
            [
                count(true_category, (self.iou * matched).sum(1)),
                count(true_category, matched.sum(1)),
                count(category, ~matched.any(0) & self.counts),
                count(true_category, ~matched.any(1) & ~self.crowd),
            ],
            axis=1,
        )


def compare_image(
    true_ids: np.ndarray,
    truth: Sequence[Segment],
    predicted_ids: np.ndarray,
    predicted: Mapping[int, int],
) -> ImageComparison:
    """Compare the segments of one image.

    A predicted and a labelled segment of one category match where their intersection is more than
    half of their union, from which void pixels of the labels are taken out. Crowds match nothing
    and are not missed; an unmatched prediction of which more than half lies on void and crowds of
    its category does not count. Nor does a predicted segment without pixels.

    Args:
        true_ids: int (H,W), the labelled segment of each pixel; ids that are no segment's are void.
        truth: the G labelled segments.
        predicted_ids: int (H,W), the same of the prediction.
        predicted: {id: category} of the P predicted segments.
    """
    overlap = _overlap(
        true_ids, [s.segment_id for s in truth], predicted_ids, [*predicted]
    )  # (G+1, P+1), void first
    intersection, void = overlap[1:, 1:], overlap[0, 1:]
    area, true_areas = overlap[:, 1:].sum(0), overlap[1:].sum(1)
    union = true_areas[:, None] + area - intersection - void
    same = np.equal.outer([s.category_id for s in truth], [*predicted.values()])
    crowd = np.array([s.is_crowd for s in truth], bool)
    forgiven = void + (intersection * (same & crowd[:, None])).sum(0)
    return ImageComparison(
        truth=truth,
        predicted=[*predicted.values()],
        iou=intersection / np.maximum(union, 1),
        areas=true_areas,
        counts=(2 * forgiven <= area) & (area > 0),
    )


def mean_quality(tally: np.ndarray) -> tuple[dict[str, float], int]:
    """PQ, SQ and RQ in percent, averaged over the categories that occur, and how many these are.

    Args:
        tally: (K,4), summed over the images.

    Returns:
        {"PQ", "SQ", "RQ"}, nan if no category occurs in labels or predictions, and the number.
    """
    tally = tally[tally[:, TP:].any(1)]
    if not len(tally):
        return dict.fromkeys(("PQ", "SQ", "RQ"), float("nan")), 0
    segmentation = tally[:, IOU] / np.maximum(tally[:, TP], 1)
    recognition = tally[:, TP] / (tally[:, TP] + (tally[:, FP] + tally[:, FN]) / 2)
    means = {"PQ": segmentation * recognition, "SQ": segmentation, "RQ": recognition}
    return {name: 100 * float(values.mean()) for name, values in means.items()}, len(tally)


def _overlap(
    true_ids: np.ndarray,
    true_segments: Sequence[int],
    predicted_ids: np.ndarray,
    predicted_segments: Sequence[int],
) -> np.ndarray:
    """Pixels that a labelled and a predicted segment have in common, (G+1,P+1) int, void first."""
    shape = len(true_segments) + 1, len(predicted_segments) + 1
    # Neighbours with the same two ids are counted together.
    true_ids, predicted_ids = true_ids.ravel(), predicted_ids.ravel()
    differs = true_ids[1:] != true_ids[:-1]
    differs |= predicted_ids[1:] != predicted_ids[:-1]
    starts = np.concatenate([[0], np.flatnonzero(differs) + 1])
    rows = _number(true_ids[starts], true_segments)
    columns = _number(predicted_ids[starts], predicted_segments)
    pixels = np.diff(starts, append=true_ids.size)
    counts = np.bincount(rows * shape[1] + columns, pixels, minlength=shape[0] * shape[1])
    return counts.astype(np.int64).reshape(shape)


def _number(ids: np.ndarray, segments: Sequence[int]) -> np.ndarray:
    """The place of each of some pixels among the segments, from 1; 0 for void."""
    known = np.asarray(segments, np.int64)
    if not len(known):
        return np.zeros(ids.shape, np.int64)
    order = np.argsort(known)
    place = np.minimum(np.searchsorted(known[order], ids), len(known) - 1)
    return np.where(known[order][place] == ids, order[place] + 1, 0)
