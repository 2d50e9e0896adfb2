"""A model's classes are those of a test set by name, whatever their numbers, in every format.

The model is a stub that knows the labels of the test set and answers them in its own classes.
"""

from copy import deepcopy

import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog

from d2video.engine import VideoTrainer
from d2video.formats import faults
from d2video.utils.errors import UserError
from tests.cases.class_sets import (
    FORMATS,
    Format,
    classification,
    coco,
    evaluated,
    first_used,
    is_perfect,
    renamed,
    renumbered,
    without,
)
from tests.projects.DETR.tiny import tiny_cfg


@pytest.fixture(params=FORMATS)
def given(request, pictures, tmp_path, scratch_catalog) -> Format:
    return FORMATS[request.param](pictures, tmp_path)


@pytest.fixture
def told(monkeypatch):
    """What readers and the matching of classes tell by the log, however often."""
    said: list[str] = []
    monkeypatch.setattr(faults, "log_first_n", lambda level, text, **_: said.append(text))
    return said


def test_same_classes(given, tmp_path, told):
    results, _ = evaluated(given, given.content, tmp_path)
    assert is_perfect(given, results)
    assert not told


def test_other_order(given, tmp_path, told):
    results, _ = evaluated(given, renumbered(given.content, lambda i: 100 - i), tmp_path)
    assert MetadataCatalog.get("test").thing_classes != MetadataCatalog.get("train").thing_classes
    assert is_perfect(given, results)
    assert not told


def test_an_imperfect_model_scores_the_same_in_any_order(given, tmp_path):
    """Some classes are mistaken for the next one, others are right."""
    answer = given.answer

    def mistaken(item, record, numbers):
        is_odd = sum(map(ord, str(item.get("image_id", item.get("video_id"))))) % 2
        return answer(item, record, [(n + is_odd) % 2 if n < 2 else n for n in numbers])

    given.answer = mistaken
    first, _ = evaluated(given, given.content, tmp_path)
    assert not is_perfect(given, first)
    for name in ("train", "test"):
        DatasetCatalog.remove(name)
        MetadataCatalog.remove(name)
    second, _ = evaluated(given, renumbered(given.content, lambda i: 100 - i), tmp_path)
    assert first.keys() == second.keys()
    for task, values in first.items():
        assert second[task] == pytest.approx(values, nan_ok=True)


def test_names_of_the_training_set_stand_for_those_of_the_model(given, tmp_path):
    """As with a checkpoint that has none."""
    content = renumbered(given.content, lambda i: 100 - i)
    results, _ = evaluated(given, content, tmp_path, is_named=False)
    assert is_perfect(given, results)


def test_parent_class_without_labels(given, tmp_path, told):
    content = deepcopy(given.content)
    content["categories"].insert(0, {"id": 0, "name": "anything", "isthing": 1})
    results, _ = evaluated(given, content, tmp_path)
    assert is_perfect(given, results)
    (text,) = told
    assert "without annotations (anything)" in text


def test_some_of_the_classes(given, tmp_path, told):
    results, _ = evaluated(given, without(given.content, first_used(given.content)), tmp_path)
    assert is_perfect(given, results)
    assert not told


def test_class_that_the_model_lacks_is_refused_before_anything_runs(given, tmp_path):
    content = renamed(given.content, first_used(given.content), "star")
    error, model = evaluated(given, content, tmp_path)
    assert isinstance(error, UserError)
    assert "dataset test has annotations of 'star'" in str(error)
    assert "TEST.COMMON_CLASSES_ONLY" in str(error)
    assert model.calls == 0


def test_common_classes_only(given, tmp_path, told):
    content = renamed(given.content, first_used(given.content), "star")
    content = renumbered(content, lambda i: 100 - i)
    results, _ = evaluated(given, content, tmp_path, "TEST.COMMON_CLASSES_ONLY", True)
    assert is_perfect(given, results)
    assert not any("star" in key for values in results.values() for key in values)
    (text,) = told
    assert "1 that the model lacks (star)" in text


def test_further_classes_of_the_model_compete(pictures, tmp_path, scratch_catalog):
    """Of a classifying model whose best class the data set lacks the answer is wrong."""
    given = classification(pictures, tmp_path)
    answer = given.answer

    def second_best(item, record, numbers):
        scores = answer(item, record, numbers)["scores"] * 0.5
        scores[0] = 1.0  # "left"
        return {"scores": scores}

    given.answer = second_best
    results, _ = evaluated(given, without(given.content, "left"), tmp_path)
    assert results["classification"]["top1"] == 0


@pytest.mark.parametrize("is_only", [False, True])
def test_start_of_training(pictures, tmp_path, scratch_catalog, is_only, told):
    given = coco(pictures, tmp_path)
    given.register("train", given.content)
    given.register("test", renamed(given.content, first_used(given.content), "star"))
    cfg = tiny_cfg(
        *("DATASETS.TRAIN", ("train",), "DATASETS.TEST", ("test",), "OUTPUT_DIR", str(tmp_path)),
        *(
            "DATALOADER.NUM_WORKERS",
            0,
            "SOLVER.IMS_PER_BATCH",
            2,
            "TEST.COMMON_CLASSES_ONLY",
            is_only,
        ),
    )
    trainer = VideoTrainer(cfg)
    if is_only:
        trainer.resume_or_load(resume=False)
        assert any("1 that the model lacks (star)" in text for text in told)
        return
    with pytest.raises(UserError, match="dataset test has annotations of 'star'"):
        trainer.resume_or_load(resume=False)
