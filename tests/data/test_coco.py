"""Records of COCO instances are detectron2's."""

import copy
import random

import numpy as np
import pycocotools.mask as coco_mask
import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.data.datasets import load_coco_json, register_coco_instances

from d2video.data.class_names import class_names
from d2video.data.datasets.coco import load_coco_instances, register_coco
from d2video.data.loading import load_records
from d2video.utils.errors import UserError
from tests.helpers.coco_sets import instance_content


def sound_content(seed):
    """Crowds, polygons, all forms of RLE, key points, gaps in all ids, everything out of order."""
    rng = random.Random(seed)
    images = [
        {"id": 3 * i, "file_name": f"sub/{i}.jpg", "height": rng.randrange(20, 40), "width": 32}
        for i in rng.sample(range(1, 40), 12)
    ]
    annotations = []
    for number in rng.sample(range(1, 300), 60):
        image = rng.choice(images)
        size = image["height"], image["width"]
        x, y, w, h = (rng.uniform(1, 9) for _ in range(4))
        polygon = [x, y, x + w, y, x + w, y + h, x, y + h]
        rle = coco_mask.frPyObjects([polygon], *size)[0]
        start = rng.randrange(1, 300)
        form = rng.choice(["polygon", "text", "runs", "none", "empty"])
        annotation = {
            "id": number,
            "image_id": image["id"],
            "category_id": rng.choice([2, 7, 40]),
            "iscrowd": int(form in ("text", "runs") and rng.random() < 0.5),
            "bbox": [x, y, w, h],
            "area": w * h * 0.9,
            "attributes": {"truncated": True},
        }
        if form != "none":
            annotation["segmentation"] = {
                "polygon": [polygon, polygon[2:]],
                "text": {"size": [*size], "counts": rle["counts"].decode()},
                "runs": {"size": [*size], "counts": [start, 9, size[0] * size[1] - start - 9]},
                "empty": [],
            }[form]
        if rng.random() < 0.3:
            annotation |= {"keypoints": [1, 2, 2, 3.5, 4, 1, 0, 0, 0], "num_keypoints": 2}
        annotations.append(annotation)
    names = {7: "b", 2: "a", 40: "c", 51: "d"}
    categories = [{"id": i, "name": n, "supercategory": "x"} for i, n in names.items()]
    return {"images": images, "categories": categories, "annotations": annotations, "info": {}}


@pytest.mark.parametrize("seed", range(4))
def test_records_are_detectron2s(seed, write_json, scratch_catalog):
    path = write_json(sound_content(seed))
    assert load_coco_instances(path, "root", "ours") == load_coco_json(path, "root", "theirs")
    for key in ("thing_classes", "thing_dataset_id_to_contiguous_id"):
        assert MetadataCatalog.get("ours").get(key) == MetadataCatalog.get("theirs").get(key)


def test_what_detectron2_registers_is_read_alike(write_json, scratch_catalog):
    path = write_json(instance_content() | {"annotations": [{"id": 0}]})
    for name, register in (("a", register_coco), ("b", register_coco_instances)):
        register(name, {}, path, "root")
        with pytest.raises(UserError, match="annotation 0: its image_id, null"):
            load_records(name)
    path = write_json(instance_content())
    assert load_records("a") == load_records("b") == DatasetCatalog.get("b")


def test_other_loaders_keep_their_records(write_json, scratch_catalog):
    content = instance_content()
    path = write_json(content)
    DatasetCatalog.register("mine", lambda: [{"file_name": "x.jpg"}])
    MetadataCatalog.get("mine").set(evaluator_type="coco", json_file=path, image_root="")
    assert load_records("mine") == [{"file_name": "x.jpg"}]
    broken = copy.deepcopy(content)
    broken["annotations"][0]["category_id"] = 5
    write_json(broken)
    with pytest.raises(UserError, match="annotation 1: its category_id, 5"):
        load_records("mine")


def test_classes_that_are_registered_must_be_the_files(write_json, scratch_catalog):
    register_coco("mine", {"thing_classes": ["four", "ten"]}, write_json(instance_content()), "")
    with pytest.raises(UserError, match=r"json: class 1 is 'nine', but dataset mine .* 'ten'"):
        load_records("mine")


def test_category_ids_that_are_registered_must_be_the_files(write_json, scratch_catalog):
    metadata = {
        "thing_classes": ["four", "nine"],
        "thing_dataset_id_to_contiguous_id": {4: 0, 10: 1},
    }
    register_coco_instances("mine", metadata, write_json(instance_content()), "")
    with pytest.raises(UserError, match=r"json: category id 9 is not what dataset mine is regis"):
        load_records("mine")


def test_class_names_come_from_the_reader(write_json, scratch_catalog):
    content = instance_content()
    content["annotations"][0]["id"] = 2  # detectron2's loader stops at an assertion
    register_coco_instances("mine", {}, write_json(content), "")
    with pytest.raises(UserError, match="annotation 2: its id is there twice"):
        class_names("mine")


def test_no_labels(write_json):
    content = instance_content()
    for annotations in (None, "absent"):
        content["annotations"] = annotations
        if annotations:
            del content["annotations"]
        assert all("annotations" not in r for r in load_coco_instances(write_json(content), ""))


def test_missing_fields_are_derived(write_json):
    content = instance_content()
    mask = np.zeros((24, 32), np.uint8)
    mask[3:8, 5:20] = 1
    rle = coco_mask.encode(np.asfortranarray(mask))
    first, second, *_ = content["annotations"]
    first["segmentation"] = {"size": [24, 32], "counts": rle["counts"].decode()}
    second["segmentation"] = [[1, 2, 4.5, 2, 4.5, 9], [3, 1, 4, 1, 4, 2]]
    for each in (first, second):
        del each["bbox"]
    boxes = {
        each["category_id"]: each["bbox"]
        for record in load_coco_instances(write_json(content), "")
        if record["image_id"] == 5
        for each in record["annotations"][:2]
    }
    assert boxes == {1: [5, 3, 15, 5], 0: [1, 1, 3.5, 8]}
