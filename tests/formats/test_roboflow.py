"""COCO as Roboflow writes it, beside its images."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
from detectron2.data import MetadataCatalog
from PIL import Image

from d2video.cli.dataset_check import check_registered, check_splits
from d2video.data.datasets.by_path import register_path
from d2video.data.datasets.coco import load_coco_instances, register_coco
from d2video.data.loading import load_records
from d2video.formats.faults import Doubt, LeftOut
from d2video.formats.roboflow import origin
from d2video.utils.errors import UserError


def _write(folder, name="clip_mp4-0012_jpg.rf.0123456789abcdef0123456789abcdef.jpg", **more):
    """One image with a dog, as Roboflow's export has it."""
    folder.mkdir(parents=True)
    Image.fromarray(np.zeros((48, 64, 3), np.uint8)).save(folder / name)
    box = {"bbox": [2, 3, 10, 20.5], "area": 205, "segmentation": [], "iscrowd": False}
    image = {"id": 0, "license": 1, "file_name": name, "height": 48, "width": 64}
    content = {
        "info": {"year": "2024", "version": "1", "description": "Exported from roboflow.com"},
        "licenses": [{"id": 1, "url": "", "name": "CC BY 4.0"}],
        "categories": [
            {"id": 0, "name": "pets", "supercategory": "none"},
            {"id": 1, "name": "cat", "supercategory": "pets"},
            {"id": 2, "name": "dog", "supercategory": "pets"},
        ],
        "images": [image | {"date_captured": "2024-01-01T00:00:00+00:00", "extra": {"name": "x"}}],
        "annotations": [{"id": 0, "image_id": 0, "category_id": 2, **box}],
    }
    path = folder / "_annotations.coco.json"
    path.write_text(json.dumps(content | more))
    return path


def test_images_are_found_and_the_root_is_no_class(tmp_path, scratch_catalog):
    path = _write(tmp_path / "train")
    register_coco("pets", {}, str(path))
    found = []
    (record,) = load_records("pets", found.append)
    assert record["file_name"].startswith(str(tmp_path / "train"))
    assert MetadataCatalog.get("pets").thing_classes == ["cat", "dog"]
    assert [each["category_id"] for each in record["annotations"]] == [1]
    (left_out,) = found
    assert isinstance(left_out, LeftOut)
    assert "2 of 3 categories are used" in str(left_out)
    assert "'pets'" in str(left_out)
    # As the folder that Roboflow wrote, and through the evaluator.
    assert not [f for f in check_registered("pets").findings if not isinstance(f, LeftOut)]
    by_path = load_records(register_path(str(tmp_path / "train")))
    assert by_path[0]["annotations"] == record["annotations"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda c: c["annotations"][0].update(category_id=0), "an object has the root's class"),
        (lambda c: c["categories"][2].update(supercategory="none"), "two stand by themselves"),
        (lambda c: c["categories"][2].update(supercategory="animals"), "another is above one"),
        (lambda c: c["categories"][2].update(supercategory=["pets"]), "not a name"),
        (lambda c: c["categories"][0].update(supercategory="pets"), "the root is below itself"),
    ],
)
def test_other_categories_stay(tmp_path, change, reason, scratch_catalog):
    path = _write(tmp_path / "train")
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    load_coco_instances(str(path), None, "pets")
    assert MetadataCatalog.get("pets").thing_classes == ["pets", "cat", "dog"], reason


def test_images_elsewhere_must_be_named(tmp_path):
    path = _write(tmp_path / "train")
    moved = path.rename(tmp_path / "labels.json")
    with pytest.raises(UserError, match="labels.json: the folder of its images was not found"):
        load_coco_instances(str(moved), None)
    assert load_coco_instances(str(moved), str(tmp_path / "train"))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a/clip_mp4-0012_jpg.rf.0123456789abcdef0123456789abcdef.jpg", "clip_mp4"),
        ("My-film_MOV-3_png.rf.0123456789abcdef.jpg", "My-film_MOV"),
        ("photo-7_jpeg.rf.0123456789abcdef.jpg", "photo-7"),
        ("clip_mp4-0012.jpg", None),
        ("000012.jpg", None),
    ],
)
def test_origin(name, expected):
    assert origin(name) == expected


def test_frames_of_a_video_on_both_sides_are_doubted(tmp_path, scratch_catalog):
    names = {
        "train": "clip_mp4-0012_jpg.rf.0123456789abcdef.jpg",
        "valid": "clip_mp4-0013_jpg.rf.fedcba9876543210.jpg",
        "test": "other_mp4-0013_jpg.rf.fedcba9876543210.jpg",
    }
    for split, name in names.items():
        register_coco(split, {}, str(_write(tmp_path / split, name)))
    checked = {split: check_registered(split) for split in names}
    cfg = SimpleNamespace(
        DATASETS=SimpleNamespace(TRAIN=["train"], TEST=["valid", "test", "train"])
    )
    (doubt,) = check_splits(cfg, checked)
    assert isinstance(doubt, Doubt)
    assert str(doubt).startswith("dataset valid: 1 of the 1 videos and images")
    assert "clip_mp4, are in train, too" in str(doubt)
