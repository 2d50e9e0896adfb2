"""The evaluator as detectron2 drives it."""

import copy
import json
import logging
import math

import numpy as np
import pytest
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.evaluation import COCOPanopticEvaluator

from d2video.evaluation import PanopticEvaluator, build_evaluator
from d2video.evaluation import coco as coco_evaluators
from d2video.utils.errors import UserError
from tests.helpers.coco_sets import STUFF_IDS, THING_IDS, register_panoptic, write_images

IDS = np.array([[1, 1, 1, 1, 700, 700, 70000, 70000, 70000, 70000]] * 2)
SEGMENTS = [
    {"id": 1, "category_id": 4},
    {"id": 700, "category_id": 9},
    {"id": 70000, "category_id": 120},
]
# Of segment 1 three of four columns, of 70000 five columns in place of four; 700 is missed.
PREDICTED = torch.tensor([[3, 3, 3, 0, 0, 5, 5, 5, 5, 5]] * 2)
ANSWER = [
    {"id": 3, "category_id": 0, "isthing": True},
    {"id": 5, "category_id": 3, "isthing": False},
]
EXPECTED = {
    "PQ": 100 * (0.75 + 0.8) / 3,
    "SQ": 100 * (0.75 + 0.8) / 3,
    "RQ": 200 / 3,
    "PQ_th": 37.5,
    "SQ_th": 37.5,
    "RQ_th": 50,
    "PQ_st": 80,
    "SQ_st": 80,
    "RQ_st": 100,
}


@pytest.fixture
def evaluator(tmp_path, scratch_catalog):
    """Of images 5 and 9, which have the same labels."""
    register_panoptic("mine", tmp_path, {5: (IDS, SEGMENTS), 9: (IDS, SEGMENTS)})
    return PanopticEvaluator.from_dataset("mine")


def answer(ids=PREDICTED, segments=ANSWER):
    return {"panoptic_seg": (ids, segments)}


def test_hand_computed_case(evaluator):
    before = copy.deepcopy(ANSWER)
    evaluator.reset()
    evaluator.process([{"image_id": 5}, {"image_id": 9}], [answer(), answer()])
    # An image that comes again is not counted again; the first answer stays.
    evaluator.process([{"image_id": 5}], [answer(PREDICTED * 0, [])])
    results = evaluator.evaluate()
    assert list(results) == ["panoptic_seg"]
    assert list(results["panoptic_seg"]) == list(EXPECTED)
    assert results["panoptic_seg"] == pytest.approx(EXPECTED)
    assert before == ANSWER


def test_classes_that_are_known_once_the_dataset_is_read(evaluator, tmp_path):
    write_images(tmp_path)
    metadata = MetadataCatalog.get("late").set(
        panoptic_json=str(tmp_path / "mine.json"), panoptic_root=str(tmp_path)
    )
    with pytest.raises(UserError, match="late has no thing_dataset_id_to_contiguous_id"):
        PanopticEvaluator.from_dataset("late")

    def load():
        metadata.set(
            thing_dataset_id_to_contiguous_id=THING_IDS, stuff_dataset_id_to_contiguous_id=STUFF_IDS
        )
        return [{}]

    DatasetCatalog.register("late", load)
    late = PanopticEvaluator.from_dataset("late")
    late.process([{"image_id": 5}, {"image_id": 9}], [answer(), answer()])
    assert late.evaluate()["panoptic_seg"] == pytest.approx(EXPECTED)


def test_perfect_answer(evaluator):
    segments = [
        {"id": 1, "category_id": 0, "isthing": True},
        {"id": 700, "category_id": 1, "isthing": True},
        {"id": 70000, "category_id": 3, "isthing": False},
    ]
    ids = torch.from_numpy(IDS).int()
    evaluator.process([{"image_id": i} for i in (5, 9)], [answer(ids, segments)] * 2)
    results = evaluator.evaluate()["panoptic_seg"]
    assert all(value == pytest.approx(100) for value in results.values())


def test_images_without_an_answer_count_as_missed(evaluator, caplog):
    evaluator.process([{"image_id": 9}], [answer()])
    quality = evaluator.evaluate()["panoptic_seg"]
    assert quality["PQ_st"] == pytest.approx(100 * 0.8 / 1.5)
    assert "1 of 2 images have no answer (the first is image 5)" in caplog.text
    evaluator.reset()
    quality = evaluator.evaluate()["panoptic_seg"]
    assert quality["PQ"] == quality["RQ_th"] == 0


def test_nan_where_nothing_of_a_kind_occurs(tmp_path, scratch_catalog):
    register_panoptic("mine", tmp_path, {5: (np.ones((2, 2), int), SEGMENTS[:1])})
    quality = PanopticEvaluator.from_dataset("mine").evaluate()["panoptic_seg"]
    assert quality["PQ"] == quality["PQ_th"] == 0
    assert math.isnan(quality["PQ_st"])


def test_things_and_stuff_may_share_numbers(tmp_path, scratch_catalog):
    """detectron2's "separated" datasets count stuff from 0 again, with an extra class there."""
    register_panoptic("mine", tmp_path, {5: (IDS, SEGMENTS)})
    path = str(tmp_path / "mine.json")
    evaluator = PanopticEvaluator(path, str(tmp_path), {4: 0, 9: 1}, {0: 0, 100: 1, 120: 2})
    segments = [ANSWER[0], {**ANSWER[1], "category_id": 2}]
    evaluator.process([{"image_id": 5}], [answer(segments=segments)])
    assert evaluator.evaluate()["panoptic_seg"] == pytest.approx(EXPECTED)
    evaluator.reset()
    segments[1]["category_id"] = 0
    with pytest.raises(UserError, match="category 0 of segment 5 is not a stuff category"):
        evaluator.process([{"image_id": 5}], [answer(segments=segments)])


@pytest.mark.parametrize(
    ("image_id", "given", "message"),
    [
        (4, answer(), "image 4 is not in .*mine.json"),
        (5, answer(PREDICTED[:1]), r"answer to image 5: the panoptic_seg map is \[1, 10\]"),
        (5, answer(PREDICTED + 1), "image 5: the ids of the map and of segments_info differ"),
        (5, answer(segments=[*ANSWER, ANSWER[0]]), "an id is given twice"),
        (5, answer(segments=[*ANSWER, {**ANSWER[0], "id": 0}]), "id 0, which is void"),
        (
            5,
            answer(segments=[{**ANSWER[0], "category_id": 2}]),
            "segment 3 is not a thing category",
        ),
    ],
)
def test_answers_that_do_not_fit(evaluator, image_id, given, message):
    with pytest.raises(UserError, match=message):
        evaluator.process([{"image_id": image_id}], [given])


def test_faulty_annotations(evaluator, tmp_path):
    (tmp_path / "5.png").unlink()
    with pytest.raises(UserError, match=r"image file .*5\.png does not exist"):
        evaluator.process([{"image_id": 5}], [answer()])
    path = tmp_path / "mine.json"
    content = json.loads(path.read_text())
    for change, message in (
        (
            {"categories": content["categories"][1:]},
            "category id 4 is not in",
        ),
        ({"categories": [{"id": 4, "name": "four"}]}, "category 4: it has no isthing"),
        (
            {"categories": [{"id": i, "name": "four", "isthing": i} for i in (0, 1)]},
            "category 1: its name, 'four', is there twice",
        ),
        (
            {"annotations": [{"image_id": 3, "file_name": "3.png"}]},
            "annotation of image 3: it has no list of objects 'segments_info'",
        ),
    ):
        path.write_text(json.dumps({**content, **change}))
        with pytest.raises(UserError, match=rf"mine\.json.*{message}"):
            PanopticEvaluator.from_dataset("mine")
    content["categories"].append({"id": 130, "name": "sand", "isthing": 0})
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match="category id 130 of .*mine.json is not in the dataset's"):
        PanopticEvaluator.from_dataset("mine")
    path.unlink()
    with pytest.raises(UserError, match=r"mine\.json does not exist"):
        PanopticEvaluator.from_dataset("mine")
    MetadataCatalog.get("bare").evaluator_type = "coco_panoptic_seg"
    with pytest.raises(UserError, match="bare has no panoptic_json in its metadata"):
        build_evaluator("bare", str(tmp_path))


def test_registered_for_coco_panoptic(evaluator, tmp_path, caplog, monkeypatch):
    write_images(tmp_path)
    with caplog.at_level(logging.WARNING):
        built = build_evaluator("mine", str(tmp_path))
    assert "mine has no instance annotations: AP is not computed" in caplog.text
    built.reset()
    built.process([{"image_id": 5}, {"image_id": 9}], [answer(), answer()])
    assert built.evaluate()["panoptic_seg"] == pytest.approx(EXPECTED)
    # The official code is preferred where it is installed.
    monkeypatch.setattr(coco_evaluators.importlib.util, "find_spec", lambda name: name)
    (official,) = build_evaluator("mine", str(tmp_path))._evaluators
    assert isinstance(official, COCOPanopticEvaluator)


def test_a_label_image_without_a_segment_of_the_file_is_refused(tmp_path, scratch_catalog):
    register_panoptic("mine", tmp_path, {5: (IDS, [*SEGMENTS, {"id": 8, "category_id": 4}])})
    evaluator = PanopticEvaluator.from_dataset("mine")
    with pytest.raises(UserError, match=r"label image .*5\.png: segment 8 .* has no pixels"):
        evaluator.process([{"image_id": 5}], [answer()])
