"""AP of boxes and masks of images through detectron2's evaluator."""

import json
import logging

import numpy as np
import pycocotools.mask as coco_mask
import pytest
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.data.datasets import register_coco_instances
from detectron2.evaluation import COCOEvaluator
from detectron2.structures import Boxes, Instances

from d2video.evaluation import build_evaluator
from d2video.formats.geometry.rle import to_rle
from d2video.utils.errors import UserError
from tests.data.test_coco import sound_content
from tests.helpers.coco_sets import (
    HEIGHT,
    WIDTH,
    instance_content,
    register_instances,
    register_panoptic,
)

# The labels of image 5 and 9; the crowd of image 5 needs no answer.
BOXES = {5: [[2, 4, 10, 10], [20, 10, 26, 19]], 2: [], 9: [[1, 1, 11, 11]]}
CLASSES = {5: [1, 0], 2: [], 9: [0]}


def answer(image_id, with_masks, shift=0.0):
    boxes = torch.tensor(BOXES[image_id]).view(-1, 4).float() + shift
    instances = Instances(
        (HEIGHT, WIDTH),
        pred_boxes=Boxes(boxes),
        scores=torch.full((len(boxes),), 0.9),
        pred_classes=torch.tensor(CLASSES[image_id], dtype=torch.int64),
    )
    if with_masks:
        masks = torch.zeros(len(boxes), HEIGHT, WIDTH, dtype=torch.bool)
        for mask, (x0, y0, x1, y1) in zip(masks, BOXES[image_id]):
            mask[y0:y1, x0:x1] = True
        instances.pred_masks = masks
    return {"instances": instances}


def evaluate(evaluator, with_masks, **options):
    evaluator.reset()
    for i in BOXES:
        evaluator.process([{"image_id": i}], [answer(i, with_masks, **options)])
    return evaluator.evaluate()


@pytest.fixture
def content(scratch_catalog):
    return instance_content()


@pytest.mark.parametrize("with_masks", [False, True])
def test_perfect_answers(content, tmp_path, with_masks):
    # Without labels of their own being read first: the evaluator must not take classes for ids.
    register_instances("mine", tmp_path, content)
    results = evaluate(build_evaluator("mine", str(tmp_path / "out")), with_masks)
    assert results.keys() == ({"bbox", "segm"} if with_masks else {"bbox"})
    for task in results.values():
        for name in ("AP", "AP50", "AP-four", "AP-nine"):
            assert task[name] == pytest.approx(100)
    written = json.loads((tmp_path / "out" / "coco_instances_results.json").read_text())
    assert sorted(entry["category_id"] for entry in written) == [4, 4, 9]


def test_worse_answers(content, tmp_path):
    register_instances("mine", tmp_path, content)
    # Of the box 8x6 with a shift of 1: IoU 35/61 = 0.57, above the first two of ten thresholds.
    results = evaluate(build_evaluator("mine", str(tmp_path)), False, shift=1.0)
    assert results["bbox"]["AP-nine"] == pytest.approx(20)


@pytest.mark.parametrize("with_masks", [False, True])
def test_no_detection_at_all(content, tmp_path, with_masks):
    register_instances("mine", tmp_path, content)
    evaluator = build_evaluator("mine", str(tmp_path / "out"))
    evaluator.reset()
    for i in BOXES:
        nothing = answer(i, with_masks)["instances"][:0]
        evaluator.process([{"image_id": i}], [{"instances": nothing}])
    results = evaluator.evaluate()
    assert results.keys() == ({"bbox", "segm"} if with_masks else {"bbox"})
    assert all(np.isnan(found["AP"]) for found in results.values())


def test_labels_without_iscrowd_or_masks(content, tmp_path, caplog):
    del content["annotations"][2]
    for annotation in content["annotations"]:
        del annotation["iscrowd"], annotation["segmentation"]
    register_instances("mine", tmp_path, content)
    with caplog.at_level(logging.WARNING):
        results = evaluate(build_evaluator("mine", str(tmp_path)), True)
    assert results.keys() == {"bbox"}
    assert results["bbox"]["AP"] == pytest.approx(100)
    assert "mask AP is not computed" in caplog.text


def test_labels_that_are_not_public(content, tmp_path):
    del content["annotations"]
    register_instances("mine", tmp_path, content)
    assert evaluate(build_evaluator("mine", str(tmp_path)), False) == {}
    assert len(json.loads((tmp_path / "coco_instances_results.json").read_text())) == 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.pop("categories"), "'categories' is missing"),
        (lambda c: c.update(images=3), "'images' must be a list"),
    ],
)
def test_faulty_files(content, tmp_path, change, message):
    change(content)
    register_instances("mine", tmp_path, content)
    with pytest.raises(UserError, match=message) as error:
        build_evaluator("mine", str(tmp_path))
    assert "mine.json" in str(error.value)


def test_missing_and_exchanged_files(content, tmp_path):
    path = register_instances("mine", tmp_path, content)
    DatasetCatalog.get("mine")
    content["categories"][0]["id"] = 5
    content["annotations"] = []
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match=r"mine\.json .*lacks category 4"):
        build_evaluator("mine", str(tmp_path))
    path.unlink()
    with pytest.raises(UserError, match=r"mine\.json does not exist"):
        build_evaluator("mine", str(tmp_path))
    MetadataCatalog.get("bare").evaluator_type = "coco"
    with pytest.raises(UserError, match="bare has no json_file"):
        build_evaluator("bare", str(tmp_path))


def test_panoptic_datasets_get_the_ap_of_their_things(content, tmp_path):
    """Although detectron2's metadata lists stuff among the thing_classes there."""
    path = tmp_path / "instances.json"
    path.write_text(json.dumps(content))
    ids = np.ones((HEIGHT, WIDTH), int)
    labels = {i: (ids, [{"id": 1, "category_id": 100}]) for i in BOXES}
    register_panoptic("mine", tmp_path, labels, str(path))
    evaluator = build_evaluator("mine", str(tmp_path))
    evaluator.reset()
    grass = {"id": 1, "category_id": 2, "isthing": False}
    for i in BOXES:
        both = {**answer(i, True), "panoptic_seg": (torch.from_numpy(ids), [grass])}
        evaluator.process([{"image_id": i}], [both])
    results = evaluator.evaluate()
    assert results.keys() == {"bbox", "segm", "panoptic_seg"}
    assert results["segm"]["AP-nine"] == pytest.approx(100)
    assert results["panoptic_seg"]["PQ_st"] == pytest.approx(100)


@pytest.mark.parametrize("seed", range(2))
def test_digit_for_digit_as_detectron2(seed, tmp_path, scratch_catalog, write_json):
    """Boxes and masks, some wrong, of files with crowds, all forms of masks, and gaps in ids."""
    content = sound_content(seed)
    content["annotations"] = [a for a in content["annotations"] if a.get("segmentation")]
    path = write_json(content)
    register_coco_instances("mine", {}, path, str(tmp_path))
    records = DatasetCatalog.get("mine")
    rng = np.random.default_rng(seed)
    results = []
    for evaluator in (
        build_evaluator("mine", str(tmp_path / "ours")),
        COCOEvaluator("mine", output_dir=str(tmp_path / "theirs"), use_fast_impl=False),
    ):
        evaluator.reset()
        rng = np.random.default_rng(seed)
        for record in records:
            size, labels = (record["height"], record["width"]), record["annotations"]
            boxes = torch.tensor([a["bbox"] for a in labels]).reshape(-1, 4)
            boxes[:, 2:] += boxes[:, :2]
            found = Instances(size)
            found.pred_boxes = Boxes(boxes + torch.from_numpy(rng.normal(0, 0.7, boxes.shape)))
            found.scores = torch.from_numpy(rng.random(len(boxes)))
            found.pred_classes = torch.from_numpy(rng.integers(0, 3, len(boxes)))
            masks = [coco_mask.decode(to_rle(a["segmentation"], *size)) for a in labels]
            found.pred_masks = torch.from_numpy(
                np.stack(masks) if masks else np.zeros((0, *size))
            ).bool()
            evaluator.process([{"image_id": record["image_id"]}], [{"instances": found}])
        results.append(evaluator.evaluate())
    ours, theirs = results
    assert ours.keys() == theirs.keys() == {"bbox", "segm"}
    for task in ours:
        np.testing.assert_equal(ours[task], theirs[task])
        assert 0 < ours[task]["AP"] < 100
