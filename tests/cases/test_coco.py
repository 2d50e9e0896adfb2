"""Files of COCO instances: one verdict of check, training and evaluation; what is not used is counted."""

import json
import logging

import pytest
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.data.datasets import register_coco_instances
from detectron2.structures import Boxes, Instances

from d2video.cli.check import main as check
from d2video.data.datasets.coco import register_coco
from d2video.data.loading import load_records
from d2video.data.mappers.image import ImageDatasetMapper
from d2video.evaluation import build_evaluator
from d2video.formats.coco import read_coco_instances
from d2video.utils.errors import UserError
from tests.helpers.coco_sets import annotation, instance_content, polygon, write_images


@pytest.fixture
def verdicts(tmp_path, scratch_catalog, caplog, capsys):
    """Register a file, by detectron2's function or d2video's, and let all three judge it."""

    def judge(path, root=tmp_path, register=register_coco_instances):
        DatasetCatalog.pop("judged", None)
        MetadataCatalog.pop("judged", None)
        register("judged", {}, str(path), str(root))
        with caplog.at_level(logging.WARNING):
            try:
                found = {"AP": perfect_ap(tmp_path), "mapped": mapped()}
            except UserError as error:
                with pytest.raises(UserError):
                    build_evaluator("judged", str(tmp_path))
                found = {"error": str(error)}
        capsys.readouterr()
        try:
            check(["--dataset", "judged", "--num-workers", "0"])
            status = 0
        except SystemExit as error:
            status = error.code
        found["check"] = capsys.readouterr().out
        faults = "fault: " in found["check"]
        assert ("error" in found) == faults, found
        assert status == (faults or "doubt: " in found["check"])
        return found

    return judge


def mapped():
    mapper = ImageDatasetMapper(True, augmentations=[])
    return [len(mapper(record)["instances"]) for record in load_records("judged")]


def perfect_ap(folder):
    evaluator = build_evaluator("judged", str(folder))
    evaluator.reset()
    for record in load_records("judged"):
        labels = [each for each in record["annotations"] if not each["iscrowd"]]
        boxes = torch.tensor([each["bbox"] for each in labels]).float().reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        found = Instances((record["height"], record["width"]))
        found.pred_boxes, found.scores = Boxes(boxes), torch.full((len(boxes),), 0.9)
        found.pred_classes = torch.tensor([each["category_id"] for each in labels])
        evaluator.process([{"image_id": record["image_id"]}], [{"instances": found}])
    return evaluator.evaluate()["bbox"]["AP"]


@pytest.mark.parametrize("register", [register_coco, register_coco_instances])
@pytest.mark.parametrize(
    ("file", "left_out"),
    [
        ("annotation_ids_from_0", ""),
        ("no_area", ""),
        ("box_0", "1 whose box is 0,0,0,0"),
    ],
)
def test_inputs_that_are_used(file, left_out, register, verdicts, inputs, pictures):
    found = verdicts(inputs / f"coco/{file}.json", pictures / "shapes_coco/val", register)
    assert found["AP"] == pytest.approx(100)
    assert left_out in found["check"]
    assert ("left out" in found["check"]) == bool(left_out)


@pytest.mark.parametrize("register", [register_coco, register_coco_instances])
@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("image_id_text", "annotation 1: its image_id, '1', is not the id of an image"),
        ("rle_in_list", "annotation 1: its segmentation: a run-length code (RLE) within a list"),
    ],
)
def test_inputs_that_are_refused(file, message, register, verdicts, inputs, pictures):
    found = verdicts(inputs / f"coco/{file}.json", pictures / "shapes_coco/val", register)
    assert message in found["error"]
    assert message in found["check"]


def change(place, **fields):
    """Change the fields of an entry of :func:`instance_content`; None: take it away."""

    def apply(content):
        entry = content[place[0]][place[1]]
        entry.update(fields)
        for key in [key for key, value in fields.items() if value is None]:
            del entry[key]

    return apply


def text_ids(content):
    for image in content["images"]:
        image["id"] = f"{image['id']}"
    for each in content["annotations"]:
        each["image_id"] = f"{each['image_id']}"


def add(*args, **fields):
    return lambda content: content["annotations"].append(annotation(*args, **fields))


FIRST = ("annotations", 0)
USED = {
    "ids of texts": (text_ids, [2, 0, 1], ""),
    "an annotation without id": (change(FIRST, id=None), [0, 2, 1], ""),
    "a negative id": (change(FIRST, id=-7), [0, 2, 1], ""),
    "no iscrowd": (change(FIRST, iscrowd=None), [0, 2, 1], ""),
    "no box": (change(FIRST, bbox=None), [0, 2, 1], ""),
    "an empty box": (change(FIRST, bbox=[], area=None), [0, 2, 1], ""),
    "no box beside RLE": (
        change(FIRST, bbox=None, segmentation={"size": [24, 32], "counts": [50, 5, 713]}),
        [0, 2, 1],
        "",
    ),
    "no segmentation": (change(FIRST, segmentation=None, area=None), [0, 2, 1], ""),
    "an empty polygon": (change(FIRST, segmentation=[[]]), [0, 2, 1], ""),
    "an area of 0": (change(FIRST, area=0), [0, 2, 1], ""),
    "a supercategory": (change(("categories", 0), supercategory=3), [0, 2, 1], ""),
    "ignore": (change(FIRST, ignore=1), [0, 1, 1], "1 with ignore 1, 1 with iscrowd 1"),
    "a box without width": (change(FIRST, bbox=[2, 4, 0, 6]), [0, 1, 1], "1 whose box has no area"),
    "a box of negative height": (
        change(FIRST, bbox=[2, 4, 8, -6], area=-48),
        [0, 1, 1],
        "1 whose box has no area",
    ),
    "a box outside": (
        change(FIRST, bbox=[32, 4, 8, 6]),
        [0, 1, 1],
        "1 whose box lies outside the i",
    ),
    "a crowd without area": (
        add(9, 5, 4, [0, 0, 0, 0], iscrowd=1),
        [0, 2, 1],
        "1 whose box is 0,0",
    ),
    "polygons of two points": (
        change(FIRST, segmentation=[[2, 4, 10, 10], []]),
        [0, 1, 1],
        "1 whose polygons have fewer than three points",
    ),
    "one polygon of two points": (
        change(FIRST, segmentation=[*polygon(2, 4, 8, 6), [2, 4, 10, 10]]),
        [0, 2, 1],
        "3 of 4 polygons are used; left out: 1 with fewer than three points",
    ),
}


@pytest.mark.parametrize("case", USED)
def test_used_derived_or_left_out(case, verdicts, tmp_path):
    write_images(tmp_path)
    content = instance_content()
    alter, objects, left_out = USED[case]
    alter(content)
    found = verdicts(write(tmp_path, content))
    assert found["AP"] == pytest.approx(100)
    assert sorted(found["mapped"]) == sorted(objects)  # by ascending id
    assert left_out in found["check"]
    assert "crowd" in found["check"]


REFUSED = {
    "a repeated annotation id": (change(FIRST, id=2), "annotation 2: its id is there twice"),
    "an annotation id of text": (change(FIRST, id="1"), "annotation 1: its id must be a whole"),
    "a fractional annotation id": (change(FIRST, id=1.5), "annotation 1.5: its id must be a whole"),
    "a bool for an annotation id": (change(FIRST, id=True), "annotation true: its id must be"),
    "a huge annotation id": (change(FIRST, id=2**64), "its id must be a whole number"),
    "an unknown image": (change(FIRST, image_id=77), "annotation 1: its image_id, 77, is not the"),
    "a fractional image": (change(FIRST, image_id=5.0), "annotation 1: its image_id, 5.0, is not"),
    "a list for an image": (change(FIRST, image_id=[5]), "annotation 1: its image_id, [5], is not"),
    "no image": (change(FIRST, image_id=None), "annotation 1: its image_id, null, is not"),
    "an unknown category": (change(FIRST, category_id=1), "annotation 1: its category_id, 1, is"),
    "a bool for a category": (
        change(FIRST, category_id=True),
        "annotation 1: its category_id, true",
    ),
    "a number for a box": (change(FIRST, bbox=0), "annotation 1: its bbox, 0, is not made of four"),
    "an object for a box": (change(FIRST, bbox={}), "annotation 1: its bbox, {}, is not made of"),
    "a text for a box": (change(FIRST, bbox=""), "annotation 1: its bbox, '', is not made of four"),
    "false for a box": (change(FIRST, bbox=False), "annotation 1: its bbox, false, is not made of"),
    "no id of an image": (change(("images", 0), id=None), "image [0]: it has no id"),
    "null for the id of an image": (
        lambda content: content["images"][0].update(id=None),
        "image [0]: its id must be a whole number",
    ),
    "a size of null": (
        lambda content: content["images"][0].update(height=None),
        "image 5: its size, 32xnull, must be whole",
    ),
    "neither box nor mask": (
        change(FIRST, bbox=None, segmentation=None),
        "annotation 1: it has neither bbox nor segmentation",
    ),
    "an empty polygon without a box": (
        change(FIRST, bbox=None, segmentation=[[]]),
        "annotation 1: it has neither bbox nor segmentation",
    ),
    "a box of text": (change(FIRST, bbox=["2", "4", "8", "6"]), "annotation 1: its bbox, "),
    "a box of three": (change(FIRST, bbox=[2, 4, 8]), "annotation 1: its bbox, [2, 4, 8], is not"),
    "a negative area": (change(FIRST, area=-3), "annotation 1: its area, -3, is not a number"),
    "an area of text": (change(FIRST, area="48"), "annotation 1: its area, '48', is not a number"),
    "a huge area": (change(FIRST, area=2e10), "annotation 1: its area, 20000000000.0, is not"),
    "iscrowd of 2": (change(FIRST, iscrowd=2), "annotation 1: its iscrowd, 2, must be 0 or 1"),
    "ignore of text": (
        change(FIRST, ignore="no"),
        "annotation 1: its ignore, 'no', must be 0 or 1",
    ),
    "RLE of another size": (
        change(FIRST, segmentation={"size": [32, 24], "counts": [0, 768]}),
        "annotation 1: its segmentation: the mask's size is [32, 24], the image's [24, 32]",
    ),
    "key points in pairs": (change(FIRST, keypoints=[1, 2]), "annotation 1: its keypoints are not"),
    "an image twice": (change(("images", 0), id=2), "image 2: its id is there twice"),
    "an image id of text": (change(("images", 0), id="5"), "image 2: its id is a text and others"),
    "a fractional image id": (change(("images", 0), id=5.0), "image 5.0: its id must be a whole"),
    "an absolute path": (change(("images", 0), file_name="/5.jpg"), "image 5: /5.jpg lies outside"),
    "a size of text": (
        change(("images", 0), width="32"),
        "image 5: its size, '32'x24, must be whole",
    ),
    "two categories of one name": (
        change(("categories", 0), name="nine"),
        "category 9: its name, 'nine', is there twice",
    ),
    "two categories of one id": (change(("categories", 0), id=9), "category 9: its id is there tw"),
    "a category id of text": (change(("categories", 0), id="4"), "category 4: its id must be a wh"),
    "a bool for a category id": (
        change(("categories", 0), id=True),
        "category true: its id must be",
    ),
    "a category without name": (
        change(("categories", 0), name=None),
        "category 4: its name must be",
    ),
    "no images": (lambda content: content["images"].clear(), "lists no images"),
    "no categories": (lambda content: content["categories"].clear(), "'categories' is empty"),
    "only crowds": (
        lambda content: [each.update(iscrowd=1) for each in content["annotations"]],
        "0 of 4 annotations are used; left out: 4 with iscrowd 1: nothing is left",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_with_the_place(case, verdicts, tmp_path):
    write_images(tmp_path)
    content = instance_content()
    alter, message = REFUSED[case]
    alter(content)
    found = verdicts(write(tmp_path, content))
    assert message in found["error"]
    assert message in found["check"]


def test_annotations_of_a_faulty_image_are_not_at_fault(verdicts, tmp_path):
    content = instance_content()
    content["images"][0]["file_name"] = 5
    found = verdicts(write(tmp_path, content))
    assert found["check"].count("fault: ") == 1 + 2  # the two other files are not there


@pytest.mark.parametrize("name", ["9.jpg", "./9.jpg"])
def test_a_file_under_two_ids_is_doubted(name, tmp_path, capsys):
    write_images(tmp_path)
    content = instance_content()
    content["images"][0]["file_name"] = name
    path = write(tmp_path, content)
    with pytest.raises(SystemExit):
        check(["--json", str(path), "--image-root", str(tmp_path), "--num-workers", "0"])
    assert f"doubt: {path}: 1 files are listed under several image ids (the first is 9.jpg)" in (
        capsys.readouterr().out
    )


@pytest.mark.parametrize(
    "mask",
    [
        [[2, 4, 10, 10, 2, 4, 10, 10]],
        {"size": [24, 32], "counts": [768]},
    ],
)
def test_masks_without_pixels_are_doubted(mask, tmp_path, capsys):
    write_images(tmp_path)
    content = instance_content()
    content["annotations"][0]["segmentation"] = mask
    path = write(tmp_path, content)
    with pytest.raises(SystemExit):
        check(["--json", str(path), "--image-root", str(tmp_path), "--num-workers", "0"])
    printed = capsys.readouterr().out
    assert "1 masks cover no pixel (the first is that of annotation 1)" in printed


def test_a_crowd_without_pixels_is_not_doubted(verdicts, tmp_path):
    write_images(tmp_path)
    content = instance_content()
    content["annotations"][2]["segmentation"] = {"size": [24, 32], "counts": [768]}
    found = verdicts(write(tmp_path, content))
    assert found["AP"] == pytest.approx(100)
    assert "cover no pixel" not in found["check"]


def write(folder, content):
    path = folder / "a.json"
    path.write_text(json.dumps(content))
    return path


def test_a_single_entry_left_out_is_told_in_the_singular(verdicts, inputs, pictures):
    found = verdicts(inputs / "coco/box_0.json", pictures / "shapes_coco/val")
    assert "judged: no faults, 1 entry left out, 4 records read" in found["check"]


@pytest.mark.parametrize(
    ("value", "kind"),
    [(None, "null"), (True, "true"), ([], "a list"), ("a", "a text"), (2, "a number")],
)
def test_files_of_another_kind_are_named_in_the_words_of_json(value, kind, tmp_path):
    with pytest.raises(UserError, match=f"format: it is {kind}"):
        read_coco_instances(str(write(tmp_path, value)))
