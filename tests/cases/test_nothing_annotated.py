"""A training set without any object is refused in every format; single images and videos without do train."""

import json
import shutil

import pytest

from d2video.cli.dataset_check import check_registered
from d2video.config import load_cfg
from d2video.data.datasets.from_config import register_datasets
from d2video.data.training_records import load_training_records
from d2video.formats.faults import Fault
from d2video.utils.errors import UserError

JSON_SETS = {
    "coco": ("shapes_coco/annotations/instances_val.json", "shapes_coco/val"),
    "ytvis": ("shapes/val.json", "shapes/val/JPEGImages"),
    "coco_tracks": ("shapes_coco/annotations/instances_val.json", "shapes_coco/val"),
}


def without_objects(kind, pictures, folder):
    """Arguments of a data set of which all labels are taken away, and the file to put one back."""
    if kind == "mot":
        shutil.copytree(pictures / "shapes_mot/val", folder / "mot")
        for path in (folder / "mot").glob("*/gt/gt.txt"):
            path.write_text("")
        return {"root": str(folder / "mot"), "benchmark": "MOT17"}
    if kind == "coco_panoptic":
        content = json.loads((pictures / "shapes_coco/annotations/instances_val.json").read_text())
        content["annotations"] = [
            {"image_id": each["id"], "file_name": each["file_name"], "segments_info": []}
            for each in content["images"]
        ]
        for category in content["categories"]:
            category["isthing"] = 1
        key, root = "panoptic_json", "shapes_coco/val"
    else:
        source, root = JSON_SETS[kind]
        content = json.loads((pictures / source).read_text())
        content["annotations"] = []
        for frame, image in enumerate(content.get("images", ())):
            image |= {"frame_id": frame, "video_id": 1} if kind == "coco_tracks" else {}
        key = "json_file"
    path = folder / "a.json"
    path.write_text(json.dumps(content))
    roots = {"image_root": str(pictures / root)}
    if kind == "coco_panoptic":
        roots["panoptic_root"] = str(pictures / root)
    return {key: str(path), **roots}


@pytest.mark.parametrize("filter_empty", [True, False])
@pytest.mark.parametrize("kind", [*JSON_SETS, "coco_panoptic", "mot"])
def test_no_object_at_all(kind, filter_empty, pictures, tmp_path, scratch_catalog):
    register_datasets([["empty", kind, without_objects(kind, pictures, tmp_path)]])
    options = ["DATALOADER.FILTER_EMPTY_ANNOTATIONS", f"{filter_empty}"]
    cfg = load_cfg(None, [*options, "DATASETS.TRAIN", "('empty',)"])
    message = "dataset empty holds no annotated object: nothing to train on"
    if kind == "mot":
        message = (
            "dataset empty: no gt.txt has a row in the split"  # so that training and tests end
        )
    with pytest.raises(UserError, match=message):
        load_training_records(cfg)
    faults = [
        f.text for f in check_registered("empty", train_cfg=cfg).findings if isinstance(f, Fault)
    ]
    assert any(message in fault for fault in faults)
    told = [*map(str, check_registered("empty").findings)]  # without a config that trains on it
    assert any("empty: no " in each for each in told)


@pytest.mark.parametrize("kind", ["coco", "coco_tracks", "mot"])
def test_some_objects_are_enough(kind, pictures, scratch_catalog, tmp_path):
    arguments = without_objects(kind, pictures, tmp_path)
    if kind == "mot":
        path = min((tmp_path / "mot").glob("*/gt/gt.txt"))
        path.write_text("1,1,2,2,8,8,1,1,1\n")
    else:
        content = json.loads((tmp_path / "a.json").read_text())
        of = {"image_id": content["images"][0]["id"], "category_id": content["categories"][0]["id"]}
        content["annotations"] = [{"id": 1, "track_id": 1, "bbox": [2, 2, 8, 8], **of}]
        (tmp_path / "a.json").write_text(json.dumps(content))
    register_datasets([["some", kind, arguments]])
    options = ["DATALOADER.FILTER_EMPTY_ANNOTATIONS", "False", "DATASETS.TRAIN", "('some',)"]
    options += [
        "INPUT.DATASET_MAPPER",
        "ClipDatasetMapper",
    ]  # detectron2's takes videos frame by frame
    (records,) = load_training_records(load_cfg(None, options)).values()
    assert len(records) == {"coco": 4, "coco_tracks": 1, "mot": 2}[kind]
