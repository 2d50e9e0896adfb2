"""The main metric of an evaluation, by which the best checkpoint of a training is chosen."""

from collections.abc import Iterable

# By the name of an evaluator's results. If an evaluation has several, the first one here counts.
# Projects may add theirs.
MAIN_METRICS = {
    "panoptic_seg": "PQ",
    "segm": "AP",
    "bbox": "AP",
    "mot": "HOTA",
    "classification": "top1",
    "restoration": "PSNR_Y",
}


def main_metric(names: Iterable[str]) -> str | None:
    """Return the main metric among those of an evaluation; None if none is known.

    Args:
        names: such as "segm/AP" or, of several datasets, "my_val/segm/AP".
    """
    known = list(names)
    for task, metric in MAIN_METRICS.items():
        for name in known:
            if f"/{name}".endswith(f"/{task}/{metric}"):
                return name
    return None
