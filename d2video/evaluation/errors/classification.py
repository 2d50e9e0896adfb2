"""Errors of video classification."""

from collections import Counter

import numpy as np

from d2video.evaluation.classification.evaluator import (
    TOPK,
    Prediction,
    VideoClassificationEvaluator,
)
from d2video.evaluation.errors.breakdown import Breakdown, Row, find_errors

_MOST = 10
CAUSES = ("right", "second", f"first {TOPK}", "not among them")


@find_errors.register
def _(evaluator: VideoClassificationEvaluator, min_score: float) -> list[Breakdown]:
    names = evaluator.class_names
    kept = (evaluator.gather() or {}).items()
    rows = [_row(i, each, names) for i, each in kept if each.label is not None]
    if not rows:
        return []
    wrong = [row for row in rows if row["cause"] != CAUSES[0]]
    confused = Counter((row["class"], row["predicted"]) for row in wrong)
    of_class = Counter(row["class"] for row in rows)
    groups = {cause: [row for row in rows if row["cause"] == cause] for cause in CAUSES}
    tables = {
        "videos by the rank of the true class, and the score of the first": [
            _rank_row(name, chosen, len(rows)) for name, chosen in groups.items() if chosen
        ],
        "confused most often": [
            {
                "true class": name,
                "predicted": predicted,
                "videos": count,
                "of the class, %": 100 * count / of_class[name],
            }
            for (name, predicted), count in confused.most_common(_MOST)
        ],
        f"wrong answers of highest score, at most {_MOST}": [
            {
                key: row[key]
                for key in ("video", "file", "class", "predicted", "score", "true_score")
            }
            for row in sorted(wrong, key=lambda row: -row["score"])[:_MOST]
        ],
    }
    return [Breakdown(evaluator.name, tables, rows)]


def _row(video_id: int, given: Prediction, names: list[str]) -> Row:
    assert given.label is not None
    labels = [label for label, _ in given.top]
    rank = labels.index(given.label) if given.label in labels else TOPK
    return {
        "video": video_id,
        "file": given.file_name,
        "class": names[given.label],
        "predicted": names[labels[0]],
        "score": given.top[0][1],
        "true_score": given.top[rank][1] if rank < len(labels) else None,
        "cause": CAUSES[min(rank, 2) if rank < TOPK else 3],
    }


def _rank_row(name: str, rows: list[Row], number: int) -> Row:
    scores = np.array([row["score"] for row in rows])
    return {
        "true class": name,
        "videos": len(rows),
        "%": 100 * len(rows) / number,
        "mean score": float(scores.mean()),
        "lowest": float(scores.min()),
        "highest": float(scores.max()),
    }
