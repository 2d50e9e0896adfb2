"""TrackEval's own readers and evaluator on files, which our numbers are compared with."""

import json
from collections.abc import Mapping
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


def assert_equal_results(
    path: Path,
    expected: dict,
    names: Mapping[str, str],
    rtol: float = 0.0,
    groups: Mapping[str, str] | None = None,
) -> None:
    """Compare a results.json with what :func:`evaluate_files` has returned.

    Args:
        names: of the classes, ours → TrackEval's.
        groups: of further averages, likewise.
    """
    written, both = json.loads(path.read_text()), expected["COMBINED_SEQ"]
    for name, theirs in names.items():
        ours = written["classes"][name]
        assert_equal_metrics(ours["combined"]["details"], both[theirs], rtol)
        for sequence, each in ours["sequences"].items():
            assert_equal_metrics(each["details"], expected[sequence][theirs], rtol)
    averages = {"class average": "cls_comb_cls_av", "detection average": "cls_comb_det_av"}
    averages |= groups or {}
    assert written["averages"].keys() == averages.keys()
    for name, theirs in averages.items():
        # The order of the classes, over which they sum, may differ.
        assert_equal_metrics(written["averages"][name]["details"], both[theirs], max(rtol, 1e-15))


def assert_equal_metrics(ours: dict, theirs: dict, rtol: float = 0.0) -> None:
    """Compare all fields of a class or an average; by default to the last bit."""
    for family in ("HOTA", "CLEAR", "Identity", "Count"):
        for field, value in theirs[family].items():
            np.testing.assert_allclose(
                ours[family][field], value, rtol=rtol, atol=rtol, err_msg=f"{family} {field}"
            )
