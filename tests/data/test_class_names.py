"""Class names of data sets in a process that has not read any."""

import logging

import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog

from d2video.data.class_names import class_names
from d2video.data.datasets.coco_panoptic import register_coco_panoptic
from d2video.data.datasets.mot import register_mot
from d2video.data.datasets.ytvis import register_ytvis_instances
from d2video.utils.errors import UserError
from tests.helpers.coco_sets import instance_content, register_instances

pytestmark = pytest.mark.usefixtures("scratch_catalog")

PANOPTIC = {
    "images": [{"id": 5, "file_name": "5.jpg"}],
    "categories": [
        {"id": 100, "name": "grass", "isthing": 0},
        {"id": 9, "name": "nine", "isthing": 1},
        {"id": 4, "name": "four", "isthing": 1},
    ],
    "annotations": [{"image_id": 5, "file_name": "5.png", "segments_info": []}],
}


def names_and_log(name, caplog) -> tuple[list[str] | None, str]:
    """What the function returns and logs; readers have their own lines."""
    logger = "d2video.data.class_names"
    caplog.clear()
    with caplog.at_level(logging.INFO, logger):
        names = class_names(name)
    return names, "\n".join(r.getMessage() for r in caplog.records if r.name == logger)


def test_registered_names_need_no_file(tmp_path, caplog):
    register_ytvis_instances("x", {"thing_classes": ["cat"]}, str(tmp_path / "none.json"), "")
    register_mot("y", str(tmp_path / "none"), benchmark="MOT17", class_name="dancer")
    MetadataCatalog.get("no_data").thing_classes = ("square",)
    assert names_and_log("x", caplog) == (["cat"], "")
    assert names_and_log("y", caplog) == (["dancer"], "")
    assert names_and_log("no_data", caplog) == (["square"], "")


def test_names_that_the_file_tells(tmp_path, ytvis_content, write_json, caplog):
    register_ytvis_instances("videos", {}, write_json(ytvis_content), "")
    register_instances("images", tmp_path, instance_content())
    assert MetadataCatalog.get("videos").get("thing_classes") is None
    assert names_and_log("videos", caplog) == (["four", "nine"], "")
    assert names_and_log("images", caplog) == (["four", "nine"], "")


def test_panoptic_names_are_of_things_then_stuff(tmp_path, write_json, caplog):
    """Of all classes, though the metadata name a file of instances too; the images are not there."""
    instances = register_instances("images", tmp_path, instance_content())
    folder = str(tmp_path)
    register_coco_panoptic("x", {}, folder, folder, write_json(PANOPTIC), str(instances))
    assert names_and_log("x", caplog) == (["four", "nine", "grass"], "")


@pytest.mark.parametrize(
    ("metadata", "reason"),
    [
        (None, "it is not registered"),
        ({}, "neither thing_classes nor the path of a file"),
        ({"json_file": "no/such.json"}, "no/such.json does not exist"),
        ({"panoptic_json": "no.json", "json_file": __file__}, "no.json does not exist"),
        ({"json_file": __file__}, "sets no thing_classes"),
    ],
)
def test_unknown_names_are_told_once(metadata, reason, caplog):
    if metadata is not None:
        DatasetCatalog.register("x", lambda: [{}])
        MetadataCatalog.get("x").set(**metadata)
    names, log = names_and_log("x", caplog)
    assert names is None
    assert "dataset x are unknown" in log
    assert reason in log
    assert "\n" not in log


def test_the_first_known_names(tmp_path, caplog):
    register_ytvis_instances("gone", {}, str(tmp_path / "none.json"), "")
    MetadataCatalog.get("known").thing_classes = ["cat"]
    assert class_names("gone", "known", "x") == ["cat"]
    assert "unknown" not in caplog.text
    assert class_names("gone", "x") is None
    assert len(caplog.messages) == 1
    assert "dataset gone are unknown" in caplog.text
    assert "dataset x are unknown" in caplog.text
    assert class_names() is None


def test_faulty_files_are_errors(tmp_path, write_json):
    path = write_json({"videos": 5})
    register_ytvis_instances("videos", {}, path, "")
    register_coco_panoptic("panoptic", {}, "", "", path)
    for name in ("videos", "panoptic"):
        with pytest.raises(UserError, match=path):
            class_names(name)
        MetadataCatalog.get("known").thing_classes = ["cat"]
        assert class_names(name, "known") == ["cat"]
