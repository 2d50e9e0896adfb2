"""COCO as Roboflow writes it, beside its images."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from detectron2.data import MetadataCatalog
from PIL import Image
from pycocotools import mask as coco_mask

from d2video.cli.dataset_check import check_registered, check_splits
from d2video.data.datasets.by_path import register_path
from d2video.data.datasets.coco import load_coco_instances, register_coco
from d2video.data.loading import load_records
from d2video.formats.faults import Doubt, Fault, LeftOut
from d2video.formats.geometry.rle import to_rle
from d2video.formats.roboflow import origin
from d2video.utils.errors import UserError
from tests.helpers.cvat_xml import drawable, outline
from tests.helpers.true_labels import HEIGHT, WIDTH, true_videos, write_images

HASH = "0123456789abcdef0123456789abcdef"


def _write(folder, name=f"clip_mp4-0012_jpg.rf.{HASH}.jpg"):
    """One image with a dog, as Roboflow's export has it."""
    folder.mkdir(parents=True)
    Image.fromarray(np.zeros((48, 64, 3), np.uint8)).save(folder / name)
    return _write_json(folder, [name], [annotation(0, "dog", [2, 3, 10, 20.5])])


def write_truth(video, folder):
    """A split with the frames of a video, objects as polygons."""
    write_images(drawable(video), folder, f"clip_mp4-{{:04d}}_jpg.rf.{HASH}.jpg")
    found = []
    for each in drawable(video).objects:
        polygon = [float(number) for point in outline(each.mask) for number in point]
        found.append(annotation(each.frame, each.category, each.box, polygon))
    return _write_json(folder, sorted(path.name for path in folder.iterdir()), found)


def annotation(image, label, box, *polygons):
    shape = {"bbox": [*box], "area": box[2] * box[3], "segmentation": [*polygons]}
    return {"image_id": image, "category_id": 1 + NAMES.index(label), "iscrowd": 0, **shape}


NAMES = ("bird", "cat", "dog")


def _write_json(folder, images, annotations):
    size = {"height": HEIGHT, "width": WIDTH}
    common = {"license": 1, "date_captured": "2024-01-01T00:00:00+00:00", "extra": {"name": "x"}}
    content = {
        "info": {"year": "2024", "version": "1", "description": "Exported from roboflow.com"},
        "licenses": [{"id": 1, "url": "", "name": "CC BY 4.0"}],
        "categories": [
            {"id": 0, "name": "pets", "supercategory": "none"},
            *({"id": k, "name": n, "supercategory": "pets"} for k, n in enumerate(NAMES, 1)),
        ],
        "images": [{"id": k, "file_name": name, **size, **common} for k, name in enumerate(images)],
        "annotations": [{"id": k, **each} for k, each in enumerate(annotations)],
    }
    path = folder / "_annotations.coco.json"
    path.write_text(json.dumps(content))
    return path


def test_round_trip(tmp_path):
    """Exact: outlines on pixel edges are the masks."""
    video = drawable(true_videos(crowd=False)[0])
    path = write_truth(video, tmp_path / "train")
    records = load_coco_instances(str(path), None)
    assert [Path(each["file_name"]).name[9:13] for each in records] == [
        f"{k:04d}" for k in range(video.num_frames)
    ]
    for frame, record in enumerate(records):
        truth = video.in_frame(frame)
        assert [NAMES[each["category_id"]] for each in record["annotations"]] == [
            each.category for each in truth
        ]
        for found, each in zip(record["annotations"], truth, strict=True):
            assert found["bbox"] == [*each.box]
            mask = coco_mask.decode(to_rle(found["segmentation"], HEIGHT, WIDTH))
            assert (mask == each.mask).all()


def test_images_are_found_and_the_root_is_no_class(tmp_path, scratch_catalog):
    path = _write(tmp_path / "train")
    register_coco("pets", {}, str(path))
    found = []
    (record,) = load_records("pets", found.append)
    assert record["file_name"].startswith(str(tmp_path / "train"))
    assert MetadataCatalog.get("pets").thing_classes == [*NAMES]
    assert [each["category_id"] for each in record["annotations"]] == [2]
    (left_out,) = found
    assert isinstance(left_out, LeftOut)
    assert "3 of 4 categories are used" in str(left_out)
    assert "'pets'" in str(left_out)
    # As the folder that Roboflow wrote, and through the evaluator.
    assert not [f for f in check_registered("pets").findings if not isinstance(f, LeftOut)]
    by_path = load_records(register_path(str(tmp_path / "train")))
    assert by_path[0]["annotations"] == record["annotations"]


def test_a_root_that_is_called_as_a_class(tmp_path, scratch_catalog):
    path = _write(tmp_path / "train")
    path.write_text(path.read_text().replace('"pets"', '"dog"'))
    found = []
    load_coco_instances(str(path), None, "pets", found.append)
    assert MetadataCatalog.get("pets").thing_classes == [*NAMES]
    assert [type(each) for each in found] == [LeftOut]


def test_some_images_are_missing(tmp_path, scratch_catalog):
    path = write_truth(true_videos(crowd=False)[0], tmp_path / "train")
    (tmp_path / "train" / f"clip_mp4-0000_jpg.rf.{HASH}.jpg").unlink()
    (fault,) = (
        f for f in check_registered(register_path(str(path))).findings if isinstance(f, Fault)
    )
    assert "clip_mp4-0000_jpg" in str(fault)
    assert "does not exist" in str(fault)


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
    assert MetadataCatalog.get("pets").thing_classes == ["pets", *NAMES], reason


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
