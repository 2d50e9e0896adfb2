"""Several classes: each scored alone by TrackEval, its averages, files of results, regions to ignore."""

import json
import logging
import math
import re

import numpy as np
import pytest
import torch
from detectron2.structures import Boxes, Instances

from d2video.evaluation import MOTEvaluator
from d2video.evaluation.mot.ground_truth import MOTGroundTruth
from d2video.evaluation.mot.metrics import (
    box_metrics,
    class_box_metrics,
)
from d2video.evaluation.mot.report import COMBINED, MOTReport
from d2video.formats.geometry.rle import encode_masks
from d2video.formats.mot_results import write_results
from d2video.utils.errors import UserError
from tests.helpers.mot_sets import golden_answers, golden_truth, write_golden
from tests.helpers.trackeval_files import assert_equal_results, evaluate_files

SIZE = (40, 60)
NAMES, NUMBERS = ["cat", "dog"], [7, 3]


def annotation(track: int, cls: int, box, **fields) -> dict:
    return {"id": track, "category_id": cls, "bbox": list(box), "bbox_mode": 1, **fields}


def record(*frames: list[dict], ignored=(), name="a") -> dict:
    return {
        "sequence": name,
        "file_names": [f"{name}/{t}.jpg" for t in range(len(frames))],
        "length": len(frames),
        "height": SIZE[0],
        "width": SIZE[1],
        "annotations": [*frames],
        **({"ignored": [*ignored]} if ignored else {}),
    }


def answer(*frames: list[tuple[int, int, tuple]], **fields) -> dict:
    """Of frames of (track id, class, box XYWH)."""
    instances = []
    for frame in frames:
        boxes = torch.tensor([box for *_, box in frame], dtype=torch.float64).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        instances.append(
            Instances(
                SIZE,
                pred_boxes=Boxes(boxes),
                scores=torch.ones(len(frame)),
                pred_classes=torch.tensor([row[1] for row in frame], dtype=torch.int64),
                track_ids=torch.tensor([row[0] for row in frame], dtype=torch.int64),
            )
        )
    return {"image_size": SIZE, "frames": instances}


def truth_of(*records: dict, names=NAMES, numbers=NUMBERS, benchmark="MOT17") -> MOTGroundTruth:
    return MOTGroundTruth.from_records("here", benchmark, records, names, numbers)


def score(truth: MOTGroundTruth, output, *answers: dict) -> dict:
    evaluator = MOTEvaluator(truth, str(output))
    evaluator.process([{"sequence": name} for name in truth.sequences], answers)
    return evaluator.evaluate()["mot"]


A, B, C = (0, 0, 10, 10), (20, 0, 10, 10), (40, 0, 10, 10)
TWO = record([annotation(5, 0, A), annotation(6, 1, B)], [annotation(5, 0, A), annotation(6, 1, B)])


def test_each_class_is_scored_alone(tmp_path, caplog):
    # The cat is found. The dog is found once, and once as a cat: a miss and a false positive.
    found = answer([(0, 0, A), (1, 1, B)], [(0, 0, A), (1, 0, B)])
    with caplog.at_level(logging.INFO):
        mot = score(truth_of(TWO), tmp_path, found)
    assert mot["MOTA-cat"] == pytest.approx(100 * (2 - 1) / 2)
    assert mot["MOTA-dog"] == pytest.approx(50)
    assert mot["IDF1-cat"] == pytest.approx(80)
    assert (mot["FP"], mot["FN"], mot["IDSW"]) == (1, 1, 0)
    assert mot["HOTA"] == pytest.approx((mot["HOTA-cat"] + mot["HOTA-dog"]) / 2)
    assert [key for key in mot if "-" in key] == [
        f"{metric}-{name}" for name in NAMES for metric in ("HOTA", "MOTA", "IDF1")
    ]
    for row in ("| cat ", "| dog ", "| class average ", "| detection average "):
        assert row in caplog.text
    written = json.loads((tmp_path / "results.json").read_text())
    assert written["averages"]["class average"]["summary"]["HOTA"] == mot["HOTA"]
    assert written["classes"]["dog"]["sequences"]["a"]["summary"]["FN"] == 1
    lines = (tmp_path / "a.txt").read_text().splitlines()
    assert [line.split(",")[7:] for line in lines] == [
        [number, "-1", "-1"] for number in ("7", "3", "7", "7")
    ]
    # The files give the same numbers.
    truth = truth_of(TWO)
    again = truth.read_results(tmp_path)["a"]
    assert MOTReport.of(truth, {"a": truth.compare("a", again)}).results() == mot


def test_groups_without_objects_have_no_percentages(tmp_path, caplog):
    truth = truth_of(TWO, names=["bus", "bicycle", "rider"], numbers=None, benchmark="BDD100K")
    with caplog.at_level(logging.INFO):
        score(truth, tmp_path, answer([(0, 0, A)], [(1, 2, B)]))
    assert re.search(r"\| HUMAN +\|( +nan +\|){5}", caplog.text)
    written = json.loads((tmp_path / "results.json").read_text(), parse_constant=pytest.fail)
    human, bike = (written["averages"][name]["summary"] for name in ("HUMAN", "BIKE"))
    assert (human["HOTA"], human["FP"]) == (None, 1)
    assert (bike["HOTA"], bike["FN"]) == (0, 2)


BDD_NAMES = ["pedestrian", "car"]


def _random_sequence(rng: np.random.Generator, name: str, length: int = 25) -> tuple[dict, dict]:
    """Objects of both classes that move, two regions, and an answer that is wrong in all ways."""
    starts, speeds = rng.integers(0, 30, (6, 2)), rng.integers(-1, 2, (6, 2))
    frames, regions, found = [], [], []
    for t in range(length):
        boxes = [(*(starts[i] + t * speeds[i]).tolist(), 9, 8) for i in range(6)]
        seen = [i for i in range(6) if rng.random() < 0.85]
        frames.append([annotation(i, i % 2, boxes[i]) for i in seen])
        # BDD100K's regions are those of all classes.
        zones = [(2 * t, 3, 14, 12)] if t % 3 else []
        regions.append([annotation(90, cls, zone) for zone in zones for cls in (0, 1)])
        tracks = []
        for i in [*seen, 6, 7]:
            x, y, *size = boxes[i] if i < 6 else (*rng.integers(0, 40, 2).tolist(), 6, 6)
            if rng.random() < 0.85:
                x, y = x + int(rng.integers(-2, 3)), y + int(rng.integers(-2, 3))
                track = i + 10 * (i < 2 and t > 12)
                tracks.append((track, i % 2 if rng.random() < 0.9 else 1 - i % 2, (x, y, *size)))
        found.append(tracks)
    return record(*frames, ignored=regions, name=name), {"tracks": found}


def _bdd100k(rows: list[tuple[int, int, tuple]], last: int, crowd: bool = False) -> list[dict]:
    return [
        {
            "id": track,
            "category": BDD_NAMES[cls],
            "box2d": {"x1": x, "y1": y, "x2": x + w - last, "y2": y + h - last},
            **({"attributes": {"Crowd": True}} if crowd else {}),
        }
        for track, cls, (x, y, w, h) in rows
    ]


def _trackeval(folder, labels: list[dict], found: list[dict], last: int) -> dict:
    """What TrackEval's own evaluator makes of files of BDD100K; ``last``: how much less a corner is."""
    for each, answered in zip(labels, found):
        truth, tracks = [], []
        for t, objects in enumerate(each["annotations"]):
            rows = [(o["id"], o["category_id"], o["bbox"]) for o in objects]
            zones = [(o["id"], 0, o["bbox"]) for o in each["ignored"][t][:1]]
            given = _bdd100k(rows, last) + _bdd100k(zones, last, crowd=True)
            truth.append({"index": t, "labels": given})
            tracks.append({"index": t, "labels": _bdd100k(answered["tracks"][t], last)})
        for path, content in (("gt", truth), ("trackers/t/data", tracks)):
            (folder / path).mkdir(parents=True, exist_ok=True)
            (folder / path / f"{each['sequence']}.json").write_text(json.dumps(content))
    classes = {"CLASSES_TO_EVAL": BDD_NAMES}
    return evaluate_files("BDD100K", folder / "gt", folder / "trackers", groups=True, **classes)


@pytest.mark.parametrize("benchmark", ["MOT17", "BDD100K"])
def test_all_numbers_are_trackevals(tmp_path, capfd, benchmark):
    rng = np.random.default_rng(0)
    labels, found = zip(*(_random_sequence(rng, name) for name in ("a", "b")), strict=True)
    last = 1 if benchmark == "BDD100K" else 0
    expected = _trackeval(tmp_path / "bdd", labels, found, last)
    truth = truth_of(*labels, names=BDD_NAMES, numbers=[1, 4], benchmark=benchmark)
    answers = [answer(*each["tracks"]) for each in found]
    mot = score(truth, tmp_path / "ours", *answers)
    groups = {name: name for name in truth.rule.groups if name != "BIKE"} if truth.rule else {}
    names = {name: name for name in BDD_NAMES}
    assert_equal_results(tmp_path / "ours" / "results.json", expected, names, groups=groups)
    both = expected["COMBINED_SEQ"]
    for name in BDD_NAMES:
        assert mot[f"HOTA-{name}"] == 100 * float(np.mean(both[name]["HOTA"]["HOTA"]))
        assert both[name]["CLEAR"]["IDSW"] > 0
    assert mot["HOTA"] == 100 * float(np.mean(both["cls_comb_cls_av"]["HOTA"]["HOTA"]))
    # The regions made a difference.
    without = [{k: v for k, v in each.items() if k != "ignored"} for each in labels]
    plain = truth_of(*without, names=BDD_NAMES, numbers=[1, 4], benchmark=benchmark)
    assert score(plain, tmp_path / "plain", *answers)["FP"] > mot["FP"]


@pytest.mark.parametrize("name", ["SYN-01", "SYN-02", "SYN-04", "SYN-05"])
def test_one_class_without_regions_is_scored_as_pedestrians_are(tmp_path, name):
    write_golden(tmp_path)
    truth = golden_truth(tmp_path)
    rows = truth.rows[name]
    rows = rows.select((rows.cls == 1) & (rows.flag == 1))
    results = truth.read_results(tmp_path / "results")[name]
    length = truth.sequences[name].num_frames
    expected = box_metrics("MOT17", rows, results, length, name)
    found = class_box_metrics(rows, results, length, name)
    for family, fields in expected.items():
        for field, value in fields.items():
            np.testing.assert_array_equal(found[family][field], value, err_msg=field)


def test_a_class_without_objects_is_not_in_the_average(tmp_path, caplog):
    one = record([annotation(5, 0, A)])
    with caplog.at_level(logging.INFO):
        mot = score(truth_of(one), tmp_path, answer([(0, 0, A), (1, 1, C)]))
    assert mot["HOTA"] == mot["HOTA-cat"] == 100
    assert math.isnan(mot["HOTA-dog"])
    assert mot["FP"] == 1  # all that is found counts
    assert "Not in the class average, having no objects: dog" in caplog.text
    written = json.loads((tmp_path / "results.json").read_text())
    assert written["classes"]["dog"]["combined"]["summary"]["HOTA"] is None


def test_a_video_without_one_of_the_classes(tmp_path):
    cats, dogs = record([annotation(5, 0, A)], name="a"), record([annotation(5, 1, A)], name="b")
    mot = score(truth_of(cats, dogs), tmp_path, answer([(0, 0, A)]), answer([(0, 1, A)]))
    assert [mot[f"{key}-{name}"] for key in ("HOTA", "MOTA") for name in NAMES] == [100] * 4
    assert mot["HOTA"] == mot["IDF1"] == 100


def test_what_is_found_in_a_region_to_ignore_does_not_count(tmp_path):
    region = [annotation(9, 0, (20, 20, 30, 20))]
    labels = record([annotation(5, 0, A), annotation(6, 1, B)], ignored=[region])
    inside, half, out = (22, 22, 4, 4), (15, 22, 10, 4), (14, 22, 10, 4)
    objects = [(0, 0, A), (1, 1, B)]
    for box, cls, false_positives in (
        (inside, 0, 0),
        (half, 0, 1),  # of which just half lies in the region
        (out, 0, 1),
        (inside, 1, 1),  # the region is one of cats
    ):
        mot = score(truth_of(labels), tmp_path, answer([*objects, (2, cls, box)]))
        assert (mot["FP"], mot["FN"]) == (false_positives, 0), (box, cls)


def test_an_object_in_a_region_to_ignore_is_found(tmp_path):
    labels = record([annotation(5, 0, A)], ignored=[[annotation(9, 0, (0, 0, 30, 30))]])
    mot = score(truth_of(labels), tmp_path, answer([(0, 0, A), (1, 0, (12, 12, 5, 5))]))
    assert mot["HOTA"] == mot["MOTA"] == 100
    assert score(truth_of(labels), tmp_path, answer([]))["FN"] == 1


def _rle(x0: int, x1: int) -> dict:
    mask = torch.zeros(1, *SIZE, dtype=torch.bool)
    mask[0, :, x0:x1] = True
    return encode_masks(mask)[0]


def test_masks_of_several_classes(tmp_path):
    labels = record(
        [
            annotation(5, 0, A, segmentation=_rle(0, 4)),
            annotation(6, 1, A, segmentation=_rle(4, 8)),
        ],
        ignored=[[annotation(9, 0, (20, 0, 10, SIZE[0]))]],  # without a mask: its box
    )
    found = answer([(0, 0, A), (1, 1, A), (2, 1, A)])
    found["frames"][0].pred_rles = [_rle(0, 4), _rle(4, 8), _rle(22, 30)]
    mot = score(truth_of(labels, benchmark="MOTS20"), tmp_path, found)
    assert mot["sMOTSA"] == mot["HOTA"] == mot["sMOTSA-cat"] == mot["HOTA-dog"] == 100
    assert mot["FP"] == 0
    lines = (tmp_path / "a.txt").read_text().splitlines()
    assert [line.split()[2] for line in lines] == ["7", "3", "3"]
    truth = truth_of(labels, benchmark="MOTS20")
    again = truth.compare("a", truth.read_results(tmp_path)["a"])
    assert MOTReport.of(truth, {"a": again}).classes["dog"].summaries[COMBINED]["HOTA"] == 100
    with pytest.raises(UserError, match="frame 1: track 5 has no mask"):
        truth_of(TWO, benchmark="MOTS20")
    with pytest.raises(UserError, match="category id 10 marks regions to ignore"):
        truth_of(labels, numbers=[1, 10], benchmark="MOTS20")


@pytest.mark.parametrize("cls", [2, -1])
def test_a_class_that_the_data_set_lacks(tmp_path, cls):
    with pytest.raises(UserError, match=rf"frame 2: class {cls}; .* 0 \(cat\), 1 \(dog\)"):
        score(truth_of(TWO), tmp_path, answer([], [(0, 0, A), (1, cls, A)]))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("1,1,1,1,10,10,1,1,-1,-1", "line 1: column 8 is 1, not a class that is scored \\(3, 7\\)"),
        ("1,1,1,1,10,10,1,-1,-1,-1", "line 1: column 8 is -1"),
        ("1,1,1,1,10,10,1,7.5,-1,-1", "line 1: column 8 is 7.5"),
        ("1,1,1,1,10,10,1", "line 1: it has 7 columns split by commas, not 8 to 10"),
    ],
)
def test_faulty_classes_in_files_of_results(tmp_path, line, message):
    (tmp_path / "a.txt").write_text(f"{line}\n")
    with pytest.raises(UserError, match=f"a.txt, {message}"):
        truth_of(TWO).read_results(tmp_path)


@pytest.mark.parametrize("column", ["-1", "7"])
def test_the_only_class_may_be_named_or_not(tmp_path, column):
    truth = truth_of(record([annotation(5, 0, A)]), names=["cat"], numbers=[7])
    (tmp_path / "a.txt").write_text(f"1,1,1,1,10,10,1,{column},-1,-1\n")
    (metrics,) = truth.compare("a", truth.read_results(tmp_path)["a"]).values()
    assert metrics["CLEAR"]["MOTA"] == 1
    (tmp_path / "a.txt").write_text("1,1,1,1,10,10,1,1,-1,-1\n")
    with pytest.raises(UserError, match=r"column 8 is 1, not a class that is scored \(-1, 7\)"):
        truth.read_results(tmp_path)


def test_results_that_are_not_scored_are_counted(tmp_path, caplog):
    labels = record([annotation(5, 0, A, segmentation=_rle(0, 4))])
    truth = truth_of(labels, names=["cat"], numbers=[2], benchmark="MOTS20")
    codes = [_rle(0, 4), _rle(4, 8)]
    lines = [
        f"1 {k} {k} {SIZE[0]} {SIZE[1]} {c['counts'].decode()}\n" for k, c in zip((2, 1), codes)
    ]
    (tmp_path / "a.txt").write_text("".join(lines))
    (tmp_path / "b.txt").write_text("")
    truth.read_results(tmp_path)
    assert f"{tmp_path}: 1 of 2 masks are used; left out: 1 of class 1" in caplog.text
    assert (
        "1 of 2 files of results are used; left out: 1 of no sequence of here (b.txt)"
        in caplog.text
    )


def test_labels_of_which_nothing_counts_end_before_anything_runs():
    region = annotation(9, 0, A)
    with pytest.raises(
        UserError, match="here: 0 of 1 labelled objects are used; left out: 1 to ignore"
    ):
        truth_of(record([], ignored=[[region]]))
    with pytest.raises(UserError, match="here has no labelled objects; nothing could be scored"):
        truth_of(record([]))


def test_golden_answers_of_one_class_have_no_class_column(tmp_path):
    write_golden(tmp_path)
    inputs, outputs = golden_answers(tmp_path)
    evaluator = MOTEvaluator(golden_truth(tmp_path), str(tmp_path / "out"))
    evaluator.process(inputs, outputs)
    assert not any("-" in key for key in evaluator.evaluate()["mot"])
    lines = (tmp_path / "out" / "SYN-01.txt").read_text().splitlines()
    assert {line.split(",", 7)[7] for line in lines} == {"-1,-1,-1"}
    results = golden_truth(tmp_path).read_results(tmp_path / "out")["SYN-01"]
    write_results(tmp_path / "again.txt", results, range(1, 1000))
    assert (tmp_path / "again.txt").read_text().splitlines() == lines
