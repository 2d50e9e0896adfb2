"""Slips that a label file or a registration can hide: each is told in one line."""

import logging

import pytest
import torch

from d2video.checkpoint import VideoCheckpointer
from d2video.data.class_matching import match_classes
from d2video.data.datasets.from_config import register_datasets
from d2video.evaluation.mot.ground_truth import MOTGroundTruth
from d2video.formats.mot_rules import object_rule
from d2video.formats.mot_sequence import read_seqinfo, read_sequence
from d2video.formats.text import read_categories
from d2video.structures import ClassHead
from d2video.utils.errors import UserError


def test_class_with_an_empty_name():
    categories = [{"id": 0, "name": ""}, {"id": 1, "name": "cat"}]
    annotations = [{"category_id": 1}]
    content = {"categories": categories, "annotations": annotations}
    assert read_categories(content, "x.json") == {0: "", 1: "cat"}  # a dummy class
    annotations.append({"category_id": 0})
    with pytest.raises(UserError, match=r"^x.json: category 0: its name is empty, but annotations"):
        read_categories(content, "x.json")
    with pytest.raises(UserError, match=r"^dataset x: a class with annotations has an empty name"):
        match_classes(
            ["cat"], ["", "cat"], lambda: {0, 1}, model_source="m", data_source="dataset x"
        )


def test_classes_that_are_one_number(tmp_path, scratch_catalog):
    arguments = {"root": str(tmp_path), "benchmark": "MOT17", "classes": 1}
    with pytest.raises(UserError, match=r"m: classes cannot be 1; mot takes root"):
        register_datasets([["m", "mot", arguments]])


def test_empty_values_of_seqinfo_say_nothing(tmp_path):
    (tmp_path / "seqinfo.ini").write_text(
        "[Sequence]\nframeRate=\nimExt=\nimDir=\nseqLength=\nimWidth=\nimHeight=\n"
    )
    assert read_seqinfo(tmp_path) == type(read_seqinfo(tmp_path))()


def test_results_of_other_classes_alone(pictures, tmp_path):
    folder = pictures / "shapes_mots" / "val" / "val-0001"
    truth = MOTGroundTruth.read(
        "labels", object_rule("MOTS20"), [read_sequence(str(folder), needs_images=False)]
    )
    lines = [line.split(" ") for line in (folder / "gt" / "gt.txt").read_text().splitlines()]
    cars = "".join(" ".join([*line[:2], "1", *line[3:]]) + "\n" for line in lines)
    (tmp_path / "val-0001.txt").write_text(cars)
    with pytest.raises(
        UserError, match=rf"0 of {len(lines)} masks are used; left out: .* of class 1"
    ):
        truth.read_results(tmp_path)


def test_checkpoint_without_class_names_is_told(tmp_path, caplog):
    model = torch.nn.Sequential(torch.nn.Linear(2, 2))
    model.class_head = ClassHead(("0.",), range(2), "NUM")
    torch.save({"model": model.state_dict()}, tmp_path / "old.pth")
    with caplog.at_level(logging.WARNING):
        VideoCheckpointer(model, str(tmp_path)).load(str(tmp_path / "old.pth"))
    assert (
        "old.pth has no class names: its classes are taken for those of DATASETS.TRAIN"
        in caplog.text
    )
