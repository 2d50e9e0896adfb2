"""Which labelled objects were found, and why the others were not.

Shapes: D predictions and G labelled objects of an input, which is a video or an image.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from d2video.evaluation.errors.breakdown import Row

MIN_IOU = 0.5  # of a prediction that finds an object
NO_IOU = 0.1  # below it a prediction has nothing to do with an object

FOUND = "found"
# Why an object was not found: the first condition that its predictions fail, in this order.
CAUSES = ("not seen", "poor overlap", "wrong class", "low score")
_MOST_CONFUSED, _EXAMPLES = 10, 3


@dataclass(frozen=True)
class Comparison:
    """The predictions and the labelled objects of a video or an image, of all classes.

    Attributes:
        name: of the video or the image.
        ious: (D, G) float64 in [0, 1], whatever the classes; of a crowd as its protocol defines it.
        scores: (D,) float64.
        classes: (D,) int64 category ids.
        truth_ids: G ids, for the rows.
        truth_classes: (G,) int64 category ids.
        crowd: (G,) bool, objects that cannot be missed.
        areas: (G,) float64 pixels, mean over the frames with the object.
        presence: (G,) float64, share of the frames that show the object.
    """

    name: int | str
    ious: np.ndarray
    scores: np.ndarray
    classes: np.ndarray
    truth_ids: Sequence[int | str]
    truth_classes: np.ndarray
    crowd: np.ndarray
    areas: np.ndarray
    presence: np.ndarray


def object_rows(
    compared: Sequence[Comparison], names: Mapping[int, str], noun: str, min_score: float
) -> list[Row]:
    """A row for each object that is not a crowd.

    The best prediction is that of highest IoU, whatever its class and score; of equal ones that of
    highest score.

    Args:
        names: by category id.
        noun: key for the name, "video" or "image".
        min_score: a prediction below it finds nothing.

    Returns:
        rows with ``noun``, ``object`` (its id), ``class``, ``area`` and ``presence``; ``others``, the
        number of objects beside it, and ``alike``, those of its class; ``best``, the place of the best
        prediction among those of the input, and ``best_iou``, ``best_class`` and ``best_score`` (0 and
        None if nothing overlaps); ``answers``: predictions with IoU ≥ 0.5; ``given``: those of them with
        ``min_score``; ``best_first``: whether of the answers the best has the highest score, None without
        answers; ``cause``: ``FOUND`` or one of ``CAUSES``.
    """
    rows = []
    for each in compared:
        real = ~each.crowd
        for g in np.flatnonzero(real).tolist():
            iou = each.ious[:, g]
            seen = bool((iou > 0).any())
            best = int(np.lexsort((-each.scores, -iou))[0]) if seen else -1
            answers = iou >= MIN_IOU
            given = answers & (each.scores >= min_score)
            right = answers & (each.classes == each.truth_classes[g])
            conditions = (iou >= NO_IOU, answers, right, right & given)
            passed = [*(bool(each.any()) for each in conditions), False].index(False)
            rows.append(
                {
                    noun: each.name,
                    "object": each.truth_ids[g],
                    "class": names[int(each.truth_classes[g])],
                    "area": float(each.areas[g]),
                    "presence": float(each.presence[g]),
                    "others": int(real.sum()) - 1,
                    "alike": int((real & (each.truth_classes == each.truth_classes[g])).sum()) - 1,
                    "best": best if seen else None,
                    "best_iou": float(iou[best]) if seen else 0.0,
                    "best_class": names[int(each.classes[best])] if seen else None,
                    "best_score": float(each.scores[best]) if seen else None,
                    "answers": int(answers.sum()),
                    "given": int(given.sum()),
                    "best_first": bool(each.scores[best] == each.scores[answers].max())
                    if answers.any()
                    else None,
                    "cause": (*CAUSES, FOUND)[passed],
                }
            )
    return rows


def object_tables(rows: Sequence[Row], noun: str, min_score: float) -> dict[str, list[Row]]:
    """Summaries of :func:`object_rows` by group of objects; confused classes; and examples."""
    groups = object_groups(rows).items()
    found = (
        f"objects found (IoU ≥ {MIN_IOU:g}, right class, score ≥ {min_score:g}) and why not, in %"
    )
    return {
        found: [_causes(name, chosen) for name, chosen in groups],
        "the best prediction of each object, whatever its score": [
            _best(name, chosen) for name, chosen in groups
        ],
        "confused classes (IoU ≥ 0.5)": _confused(rows),
        f"the largest objects that were not found, {_EXAMPLES} of each cause": [
            {key: row[key] for key in ("cause", noun, "object", "class", "area", "best_iou")}
            | {"best class": row["best_class"], "score": row["best_score"]}
            for cause in CAUSES
            for row in sorted(
                (each for each in rows if each["cause"] == cause), key=lambda row: -row["area"]
            )[:_EXAMPLES]
        ],
    }


def object_groups(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """Objects by name of their group, without empty groups and divisions into a single group."""
    small, large = np.quantile([row["area"] for row in rows], [1 / 3, 2 / 3]).tolist()
    divisions: list[dict[str, Callable[[Row], bool]]] = [
        {
            f"area up to {small:.0f} px": lambda row: row["area"] <= small,
            f"up to {large:.0f} px": lambda row: small < row["area"] <= large,
            "larger": lambda row: row["area"] > large,
        },
        {
            "in all frames": lambda row: row["presence"] == 1,
            "in half of them or more": lambda row: 0.5 <= row["presence"] < 1,
            "in less than half": lambda row: row["presence"] < 0.5,
        },
        {
            "alone": lambda row: row["others"] == 0,
            "beside other classes": lambda row: row["others"] > 0 and not row["alike"],
            "beside its own class": lambda row: row["alike"] > 0,
        },
        {
            f"class {name}": lambda row, name=name: row["class"] == name  # type: ignore[misc]
            for name in sorted({row["class"] for row in rows})
        },
    ]
    groups = {"all": list(rows)}
    for division in divisions:
        found = {name: [*filter(test, rows)] for name, test in division.items()}
        found = {name: chosen for name, chosen in found.items() if chosen}
        if len(found) > 1:
            groups |= found
    return groups


def _causes(name: str, rows: Sequence[Row]) -> Row:
    counts = Counter(row["cause"] for row in rows)
    shares = {cause: 100 * counts[cause] / len(rows) for cause in (FOUND, *CAUSES)}
    duplicates = sum(max(row["given"] - 1, 0) for row in rows)
    return {"objects": name, "number": len(rows), **shares, "duplicates": duplicates}


def _best(name: str, rows: Sequence[Row]) -> Row:
    best = np.array([row["best_iou"] for row in rows])
    answered = [row for row in rows if row["answers"]]
    return {
        "objects": name,
        "mean IoU": float(best.mean()),
        "IoU≥.5, %": 100 * float((best >= MIN_IOU).mean()),
        "IoU≥.75, %": 100 * float((best >= 0.75).mean()),
        "right class, %": 100 * _mean([row["class"] == row["best_class"] for row in rows]),
        "best first, %": 100 * _mean([row["best_first"] for row in answered]),
        "answers": _mean([row["answers"] for row in answered]),
    }


def _confused(rows: Sequence[Row]) -> list[Row]:
    pairs = Counter(
        (row["class"], row["best_class"])
        for row in rows
        if row["answers"] and row["class"] != row["best_class"]
    )
    ordered = sorted(pairs.items(), key=lambda item: (-item[1], item[0]))[:_MOST_CONFUSED]
    return [{"true class": a, "predicted": b, "objects": n} for (a, b), n in ordered]


def _mean(values: Sequence[int]) -> float:
    """nan without values."""
    return float(np.mean(values)) if values else float("nan")
