"""Errors of panoptic maps, classified videos and restored images; evaluators that a project registers."""

import logging

import numpy as np
import pytest
import torch
from detectron2.evaluation import DatasetEvaluator, DatasetEvaluators

from d2video.data.class_matching import ClassMatch
from d2video.evaluation import (
    PanopticEvaluator,
    RestorationEvaluator,
    VideoClassificationEvaluator,
)
from d2video.evaluation.errors import Breakdown, ErrorFinder, find_errors
from d2video.evaluation.mapped import MappedClasses
from tests.helpers.coco_sets import register_panoptic

# Two things of category 4, one of 9, stuff of 120; a column each is two pixels.
IDS = np.array([[1, 1, 1, 1, 2, 2, 3, 3, 3, 3, 5, 5, 5, 5]] * 2)
SEGMENTS = [
    {"id": 1, "category_id": 4},
    {"id": 2, "category_id": 4},
    {"id": 3, "category_id": 9},
    {"id": 5, "category_id": 120},
]


def breakdown(evaluator, inputs, answers):
    finder = ErrorFinder(evaluator, 0.5)
    finder.reset()
    finder.process(inputs, answers)
    return finder.evaluate(), finder.breakdowns


def test_segments(tmp_path, scratch_catalog):
    """The first is found, the second not seen, the third is of a wrong class and the stuff cut in half."""
    register_panoptic("mine", tmp_path, {5: (IDS, SEGMENTS)})
    ids = torch.tensor([[1, 1, 1, 1, 0, 0, 3, 3, 3, 0, 0, 0, 0, 9]] * 2)
    segments = [
        {"id": 1, "category_id": 0, "isthing": True},
        {"id": 3, "category_id": 0, "isthing": True},
        {"id": 9, "category_id": 3, "isthing": False},
    ]
    answer = {"panoptic_seg": (ids, segments)}
    results, (found,) = breakdown(
        PanopticEvaluator.from_dataset("mine"), [{"image_id": 5}], [answer]
    )
    assert [(row["object"], row["cause"], row["area"]) for row in found.objects] == [
        (1, "found", 8),
        (2, "not seen", 4),
        (3, "wrong class", 8),
        (5, "poor overlap", 8),
    ]
    quality, *_, confused, _ = found.tables.values()
    rows = {row["segments"]: row for row in quality}
    for suffix, group in (("", "all"), ("_th", "things"), ("_st", "stuff")):
        for key in ("PQ", "SQ", "RQ"):
            assert rows[group][key] == results["panoptic_seg"][key + suffix]
    (whole, things) = rows["all"], rows["things"]
    assert [whole[key] for key in ("found", "missed", "false")] == [1, 3, 2]
    kinds = ("… other class", "… poor", "… background")
    assert [whole[key] for key in kinds] == [1, 1, 0]
    assert [things[key] for key in kinds] == [1, 0, 0]
    assert [row["objects"] for row in confused] == [1]


def test_classes(tmp_path):
    names = list("abcdefg")
    evaluator = VideoClassificationEvaluator(names, str(tmp_path), source="videos")
    order = torch.tensor([0.4, 0.2, 0.15, 0.1, 0.08, 0.05, 0.02])  # a first, then b, c, ...
    labels = [0, 1, 4, 6, None]
    inputs = [{"video_id": i, "file_name": f"{i}.mp4", "label": k} for i, k in enumerate(labels)]
    _, (found,) = breakdown(evaluator, inputs, [{"scores": order}] * 5)
    assert [row["cause"] for row in found.objects] == [
        "right",
        "second",
        "first 5",
        "not among them",
    ]
    assert [row["true_score"] for row in found.objects] == pytest.approx([0.4, 0.2, 0.08, None])
    ranks, confused, wrong = found.tables.values()
    assert [row["%"] for row in ranks] == [25] * 4
    assert [(row["true class"], row["predicted"]) for row in confused] == [
        *(("b", "a"), ("e", "a"), ("g", "a"))
    ]
    assert [row["file"] for row in wrong] == ["1.mp4", "2.mp4", "3.mp4"]


def test_restored_images(tmp_path):
    """The first image is restored, the second made worse, the third needs no change."""
    generator = torch.Generator().manual_seed(0)
    target = torch.randint(0, 256, (3, 32, 32), generator=generator).byte()
    noisy = (target + 8 * torch.randn(3, 32, 32, generator=generator)).clamp(0, 255)
    evaluator = RestorationEvaluator(str(tmp_path), source="images")
    inputs = [
        {"task": "denoise_30", "file_name": name, "image": image, "target": target}
        for name, image in (("a", noisy), ("b", noisy), ("c", target.float()))
    ]
    restored = 0.9 * target + 0.1 * noisy, 2 * noisy, target.float()
    answers = [{"restored": image} for image in restored]
    _, (found,) = breakdown(evaluator, inputs, answers)
    causes = [row["cause"] for row in found.objects]
    assert causes == ["better than the baseline", *["not better than the baseline"] * 2]
    (task,), worst = found.tables.values()
    assert (task["images"], task["not better"]) == (3, 2)
    assert task["lowest"] < task["median"] < task["highest"]
    assert [row["image"] for row in worst] == ["b", "a", "c"]


class Own(DatasetEvaluator):
    def evaluate(self):
        return {"own": {"score": 1.0}}


def test_an_evaluator_of_a_project(caplog):
    finder = ErrorFinder(DatasetEvaluators([Own()]), 0.25)
    with caplog.at_level(logging.WARNING):
        assert finder.evaluate() == {"own": {"score": 1.0}}
    assert finder.breakdowns == []
    assert "Own has no breakdown of errors" in caplog.text

    @find_errors.register
    def _(evaluator: Own, min_score: float) -> list[Breakdown]:
        return [Breakdown("own", {"empty": [], "table": [{"score": min_score}]}, [])]

    mapped = MappedClasses(Own(), ClassMatch(("a",), ("b", "a")))
    (found,) = find_errors(DatasetEvaluators([mapped]), 0.25)
    assert found.text() == "own: table\n|   score |\n|--------:|\n|    0.25 |"
