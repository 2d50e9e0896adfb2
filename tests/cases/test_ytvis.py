"""YouTube-VIS files: check, training and evaluation come to one verdict, and nothing is lost."""

import copy
import json
import logging
import re

import pytest
from detectron2.data import DatasetCatalog

from d2video.cli.check import main as check
from d2video.data.datasets.ytvis import load_ytvis_json, register_ytvis_instances
from d2video.evaluation import build_evaluator
from d2video.formats.faults import Doubt, Fault
from d2video.utils.errors import UserError
from tests.helpers.perfect_answers import perfect_answers
from tests.helpers.verdicts import check_agrees

NAME = "case"


@pytest.fixture
def val(pictures):
    """The content of two generated videos."""
    return json.loads((pictures / "shapes/val.json").read_text())


@pytest.fixture
def register(pictures, scratch_catalog, write_json):
    def register(content) -> str:
        path = content if isinstance(content, str) else write_json(content)
        register_ytvis_instances(NAME, {}, path, str(pictures / "shapes/val/JPEGImages"))
        return path

    return register


def _score(folder) -> float:
    """AP of an answer that is made of the training records."""
    records = DatasetCatalog.get(NAME)
    evaluator = build_evaluator(NAME, str(folder))
    evaluator.reset()
    evaluator.process(*perfect_answers(NAME, records))
    return evaluator.evaluate()["segm"]["AP"]


def _checked(path, root, capsys) -> tuple[int, str]:
    status = 0
    try:
        check(["--json", path, "--image-root", root, "--num-workers", "0"])
    except SystemExit as end:
        status = end.code
    return status, capsys.readouterr().out


def test_missing_boxes_are_derived(inputs, register, pictures, val, tmp_path, capsys):
    path = register(str(inputs / "ytvis/no_bboxes.json"))
    assert _score(tmp_path) == pytest.approx(100)
    check_agrees(NAME)
    assert _checked(path, str(pictures / "shapes/val/JPEGImages"), capsys)[0] == 0
    records = DatasetCatalog.get(NAME)
    derived = {
        (a["id"], t): a["bbox"] for r in records for t, f in enumerate(r["annotations"]) for a in f
    }
    given = {
        (a["id"], t): box
        for a in val["annotations"]
        for t, box in enumerate(a["bboxes"])
        if box is not None
    }
    assert derived.keys() == given.keys()
    for key, box in derived.items():
        assert box == pytest.approx(given[key], abs=1)


def test_corners_for_boxes_are_doubted(inputs, pictures, capsys):
    path = str(inputs / "boxes/ytvis_xyxy.json")
    status, printed = _checked(path, str(pictures / "shapes/val/JPEGImages"), capsys)
    assert status == 1
    assert "doubt: " in printed
    assert "95 %" in printed
    assert "contradict their masks; read as corners x0, y0, x1, y1, 20 of 20 fit" in printed


def _set(key, value):
    def change(content):
        content["annotations"][0][key] = value

    return change


def _frame(key, value):
    def change(content):
        content["annotations"][0][key][1] = value

    return change


def _ids_from_0(content):
    for number, annotation in enumerate(content["annotations"]):
        annotation["id"] = number


def _crowd_of(content, **fields):
    crowd = copy.deepcopy(content["annotations"][0])
    content["annotations"].append({**crowd, "id": 99, **fields})


def _without(key):
    def change(content):
        for annotation in content["annotations"]:
            del annotation[key]

    return change


USED = {  # what is sound, and what is told of it
    "as it is": (lambda content: None, None),
    "annotation ids from 0": (_ids_from_0, None),
    "no areas": (_without("areas"), None),
    "no iscrowd": (_without("iscrowd"), None),
    "null for iscrowd": (_set("iscrowd", None), None),
    "a box of zeros": (_frame("bboxes", [0, 0, 0, 0]), "1 whose box is 0,0,0,0 (the mask's is"),
    "a box without area": (_frame("bboxes", [4, 4, 0, 9]), "1 whose box has no area (the mask's"),
    "a box outside": (_frame("bboxes", [96, 4, 9, 9]), "1 whose box lies outside the image (the"),
    "no box": (_frame("bboxes", None), None),
    "no mask": (_frame("segmentations", None), "boxes are used; left out: 1 without a mask"),
    "an empty mask": (
        _frame("segmentations", {"size": [64, 96], "counts": [64 * 96]}),
        "1 whose mask is empty",
    ),
    "a crowd": (
        lambda content: _crowd_of(content, iscrowd=1),
        "tracks are used; left out: 1 with is",
    ),
    "a video without labels": (
        lambda content: content["annotations"].__delitem__(
            slice(0, sum(a["video_id"] == 1 for a in content["annotations"]))
        ),
        None,
    ),
}


@pytest.mark.parametrize("kind", USED)
def test_what_is_used_scores_best(kind, register, val, tmp_path, capsys, pictures, caplog):
    change, told = USED[kind]
    change(val)
    path = register(val)
    with caplog.at_level(logging.WARNING):
        assert _score(tmp_path) == pytest.approx(100)
    warnings = [each.getMessage() for each in caplog.records if path in each.getMessage()]
    assert len(warnings) == (told is not None)  # once, though three read the file
    check_agrees(NAME)
    status, printed = _checked(path, str(pictures / "shapes/val/JPEGImages"), capsys)
    assert status == 0
    if told is None:
        assert "left out" not in printed
    else:
        assert told in printed
        assert told in warnings[0]


DOUBTED = {
    "a track without a mask": (
        lambda content: _crowd_of(content, segmentations=[None] * 5, bboxes=[None] * 5),
        "1 of .* tracks have no mask in any frame",
    ),
    "ignore": (_set("ignore", 1), "1 annotations have 'ignore', which YouTube-VIS does not know"),
    "fractions": (
        lambda content: [
            _scale(annotation["bboxes"], (1 / 96, 1 / 64)) for annotation in content["annotations"]
        ],
        "read as x, y, width, height as fractions of the image",
    ),
}


def _scale(boxes, scale):
    boxes[:] = [box and [n * s for n, s in zip(box, scale * 2)] for box in boxes]


@pytest.mark.parametrize("kind", DOUBTED)
def test_doubts(kind, register, val):
    change, message = DOUBTED[kind]
    change(val)
    found = []
    load_ytvis_json(register(val), "", report=found.append)
    (doubt,) = (each for each in found if isinstance(each, Doubt))
    assert re.search(message, str(doubt))
    assert not any(isinstance(each, Fault) for each in found)


def test_only_crowds_end_with_the_reason(register, val):
    for annotation in val["annotations"]:
        annotation["iscrowd"] = 1
    register(val)
    count = len(val["annotations"])
    with pytest.raises(UserError, match=f"left out: {count} with iscrowd 1: nothing is left"):
        DatasetCatalog.get(NAME)
