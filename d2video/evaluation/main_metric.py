"""Which number stands for an evaluation where one has to: to tell the best checkpoint of a training."""

from collections.abc import Iterable

# By the name of an evaluator's results. Of several in one evaluation the first here counts. Projects may
# add theirs.
MAIN_METRICS = {
    "panoptic_seg": "PQ",
    "segm": "AP",
    "bbox": "AP",
    "mot": "HOTA",
    "classification": "top1",
    "restoration": "PSNR_Y",
}


def main_metric(names: Iterable[str]) -> str | None:
    """The main one of an evaluation's metrics; None if none of them is known.

    Args:
        names: such as "segm/AP" or, of several data sets, "my_val/segm/AP".
    """
    known = list(names)
    for task, metric in MAIN_METRICS.items():
        for name in known:
            if f"/{name}".endswith(f"/{task}/{metric}"):
                return name
    return None
