"""The protocol against the official evaluator's arrays, and against the protocol as plain loops."""

import itertools

import numpy as np
import pytest

from d2video.evaluation.vis.accumulate import (
    AREA_RANGES,
    IOU_THRESHOLDS,
    accumulate,
    match,
)
from d2video.evaluation.vis.compare import Unit
from d2video.evaluation.vis.ground_truth import YTVISGroundTruth
from tests.helpers import GOLDEN
from tests.helpers.ytvis_sets import load_json, repaired_set_c, units_of

EXACT = 1e-12
STATS = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100")


def _evaluate(truth: YTVISGroundTruth, results: list[dict]):
    units = units_of(truth, results)
    matches = match(units)
    return units, matches, accumulate(units, matches, list(truth.categories))


def _check_stats(curves, truth: YTVISGroundTruth, expected: dict) -> None:
    assert curves.summarize() == pytest.approx(expected["stats"], abs=EXACT)
    for k, category_id in enumerate(truth.categories):
        official = expected["per_category"][str(category_id)]
        ours = curves.summarize(k)
        for name in STATS:
            want = -1.0 if official is None or official[name] is None else official[name]
            assert ours[name] == pytest.approx(want, abs=EXACT), (category_id, name)


@pytest.mark.parametrize("name", ["results", "results_perfect"])
def test_golden_set_a(name):
    truth = YTVISGroundTruth.from_json(str(GOLDEN / "ytvis_a_gt.json"))
    results = load_json(f"ytvis_a_{name}.json")
    units, matches, curves = _evaluate(truth, results)
    _check_stats(curves, truth, load_json("ytvis_expected.json")[f"a/{name}"])

    arrays = np.load(GOLDEN / f"ytvis_a_{name}_arrays.npz")
    for key in ("precision", "recall"):
        np.testing.assert_allclose(getattr(curves, key), arrays[key], rtol=0, atol=EXACT)
    compared = set()
    for unit, matched in zip(units, matches, strict=True):
        place = f"{unit.video_id}_{unit.category_id}"
        tracks = truth.videos[unit.video_id].tracks
        ids = [each.track_id for each in tracks if each.category_id == unit.category_id]
        if f"dtids_{place}" in arrays:  # numbers of the entries, from 1
            entries = [results[number - 1] for number in arrays[f"dtids_{place}"]]
            assert unit.scores.tolist() == [entry["score"] for entry in entries]
            compared.add(f"dtids_{place}")
        for key, ours in (
            ("iou", unit.ious),
            ("dtm", np.where(matched.truth[0] >= 0, np.array([*ids, 0])[matched.truth[0]], 0)),
            ("dtig", matched.ignored[0]),
        ):
            if f"{key}_{place}" in arrays:
                np.testing.assert_allclose(ours, arrays[f"{key}_{place}"], rtol=0, atol=EXACT)
                compared.add(f"{key}_{place}")
    assert compared == set(arrays.files) - {"precision", "recall", "scores"}


def test_golden_set_c_with_its_faults_repaired():
    annotations, results = repaired_set_c()
    truth = YTVISGroundTruth.from_dict(annotations)
    _, _, curves = _evaluate(truth, results)
    _check_stats(curves, truth, load_json("ytvis_expected.json")["c/results"])
    arrays = np.load(GOLDEN / "ytvis_c_results_arrays.npz")
    for key in ("precision", "recall"):
        np.testing.assert_allclose(getattr(curves, key), arrays[key], rtol=0, atol=EXACT)


def _match_by_loops(unit: Unit) -> tuple[np.ndarray, np.ndarray]:
    """Points 7 to 10 of the protocol, one at a time."""
    d, g = unit.ious.shape
    truth = np.full((len(AREA_RANGES), len(IOU_THRESHOLDS), d), -1)
    ignored = np.zeros(truth.shape, dtype=bool)
    for (a, (low, high)), (t, threshold) in itertools.product(
        enumerate(AREA_RANGES.values()), enumerate(IOU_THRESHOLDS)
    ):
        skip = unit.truth_crowd | (unit.truth_areas < low) | (unit.truth_areas > high)
        order = sorted(range(g), key=lambda i: skip[i])
        taken: set[int] = set()
        for i in range(d):
            held, best = -1, min(threshold, 1 - 1e-10)
            for j in order:
                if j in taken and not unit.truth_crowd[j]:
                    continue
                if held >= 0 and not skip[held] and skip[j]:
                    break
                if unit.ious[i, j] >= best:
                    held, best = j, unit.ious[i, j]
            truth[a, t, i] = held
            if held >= 0:
                taken.add(held)
                ignored[a, t, i] = skip[held]
            else:
                ignored[a, t, i] = unit.areas[i] < low or unit.areas[i] > high
    return truth, ignored


def test_matching_equals_the_loops_on_random_units(monkeypatch):
    rng = np.random.default_rng(0)
    units = []
    for _ in range(60):
        d, g = rng.integers(0, 12), rng.integers(0, 7)
        units.append(
            Unit(
                video_id=1,
                category_id=1,
                scores=-np.sort(-rng.random(d)),
                # Few distinct values, so that ties and exact thresholds occur.
                areas=rng.choice([0.0, 128.0**2, 3e4, 256.0**2, 1e5], d),
                ious=rng.choice([0.0, 0.5, 0.55, 0.7, 0.9, 0.95, 1.0], (d, g)),
                truth_areas=rng.choice([0.0, 128.0**2, 3e4, 256.0**2, 1e5], g),
                truth_crowd=rng.random(g) < 0.25,
            )
        )
    monkeypatch.setattr("d2video.evaluation.vis.accumulate._MATCH_BATCH", 3000)  # several batches
    for unit, matched in zip(units, match(units), strict=True):
        truth, ignored = _match_by_loops(unit)
        np.testing.assert_array_equal(matched.truth, truth)
        np.testing.assert_array_equal(matched.ignored, ignored)


def test_no_predictions_is_zero_and_no_labels_is_nothing():
    truth = YTVISGroundTruth.from_json(str(GOLDEN / "ytvis_a_gt.json"))
    _, _, curves = _evaluate(truth, [])
    stats = curves.summarize()
    assert stats["AP"] == stats["AR100"] == 0.0
    assert curves.summarize(4)["AP"] == -1.0  # category 5 has no labelled track
    _, _, curves = _evaluate(
        YTVISGroundTruth.from_dict({**load_json("ytvis_a_gt.json"), "annotations": []}),
        load_json("ytvis_a_results.json"),
    )
    assert set(curves.summarize().values()) == {-1.0}
