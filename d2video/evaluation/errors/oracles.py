"""What AP would be if one kind of error were corrected.

TIDE (Bolya et al., 2020, sections 2.2 and 2.3) at an IoU of 0.5, for images and videos. Kinds and their
order of precedence are those of the authors' package tidecv.

Shapes: N predictions and M labelled objects (without crowds) of a dataset.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from d2video.evaluation.errors.breakdown import Row
from d2video.evaluation.errors.objects import MIN_IOU, NO_IOU, Comparison
from d2video.evaluation.vis.accumulate import curves, match
from d2video.evaluation.vis.compare import MAX_PREDICTIONS, Unit

TRUE, IGNORED = "true", "ignored"
# What can be wrong with a prediction, the first that applies.
KINDS = ("localisation", "class", "duplicate", "background", "both")


@dataclass(frozen=True)
class Judged:
    """All predictions of a dataset that take part.

    Attributes:
        scores: (N,) float64.
        classes: (N,) category ids.
        kinds: (N,) str, ``TRUE``, ``IGNORED`` (on a crowd) or one of ``KINDS``.
        partner: (N,) int64, the object that was taken or, by "localisation" and "class", missed; else -1.
        truth_classes: (M,) category ids.
        found: (M,) bool.
    """

    scores: np.ndarray
    classes: np.ndarray
    kinds: np.ndarray
    partner: np.ndarray
    truth_classes: np.ndarray
    found: np.ndarray


def judge(compared: Sequence[Comparison]) -> Judged:
    """Match predictions as the protocol of YouTube-VIS and COCO does at an IoU of 0.5, and say of each what
    is wrong with it."""
    units, places = [], []
    for number, each in enumerate(compared):
        for category in np.union1d(each.classes, each.truth_classes).tolist():
            mine = np.flatnonzero(each.classes == category)
            mine = mine[np.argsort(-each.scores[mine], kind="stable")][:MAX_PREDICTIONS]
            truths = np.flatnonzero(each.truth_classes == category)
            areas = np.zeros(len(mine)), np.zeros(len(truths))  # of no effect: only "all" is read
            ious, crowd = each.ious[mine][:, truths], each.crowd[truths]
            units.append(Unit(number, category, each.scores[mine], areas[0], ious, areas[1], crowd))
            places.append((mine, truths))
    taken = [np.full(len(each.scores), -1) for each in compared]
    ignored = [np.zeros(len(each.scores), bool) for each in compared]
    takes_part = [np.zeros(len(each.scores), bool) for each in compared]
    for unit, (mine, truths), matched in zip(units, places, match(units), strict=True):
        truth = matched.truth[0, 0]  # all areas, IoU of 0.5
        taken[unit.video_id][mine] = np.append(truths, -1)[truth]
        ignored[unit.video_id][mine] = matched.ignored[0, 0]
        takes_part[unit.video_id][mine] = True
    parts = [_judge(*each) for each in zip(compared, taken, ignored, takes_part, strict=True)]
    ends = np.cumsum([0, *(len(part.found) for part in parts)])
    partner = [np.where(p.partner >= 0, p.partner + e, -1) for p, e in zip(parts, ends)]
    join = {
        name: np.concatenate([getattr(part, name) for part in parts])
        for name in ("scores", "classes", "kinds", "truth_classes", "found")
    }
    return Judged(partner=np.concatenate(partner), **join)


def _judge(
    each: Comparison, taken: np.ndarray, ignored: np.ndarray, takes_part: np.ndarray
) -> Judged:
    real = ~each.crowd
    found = np.isin(np.arange(len(real)), taken[~ignored])[real]
    # One column more, for inputs without objects.
    ious = np.pad(each.ious[:, real], ((0, 0), (0, 1)))
    same = each.classes[:, None] == np.append(each.truth_classes[real], -1)
    own, other = np.where(same, ious, 0), np.where(same, 0, ious)
    again = np.where(np.append(found, False), own, 0)
    tests = (
        ignored,
        taken >= 0,
        (own.max(1) >= NO_IOU) & (own.max(1) < MIN_IOU),
        other.max(1) >= MIN_IOU,
        again.max(1) >= MIN_IOU,
        ious.max(1) <= NO_IOU,
    )
    kinds = np.select(tests, (IGNORED, TRUE, *KINDS[:-1]), KINDS[-1])
    rank = np.append(np.cumsum(real) - 1, -1)  # among the objects that are not crowds
    partner = np.select(
        [kinds == TRUE, kinds == "localisation", kinds == "class"],
        [rank[taken], own.argmax(1), other.argmax(1)],
        -1,
    )
    return Judged(
        each.scores[takes_part],
        each.classes[takes_part],
        kinds[takes_part],
        partner[takes_part],
        each.truth_classes[real],
        found,
    )


def oracle_table(judged: Judged, min_score: float) -> list[Row]:
    """How often each error occurs, AP50 in percent if it were corrected, and the gain.

    "localisation" and "class" make the best-scored prediction of an object that was not found a true one
    and take out the others; other errors of predictions are taken out; "missed" are objects that were
    not found and that no prediction could find by such a correction. "false positives" and "false
    negatives" take out all of their kind.
    """
    kinds, found = judged.kinds, judged.found
    # Of each object that was not found the best-scored prediction that could find it.
    could = np.isin(kinds, ("localisation", "class")) & ~np.append(found, True)[judged.partner]
    order = np.flatnonzero(could)[np.argsort(-judged.scores[could], kind="stable")]
    objects, first = np.unique(judged.partner[order], return_index=True)
    wins = np.isin(np.arange(len(kinds)), order[first])
    claimed = np.isin(np.arange(len(found)), objects)
    missed = ~found & ~claimed
    is_true, false = kinds == TRUE, ~np.isin(kinds, (TRUE, IGNORED))
    classes = np.where(
        wins & (kinds == "class"),
        np.append(judged.truth_classes, -1)[judged.partner],
        judged.classes,
    )
    everything = np.ones(len(found), bool)

    def ap(true: np.ndarray, false: np.ndarray, counts: np.ndarray, of: np.ndarray) -> float:
        return _ap(judged.scores, of, true, false, judged.truth_classes[counts])

    now = ap(is_true, false, everything, judged.classes)
    rows = [{"error": "none corrected", "number": None, "AP50": now, "gain": None}]

    def add(name: str, number: int, value: float) -> None:
        rows.append({"error": name, "number": number, "AP50": value, "gain": value - now})

    given = judged.scores >= min_score
    for kind in KINDS:
        of_kind = kinds == kind
        right, of = is_true | (of_kind & wins), np.where(of_kind, classes, judged.classes)
        add(kind, int((of_kind & given).sum()), ap(right, false & ~of_kind, everything, of))
    add("missed", int(missed.sum()), ap(is_true, false, ~missed, judged.classes))
    nothing = np.zeros_like(false)
    given_false = int((false & given).sum())
    add("false positives", given_false, ap(is_true, nothing, everything, judged.classes))
    add("false negatives", int((~found).sum()), ap(is_true, false, found, judged.classes))
    return rows


def _ap(
    scores: np.ndarray,
    classes: np.ndarray,
    true: np.ndarray,
    false: np.ndarray,
    truth_classes: np.ndarray,
) -> float:
    """Mean over the classes that occur, in percent; nan if none does."""
    values = []
    counts = true | false
    for category in np.unique(truth_classes).tolist():
        mine = np.flatnonzero(counts & (classes == category))
        mine = mine[np.argsort(-scores[mine], kind="stable")]
        positives = np.array([(truth_classes == category).sum()])
        precision, _ = curves(true[mine][None, None], false[mine][None, None], positives)
        values.append(float(precision.mean()))
    return 100 * float(np.mean(values)) if values else float("nan")
