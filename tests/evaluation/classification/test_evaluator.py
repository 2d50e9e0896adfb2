"""Top-1, top-5 and mean class accuracy, as detectron2 drives the evaluator."""

import json
import logging
import math

import numpy as np
import pytest
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog
from PIL import Image

from d2video.evaluation import VideoClassificationEvaluator, build_evaluator
from d2video.evaluation.classification.confusion_matrix import draw_confusion
from d2video.evaluation.classification.evaluator import most_confused
from d2video.utils.errors import UserError

NAMES = ["left", "right", "up", "down", "clockwise", "anticlockwise", "none"]


def make(folder, names=NAMES) -> VideoClassificationEvaluator:
    return VideoClassificationEvaluator(names, str(folder), source="dataset mine")


def ranked(*order: int, count: int = len(NAMES)) -> dict[str, torch.Tensor]:
    """An answer whose classes come in this order, then all others."""
    scores = torch.zeros(count)
    scores[list(order)] = torch.linspace(0.9, 0.1, len(order))
    return {"scores": scores}


def video(video_id: int, label: int | None = None) -> dict:
    given = {"video_id": video_id, "file_name": f"{video_id}.mp4", "views": []}
    return given if label is None else {**given, "label": label}


# Three of "left" (first, second, sixth place), one of "right" (first), one of "down" (fifth).
INPUTS = [video(7, 0), video(2, 0), video(5, 0), video(1, 1), video(4, 3)]
OUTPUTS = [
    ranked(0),
    ranked(1, 0),
    ranked(1, 2, 3, 4, 5, 0),
    ranked(1),
    ranked(0, 1, 2, 4, 3),
]
EXPECTED = {
    "top1": 40,
    "top5": 80,
    "mean_class_accuracy": 100 * (1 / 3 + 1 + 0) / 3,
    "top1-left": 100 / 3,
    "top1-right": 100,
    "top1-up": math.nan,
    "top1-down": 0,
    **{f"top1-{name}": math.nan for name in NAMES[4:]},
}


def test_hand_computed_case(tmp_path, caplog):
    evaluator = make(tmp_path)
    evaluator.process([video(1, 2)], [ranked(0)])
    evaluator.reset()
    evaluator.process(INPUTS[:2], OUTPUTS[:2])
    evaluator.process(INPUTS[2:], OUTPUTS[2:])
    with caplog.at_level(logging.INFO):
        results = evaluator.evaluate()
    assert list(results) == ["classification"]
    assert list(results["classification"]) == list(EXPECTED)
    assert results["classification"] == pytest.approx(EXPECTED, nan_ok=True)
    # By accuracy, with counts; classes without videos last.
    table = caplog.text[caplog.text.index("By class") :]
    rows = [[cell.strip() for cell in row.split("|")[1:4]] for row in table.splitlines()[3:10]]
    assert rows[:3] == [["right", "100.00", "1"], ["left", "33.33", "3"], ["down", "0.00", "1"]]
    assert rows[3] == ["up", "nan", "0"]
    assert "| left         | right       |        2 |" in caplog.text

    content = json.loads((tmp_path / "predictions.json").read_text())
    assert content["classes"] == NAMES
    assert [each["video_id"] for each in content["videos"]] == [1, 2, 4, 5, 7]
    second = content["videos"][1]
    assert (second["file_name"], second["label"]) == ("2.mp4", 0)
    assert [each["label"] for each in second["top5"]] == [1, 0, 2, 3, 4]
    assert [each["name"] for each in second["top5"][:2]] == ["right", "left"]
    assert [each["score"] for each in second["top5"]] == pytest.approx([0.9, 0.1, 0, 0, 0])
    assert {path.name for path in tmp_path.iterdir()} == {"predictions.json", "confusion.png"}


def test_equal_scores_go_by_index_and_few_classes(tmp_path):
    # All scores are equal: class 0 is predicted, and 0 to 4 are the first five.
    evaluator = make(tmp_path)
    evaluator.process([video(i, i) for i in range(7)], [ranked()] * 7)
    results = evaluator.evaluate()["classification"]
    assert results["top1"] == pytest.approx(100 / 7)
    assert results["top5"] == pytest.approx(500 / 7)
    evaluator = make(tmp_path, NAMES[:3])
    evaluator.process([video(1, 2), video(2, 1)], [ranked(0, count=3), ranked(1, count=3)])
    results = evaluator.evaluate()["classification"]
    assert (results["top1"], results["top5"]) == (50, 100)
    assert len(json.loads((tmp_path / "predictions.json").read_text())["videos"][0]["top5"]) == 3


def test_secret_labels(tmp_path, caplog):
    evaluator = make(tmp_path)
    evaluator.process([video(1), video(2)], [ranked(3), ranked(4)])
    with caplog.at_level(logging.INFO):
        assert evaluator.evaluate() == {}
    assert "dataset mine has no labels: nothing is scored" in caplog.text
    content = json.loads((tmp_path / "predictions.json").read_text())
    assert [each["label"] for each in content["videos"]] == [None, None]
    assert not (tmp_path / "confusion.png").exists()
    evaluator.process([video(3, 3)], [ranked(3)])
    assert evaluator.evaluate()["classification"]["top1"] == 100
    assert "2 of 3 videos have no label and are not scored" in caplog.text


def test_features_in_place_of_videos(tmp_path):
    evaluator = make(tmp_path)
    given = {"video_id": 1, "feature_file": "features/a.npz", "label": 0}
    evaluator.process([given], [ranked(0)])
    evaluator.evaluate()
    content = json.loads((tmp_path / "predictions.json").read_text())
    assert content["videos"][0]["file_name"] == "features/a.npz"


@pytest.mark.parametrize(
    ("given", "answer", "message"),
    [
        (video(1, 0), {"instances": None}, "the model does not answer with scores of classes"),
        (video(1, 0), ranked(0, count=8), r"video 1 \(1\.mp4\) have the shape \[8\], .* 7 classes"),
        (video(1, 0), {"scores": torch.zeros(1, 7)}, r"shape \[1, 7\]"),
        (video(1, 7), ranked(0), "the label of video 1 .* is 7, .* numbered 0 to 6"),
        (video(1, -1), ranked(0), "is -1"),
        (video(1), {"scores": torch.full((7,), math.nan)}, "not finite"),
        (video(9, 0), ranked(0), r"video 9 \(9\.mp4\) was answered twice"),
    ],
)
def test_answers_that_do_not_fit(tmp_path, given, answer, message):
    evaluator = make(tmp_path)
    evaluator.process([video(9)], [ranked(1)])
    with pytest.raises(UserError, match=message):
        evaluator.process([given], [answer])


def test_registered_and_classes_that_are_known_late(tmp_path, scratch_catalog):
    metadata = MetadataCatalog.get("late").set(evaluator_type="video_classification")
    with pytest.raises(UserError, match="dataset late has no thing_classes in its metadata"):
        build_evaluator("late", str(tmp_path))
    DatasetCatalog.register("late", lambda: metadata.set(thing_classes=["a", "b"]) and [])
    evaluator = build_evaluator("late", str(tmp_path))
    evaluator.process([video(1, 1)], [ranked(1, count=2)])
    assert evaluator.evaluate()["classification"]["top1-b"] == 100
    with pytest.raises(UserError, match="dataset late: .* the dataset has 2 classes"):
        evaluator.process([video(2, 1)], [ranked(1)])


def test_most_confused():
    confusion = np.array([[9, 2, 0], [1, 9, 5], [0, 0, 9]])
    assert most_confused(confusion, 2) == [(1, 2, 5), (0, 1, 2)]
    assert most_confused(confusion, 9) == [(1, 2, 5), (0, 1, 2), (1, 0, 1)]


@pytest.mark.parametrize("count", [1, 8, 40])
def test_confusion_picture(tmp_path, count):
    confusion = np.diag(np.arange(count) % 3 + 1)
    confusion[0] = 0  # a class without videos
    names = [f"class number {index}" for index in range(count)]
    draw_confusion(tmp_path / "c.png", confusion, names)
    pixels = np.asarray(Image.open(tmp_path / "c.png").convert("RGB")).astype(int)
    cell = 50 if count <= 8 else 10
    # Lines between the cells are a lighter grey, all else is lighter still.
    is_grey = (np.abs(pixels - 0xD0) < 20).all(-1)
    grey = (is_grey.sum(1) > 0.5 * count * cell).sum()
    assert abs(grey - cell) <= 3  # one row
    # The diagonal is the darkest blue of the map: right answers alone.
    dark = (np.abs(pixels - [8, 48, 107]).sum(-1) < 6).sum()
    assert dark > 0.6 * (count - 1) * cell**2
