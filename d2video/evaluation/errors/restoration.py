"""How image restoration differs from image to image."""

from collections.abc import Sequence

import numpy as np

from d2video.evaluation.errors.breakdown import Breakdown, Row, find_errors
from d2video.evaluation.restoration.evaluator import MODEL, NAMES, ByMethod, RestorationEvaluator

_WORST = 10
CAUSES = ("better than the baseline", "not better than the baseline", "no baseline")


@find_errors.register
def _(evaluator: RestorationEvaluator, min_score: float) -> list[Breakdown]:
    by_task = evaluator.by_task(evaluator.gather() or {})
    rows = [
        _row(task, name, each) for task, images in by_task.items() for name, each in images.items()
    ]
    if not rows:
        return []
    keys = ("task", "image", "PSNR_Y", "gain", "SSIM")
    tables = {
        "PSNR_Y of the images in dB, and the gain over the best baseline": [
            _distribution(task, [row for row in rows if row["task"] == task]) for task in by_task
        ],
        f"the worst images, at most {_WORST}": [
            {key: row[key] for key in keys}
            for row in sorted(rows, key=lambda row: row["PSNR_Y"])[:_WORST]
        ],
    }
    return [Breakdown(evaluator.name, tables, rows)]


def _row(task: str, file_name: str, measures: ByMethod) -> Row:
    own = measures[MODEL]
    others = [each[0] for name, each in measures.items() if name != MODEL]
    gain = own[0] - max(others) if others else None
    return {
        "task": task,
        "image": file_name,
        **dict(zip(NAMES, own, strict=True)),
        "gain": gain,
        # The gain is nan if the baseline equals the target, too.
        "cause": CAUSES[2] if gain is None else CAUSES[not gain > 0],
    }


def _distribution(task: str, rows: Sequence[Row]) -> Row:
    values = np.array([row["PSNR_Y"] for row in rows])
    finite = values[np.isfinite(values)]  # equal images have no PSNR
    levels = {"lowest": 0, "10 %": 0.1, "median": 0.5, "90 %": 0.9, "highest": 1}
    gains = [row["gain"] for row in rows if row["gain"] is not None and np.isfinite(row["gain"])]
    return {
        "task": task,
        "images": len(rows),
        **{
            name: float(np.quantile(finite, level)) if finite.size else None
            for name, level in levels.items()
        },
        "mean gain": float(np.mean(gains)) if gains else None,
        "not better": sum(row["cause"] == CAUSES[1] for row in rows),
    }
