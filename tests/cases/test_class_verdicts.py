"""check says of the classes of several data sets, of a model and of a checkpoint what training says."""

import json
from copy import deepcopy

import torch
from detectron2.data import DatasetCatalog, MetadataCatalog
from torch import nn

from d2video.cli.dataset_check import check_classes
from d2video.config import get_cfg
from d2video.engine import VideoTrainer
from d2video.evaluation import match_test_sets
from d2video.formats import faults
from d2video.utils.errors import UserError
from tests.cases.class_sets import (
    coco,
    evaluated,
    first_used,
    is_perfect,
    labels_of,
    panoptic,
    registered_cfg,
    renamed,
    renumbered,
    without,
    ytvis,
)


def verdicts(cfg) -> tuple[list[str], list[str]]:
    """What check says of the classes, and what training does, before its first step."""
    found = check_classes(cfg)
    assert not any(isinstance(each, faults.Doubt) for each in found)
    checked = [str(each) for each in found if isinstance(each, faults.Fault)]
    try:
        VideoTrainer(cfg).resume_or_load(resume=False)
    except UserError as error:
        return checked, [str(error)]
    return checked, []


def test_check_gives_the_verdict_of_training_on_test_sets(pictures, tmp_path, scratch_catalog):
    given = coco(pictures, tmp_path)
    star = renamed(given.content, first_used(given.content), "star")
    cfg = registered_cfg(
        *(given, tmp_path, "DATASETS.TRAIN", ("train",), "DATASETS.TEST", ("test",)),
        **{"train": given.content, "test": star},
    )
    checked, trained = verdicts(cfg)
    assert "dataset test has annotations of 'star'" in checked[0]
    assert checked == trained
    cfg.TEST.COMMON_CLASSES_ONLY = True
    (left_out,) = check_classes(cfg)
    assert isinstance(left_out, faults.LeftOut)
    assert verdicts(cfg) == ([], [])


def test_check_gives_the_verdict_of_training_on_several_sets(pictures, tmp_path, scratch_catalog):
    given = coco(pictures, tmp_path)
    used = {label["category_id"] for label in labels_of(given.content)}
    first, second = [c["name"] for c in given.content["categories"] if c["id"] in used][:2]
    contents = {"a": renamed(given.content, first, "x"), "b": renamed(given.content, second, "y")}
    cfg = registered_cfg(given, tmp_path, "DATASETS.TRAIN", ("a", "b"), **contents)
    checked, trained = verdicts(cfg)
    assert "of several DATASETS.TRAIN one must have the classes of all" in checked[0]
    assert checked == trained


def test_check_gives_the_verdict_of_training_on_a_model_of_few_classes(
    pictures, tmp_path, scratch_catalog
):
    given = coco(pictures, tmp_path)
    number = len(given.content["categories"])
    options = ("DATASETS.TRAIN", ("train",), "MODEL.DETR.NUM_CLASSES", number - 1)
    cfg = registered_cfg(given, tmp_path, *options, train=given.content)
    checked, trained = verdicts(cfg)
    assert f"dataset train has {number} classes: set MODEL.DETR.NUM_CLASSES to" in checked[0]
    assert checked == trained
    cfg.MODEL.DETR.NUM_CLASSES = number
    assert verdicts(cfg) == ([], [])


def test_check_gives_the_verdict_of_training_on_a_checkpoint(pictures, tmp_path, scratch_catalog):
    """Its classes are the model's, not those of DATASETS.TRAIN, unless its class head starts anew."""
    given = coco(pictures, tmp_path)
    name = first_used(given.content)
    some = without(given.content, name)
    cfg = registered_cfg(
        *(given, tmp_path, "DATASETS.TRAIN", ("some",), "DATASETS.TEST", ("all",)),
        **{"some": some, "all": given.content},
    )
    cfg.DATASETS.TEST, cfg.DATASETS.TRAIN = (), ("all",)
    trainer = VideoTrainer(cfg)
    trainer.checkpointer.save_dir = str(tmp_path)
    trainer.checkpointer.checkpointables.clear()
    trainer.checkpointer.save("all")
    cfg.DATASETS.TEST, cfg.DATASETS.TRAIN = ("all",), ("some",)
    checked, trained = verdicts(cfg)
    assert f"dataset all has annotations of '{name}'" in checked[0]
    assert checked == trained
    cfg.MODEL.WEIGHTS = str(tmp_path / "all.pth")
    assert verdicts(cfg) == ([], [])
    given.register("star", renamed(given.content, name, "star"))
    cfg.DATASETS.TEST, cfg.DATASETS.TRAIN = (), ("star",)
    checked, trained = verdicts(cfg)
    assert "has annotations of 'star', which checkpoint" in checked[0]
    assert checked == trained
    cfg.MODEL.WEIGHTS_IGNORE = ("network.class_embed.",)
    assert verdicts(cfg) == ([], [])
    cfg.MODEL.WEIGHTS = str(tmp_path / "missing.pth")
    assert check_classes(cfg) == []


def test_a_class_that_is_stuff_in_training_and_a_thing_in_a_test_set(
    pictures, tmp_path, scratch_catalog
):
    given = panoptic(pictures, tmp_path)
    changed = deepcopy(given.content)
    grass = next(c for c in changed["categories"] if c["name"] == "grass")
    grass["isthing"] = 1 - grass["isthing"]
    error, model = evaluated(given, changed, tmp_path)
    told = "class 'grass' is a thing in dataset test and stuff in dataset train"
    assert told in str(error)
    assert model.calls == 0
    cfg = get_cfg()
    cfg.merge_from_list(["DATASETS.TRAIN", ("train",), "DATASETS.TEST", ("test",)])
    for read in (False, True):  # names that are known before any file is read, and after
        found: list[faults.Finding] = []
        match_test_sets(cfg, model, found.append)
        assert [told in str(each) for each in found] == [True]
        if not read:
            DatasetCatalog.get("test")


def test_training_set_that_cannot_be_read_leaves_the_numbers(
    pictures, tmp_path, scratch_catalog, caplog
):
    """It is needed for its names only."""
    given = coco(pictures, tmp_path)
    given.register("train", {})
    given.register("test", given.content)
    cfg = get_cfg()
    cfg.merge_from_list(["DATASETS.TRAIN", ("train",), "DATASETS.TEST", ("test",)])
    assert match_test_sets(cfg, nn.Module()) == [None]
    assert "they go by number" in caplog.text


def test_masks_of_another_form_end_in_one_line(pictures, tmp_path, scratch_catalog):
    """Though answers are mapped first."""
    for make, key, value in (
        (panoptic, "panoptic_seg", None),
        (panoptic, "panoptic_seg", (torch.zeros(2, 2), None)),
        (ytvis, "pred_masks", None),
        (ytvis, "pred_masks", "masks"),
    ):
        given = make(pictures, tmp_path)
        answer = given.answer
        given.answer = lambda *args, a=answer, k=key, v=value: {**a(*args), k: v}
        content = without(given.content, first_used(given.content))
        error, _ = evaluated(given, content, tmp_path)
        assert isinstance(error, UserError), error
        assert key in str(error)
        for name in ("train", "test"):
            DatasetCatalog.remove(name)
            MetadataCatalog.remove(name)


def test_class_without_a_name(pictures, tmp_path, scratch_catalog):
    given = coco(pictures, tmp_path)
    answer = given.answer
    given.answer = lambda item, record, numbers: answer(item, record, [n + 50 for n in numbers])
    error, _ = evaluated(given, renumbered(given.content, lambda i: 100 - i), tmp_path)
    assert isinstance(error, UserError)
    assert "the model predicts class 5" in str(error)


def test_case_of_the_issue(pictures, inputs, tmp_path, scratch_catalog):
    given = coco(pictures, tmp_path)
    content = json.loads((inputs / "classes/test_other_order.json").read_text())
    results, _ = evaluated(given, content, tmp_path)
    assert is_perfect(given, results)
