"""TrackEval's own readers and evaluator on files, which our numbers are compared with."""

from pathlib import Path

import numpy as np

from d2video.evaluation.mot.metrics import require_trackeval


def evaluate_files(name: str, gt: Path, trackers: Path, *, groups: bool = False, **config) -> dict:
    """The results of tracker "t" by sequence and class, ``COMBINED_SEQ`` among the sequences.

    Args:
        name: of TrackEval's class of data sets.
        groups: average over its super categories, too.
    """
    trackeval, quiet = require_trackeval(), {"PRINT_CONFIG": False}
    paths = {"GT_FOLDER": str(gt), "TRACKERS_FOLDER": str(trackers)}
    dataset = getattr(trackeval.datasets, name)({**paths, **quiet, **config})
    dataset.use_super_categories = groups
    if groups:  # it fails on those without classes
        dataset.super_categories = {k: each for k, each in dataset.super_categories.items() if each}
    dataset.should_classes_combine = True
    silent = ("PRINT_RESULTS", "TIME_PROGRESS", "OUTPUT_SUMMARY", "OUTPUT_DETAILED", "PLOT_CURVES")
    evaluator = trackeval.Evaluator(
        {"BREAK_ON_ERROR": True, **quiet, **dict.fromkeys(silent, False)}
    )
    families = trackeval.metrics
    metrics = [families.HOTA(), families.CLEAR(dict(quiet)), families.Identity(dict(quiet))]
    results, _ = evaluator.evaluate([dataset], metrics)
    trackeval._timing.DO_TIMING = False  # which the evaluator sets for good
    return results[dataset.get_name()]["t"]


def assert_equal_metrics(ours: dict, theirs: dict, rtol: float = 0.0) -> None:
    """Compare all fields of a class or an average; by default to the last bit."""
    for family in ("HOTA", "CLEAR", "Identity", "Count"):
        for field, value in theirs[family].items():
            np.testing.assert_allclose(
                ours[family][field], value, rtol=rtol, atol=rtol, err_msg=f"{family} {field}"
            )
