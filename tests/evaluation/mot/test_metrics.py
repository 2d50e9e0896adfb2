"""Tracking metrics: golden numbers of TrackEval, and cases of masks counted by hand."""

import json
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from d2video.evaluation.mot.metrics import (
    box_metrics,
    combine_metrics,
    mask_metrics,
    require_trackeval,
    summarize,
)
from d2video.formats.geometry.rle import encode_masks
from d2video.formats.mot_ground_truth import MOTSRows, read_mot_ground_truth
from d2video.formats.mot_results import read_mot_results
from d2video.utils.errors import UserError
from tests.helpers.ytvis_sets import load_json

GOLDEN = load_json("mot_golden.json")


def _golden_inputs(name: str, folder) -> dict:
    sequence = GOLDEN["sequences"][name]
    length = sequence["seqLength"]
    for kind in ("gt", "results"):
        (folder / kind).write_text(sequence[kind])
    return {
        "truth": read_mot_ground_truth(str(folder / "gt"), range(1, length + 1)),
        "results": read_mot_results(folder / "results", range(1, length + 1)),
        "num_frames": length,
        "sequence": name,
    }


def _assert_equal(metrics: dict, expected: dict) -> None:
    assert metrics.keys() == expected.keys()
    for family, fields in expected.items():
        assert metrics[family].keys() == fields.keys(), family
        for field, value in fields.items():
            np.testing.assert_allclose(
                metrics[family][field], value, rtol=1e-12, atol=1e-12, err_msg=f"{family} {field}"
            )


@pytest.mark.parametrize("benchmark", ["MOT17", "MOT20", "MOT15"])
def test_golden_metrics_in_every_field(tmp_path, benchmark, capfd):
    expected = GOLDEN["expected"][benchmark]
    per_sequence = {}
    for name in GOLDEN["sequences"]:
        metrics = box_metrics(benchmark, **_golden_inputs(name, tmp_path))
        _assert_equal(metrics, expected[name])
        per_sequence[name] = metrics
    combined = combine_metrics(per_sequence)
    _assert_equal(combined, expected["COMBINED_SEQ"])
    assert combine_metrics(dict(reversed(per_sequence.items())))["HOTA"]["AssA"].tolist() == (
        combined["HOTA"]["AssA"].tolist()
    )
    assert capfd.readouterr() == ("", "")


def test_summary_in_percent(tmp_path):
    metrics = combine_metrics(
        {n: box_metrics("MOT17", **_golden_inputs(n, tmp_path)) for n in GOLDEN["sequences"]}
    )
    summary = summarize(metrics)
    assert {k: round(v, 3) for k, v in summary.items()} == {
        **{"HOTA": 43.958, "DetA": 39.083, "AssA": 51.825, "LocA": summary["LocA"].__round__(3)},
        **{"MOTA": 17.598, "MOTP": round(summary["MOTP"], 3), "IDF1": 52.148},
        **{"IDP": round(summary["IDP"], 3), "IDR": round(summary["IDR"], 3)},
        **{"IDSW": 28, "FP": 403, "FN": 159, "MT": 15, "PT": 8, "ML": 2},
        "Frag": GOLDEN["expected"]["MOT17"]["COMBINED_SEQ"]["CLEAR"]["Frag"],
    }
    assert isinstance(summary["FP"], int)
    json.dumps(summary)


def test_rules_of_the_other_benchmarks(tmp_path):
    inputs = _golden_inputs("SYN-03", tmp_path)
    for benchmark in ("DanceTrack", "MOT16"):
        _assert_equal(box_metrics(benchmark, **inputs), box_metrics("MOT17", **inputs))


def test_order_and_size_of_ids_do_not_matter(tmp_path):
    inputs = _golden_inputs("SYN-01", tmp_path)
    generator = np.random.default_rng(0)
    shuffled = dict(inputs)
    for rows in ("truth", "results"):
        shuffled[rows] = inputs[rows].select(generator.permutation(len(inputs[rows])))
    # A table as long as the largest id would not fit into memory.
    shuffled["results"] = replace(shuffled["results"], id=shuffled["results"].id * 10**12)
    _assert_equal(box_metrics("MOT17", **shuffled), box_metrics("MOT17", **inputs))


def test_classes_that_the_benchmark_does_not_have(tmp_path):
    inputs = _golden_inputs("SYN-03", tmp_path)
    truth = inputs.pop("truth")
    truth = replace(truth, cls=np.full_like(truth.cls, 14))
    with pytest.raises(UserError, match="SYN-03: class 14 in the ground truth"):
        box_metrics("MOT17", truth, **inputs)
    box_metrics("MOT15", truth, **inputs)  # which has no classes


def test_without_trackeval(monkeypatch):
    for name in [n for n in sys.modules if n.split(".")[0] == "trackeval"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "trackeval", None)
    with pytest.raises(UserError, match="pip install --no-deps trackeval"):
        require_trackeval()


def _rle(x0: int, x1: int, y0: int = 0, y1: int = 10) -> dict:
    mask = torch.zeros(1, 10, 100, dtype=torch.bool)
    mask[0, y0:y1, x0:x1] = True
    return encode_masks(mask)[0]


def _rows(*frames: list[tuple[int, int, dict]]) -> MOTSRows:
    """Of frames of (id, class, mask)."""
    rows = [(t, *row) for t, frame in enumerate(frames, 1) for row in frame]
    rle = np.empty(len(rows), object)
    rle[:] = [row[3] for row in rows]
    return MOTSRows(*(np.array([row[i] for row in rows], np.int64) for i in range(3)), rle)


def test_masks_counted_by_hand():
    # Two pedestrians for three frames; a car; a region to ignore in two parts.
    truth = [(2001, 2, _rle(0, 10)), (2002, 2, _rle(10, 20)), (1001, 1, _rle(90, 100))]
    regions = [(10000, 10, _rle(60, 70)), (10000, 10, _rle(70, 80))]
    metrics = mask_metrics(
        _rows(truth + regions, truth, truth),
        _rows(
            # 7: IoU 8/10 with 2001. 8: 4/18 with 2002. Half of 5 is ignored, of 4 more than half.
            [(7, 2, _rle(0, 8)), (8, 2, _rle(16, 28)), (5, 2, _rle(50, 70)), (4, 2, _rle(70, 88))],
            # 7 goes on; 2002 is found by 9 with IoU 1/2, just enough. 3 is a car: not counted.
            [(7, 2, _rle(0, 10)), (9, 2, _rle(15, 20)), (3, 1, _rle(40, 50))],
            # 9 takes over 2001: a switch. 2002 is missed. On a car is a false positive.
            [(9, 2, _rle(0, 10)), (8, 2, _rle(90, 100))],
        ),
        num_frames=3,
        sequence="here",
    )
    clear, count = metrics["CLEAR"], metrics["Count"]
    assert count["GT_Dets"] == 6
    assert count["GT_IDs"] == 2
    assert count["Dets"] == 3 + 2 + 2  # without 4, and without the car
    found = {"CLR_TP": 4, "CLR_FP": 3, "CLR_FN": 2, "IDSW": 1, "MT": 1, "PT": 1, "ML": 0}
    assert {field: clear[field] for field in found} == found
    assert clear["MOTA"] == pytest.approx((4 - 3 - 1) / 6)
    assert clear["sMOTA"] == pytest.approx((0.8 + 1 + 0.5 + 1 - 3 - 1) / 6)
    assert clear["MOTP"] == pytest.approx(3.3 / 4)
    # 7 with 2001 (2 frames) and 9 with 2002 (1): 3 of 6 labelled, 3 of 7 found.
    assert metrics["Identity"]["IDTP"] == 3
    assert metrics["Identity"]["IDF1"] == pytest.approx(3 / (3 + 0.5 * 3 + 0.5 * 4))
    # At .5: 4 hits of 6 labels and 3 more results; pairs (7, 2001) 2, (9, 2002) 1, (9, 2001) 1.
    at_half = 9
    assert metrics["HOTA"]["DetA"][at_half] == pytest.approx(4 / (4 + 2 + 3))
    association = (2 * 2 / (3 + 2 - 2) + 1 / (3 + 2 - 1) + 1 / (3 + 2 - 1)) / 4
    assert metrics["HOTA"]["AssA"][at_half] == pytest.approx(association)
    summary = summarize(metrics, masks=True)
    assert summary["sMOTSA"] == pytest.approx(-70 / 6)
    assert summary["MOTA"] == 0.0
    assert list(summary)[1:] == list(summarize(metrics))


@pytest.mark.parametrize(("ignored_columns", "false_positives"), [(10, 1), (11, 0)])
def test_more_than_half_in_the_ignored_region_goes(ignored_columns, false_positives):
    region = [(10000, 10, _rle(60, 70)), (10000, 10, _rle(70, 80))]
    result = _rle(80 - ignored_columns, 100 - ignored_columns)
    labels = _rows([(1, 2, _rle(0, 9)), *region])
    metrics = mask_metrics(labels, _rows([(1, 2, result)]), 1, "here")
    assert metrics["CLEAR"]["CLR_FP"] == false_positives


def _random_frame(generator: np.random.Generator, labelled: bool) -> list[tuple[int, int, dict]]:
    """Neighbouring masks of random width; ids change places now and then."""
    edges = np.sort(generator.choice(np.arange(1, 100), 9, replace=False))
    ids = np.arange(10)
    if generator.random() < 0.3:
        ids[:4] = generator.permutation(4)
    rows = []
    for i, start, end in zip(ids.tolist(), [0, *edges], [*edges, 100]):
        if labelled and i >= 8:
            rows.append((10000, 10, _rle(start, end)))
        elif generator.random() < 0.8:
            rows.append((2000 + i, 1 if i == 7 else 2, _rle(start, end)))
    return rows


def test_masks_equal_trackeval_reading_the_files(tmp_path):
    generator = np.random.default_rng(3)
    length = 40
    truth = [_random_frame(generator, True) for _ in range(length)]
    # Mostly what is labelled, so that there is something to match.
    results = [
        [
            (i, 2 if c == 10 else c, rle)
            for n, (i, c, rle) in enumerate(frame)
            if i != 10000 or n == 9
        ]
        if generator.random() < 0.7
        else _random_frame(generator, False)
        for frame in truth
    ]
    folders = {"gt/A/gt/gt.txt": truth, "trackers/t/data/A.txt": results}
    for path, frames in folders.items():
        (tmp_path / path).parent.mkdir(parents=True)
        with open(tmp_path / path, "w") as file:
            for t, frame in enumerate(frames, 1):
                for i, c, rle in frame:
                    file.write(f"{t} {i} {c} 10 100 {rle['counts'].decode()}\n")
    dataset = require_trackeval().datasets.MOTSChallenge(
        {
            "GT_FOLDER": str(tmp_path / "gt"),
            "TRACKERS_FOLDER": str(tmp_path / "trackers"),
            "SKIP_SPLIT_FOL": True,
            "SEQ_INFO": {"A": length},
            "PRINT_CONFIG": False,
        }
    )
    data = dataset.get_preprocessed_seq_data(dataset.get_raw_seq_data("t", "A"), "pedestrian")
    families = require_trackeval().metrics
    metrics = mask_metrics(_rows(*truth), _rows(*results), length, "A")
    for family in ("HOTA", "CLEAR", "Identity", "Count"):
        _assert_equal(
            {family: metrics[family]}, {family: getattr(families, family)().eval_sequence(data)}
        )
    assert metrics["CLEAR"]["IDSW"] > 0
    assert metrics["CLEAR"]["CLR_FP"] > 0
    assert metrics["Count"]["Dets"] < sum(c == 2 for f in results for _, c, _ in f)  # some ignored


def test_masks_of_empty_sequences_and_combined():
    label, result = [(1, 2, _rle(0, 10))], [(4, 2, _rle(0, 10))]
    per_sequence = {
        "hit": mask_metrics(_rows(label), _rows(result), 1, "a"),
        "missed": mask_metrics(_rows(label), _rows(), 1, "b"),
        "unlabelled": mask_metrics(_rows(), _rows(result), 1, "c"),
    }
    summary = summarize(combine_metrics(per_sequence), masks=True)
    assert (summary["FP"], summary["FN"], summary["MT"], summary["ML"]) == (1, 1, 1, 1)
    assert summary["MOTA"] == summary["sMOTSA"] == 0.0
    assert summary["IDF1"] == summary["IDP"] == summary["IDR"] == 50.0
    assert summary["AssA"] == 100.0
    assert summary["DetA"] == pytest.approx(100 / 3)
