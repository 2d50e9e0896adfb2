"""Masks in answers that have another form than agreed end in one line, in every evaluator."""

import numpy as np
import pytest
import torch
from detectron2.structures import Boxes, Instances

from d2video.data.class_matching import ClassMatch
from d2video.evaluation import YTVISEvaluator, build_evaluator
from d2video.evaluation.mapped import MappedClasses
from d2video.evaluation.vis.ground_truth import YTVISGroundTruth
from d2video.formats.mot_results import mots_results
from d2video.structures.mask_answers import check_panoptic, describe_value
from d2video.utils.errors import UserError
from tests.helpers.coco_sets import instance_content, register_instances

L, H, W = 2, 4, 6
MASKS = torch.zeros(1, L, H, W, dtype=torch.bool)


@pytest.fixture
def vis(tmp_path):
    content = {
        "videos": [
            {"id": 3, "height": H, "width": W, "length": L, "file_names": ["0.jpg", "1.jpg"]}
        ],
        "categories": [{"id": 1, "name": "cat"}],
        "annotations": [],
    }
    evaluator = YTVISEvaluator(YTVISGroundTruth.from_dict(content), {1: 0}, str(tmp_path))

    def process(masks) -> None:
        answer = {"image_size": (H, W), "pred_scores": [1.0], "pred_labels": [0]}
        evaluator.process([{"video_id": 3}], [{**answer, "pred_masks": masks}])

    process.evaluator = evaluator
    return process


@pytest.mark.parametrize(
    ("masks", "given"),
    [
        (MASKS[0], "a bool tensor (2, 4, 6); expected a bool tensor (N, L, H, W) or N lists"),
        (MASKS.float(), "a float32 tensor (1, 2, 4, 6); expected"),
        (MASKS.numpy(), "a bool array (1, 2, 4, 6); expected"),
        (None, "None; expected"),
        ("masks", "a value of type str; expected"),
        ([MASKS[0]], "prediction 0, pred_masks: a bool tensor (2, 4, 6); expected a list of one"),
        (
            [[*MASKS[0]]],
            "prediction 0, frame 0: a bool tensor (4, 6); expected a compressed COCO RLE",
        ),
        (
            [[None, [1, 2]]],
            "frame 1: a list of 2 (a value of type int, a value of type int); expected a compressed",
        ),
        ([[None, {"size": [H, W]}]], "frame 1: a dict with size; expected"),
        (
            [[{"size": [H, W], "counts": [24]}, None]],
            "frame 0: an RLE whose counts are a list of 1",
        ),
    ],
)
def test_mask_tracks(vis, masks, given):
    with pytest.raises(UserError) as error:
        vis(masks)
    message = str(error.value)
    assert message.startswith("the model's answer to video 3, ")
    assert given in message
    assert "\n" not in message
    vis(MASKS)


def instances(**fields) -> Instances:
    return Instances(
        (H, W),
        pred_boxes=Boxes(torch.tensor([[0.0, 0, 2, 2]])),
        scores=torch.ones(1),
        pred_classes=torch.zeros(1, dtype=torch.int64),
        track_ids=torch.zeros(1, dtype=torch.int64),
        **fields,
    )


@pytest.mark.parametrize(
    ("fields", "given"),
    [
        ({"pred_masks": MASKS[0, :1].float()}, "pred_masks: a float32 tensor (1, 4, 6); expected"),
        (
            {"pred_masks": [MASKS[0, 0]]},
            "pred_masks: a list of 1 (a bool tensor (4, 6)); expect",
        ),
        ({"pred_masks": MASKS[0, :1].numpy()}, "pred_masks: a bool array (1, 4, 6); expected"),
        (
            {"pred_rles": [MASKS[0, 0]]},
            "pred_rles: a bool tensor (4, 6); expected a compressed COCO",
        ),
        (
            {"pred_rles": MASKS[0, :1]},
            "pred_rles: a bool tensor (4, 6); expected a compressed COCO",
        ),
        ({"pred_rles": [None]}, "pred_rles: None; expected a compressed COCO RLE"),
    ],
)
def test_tracked_masks(fields, given):
    with pytest.raises(UserError) as error:
        mots_results([instances()[:0], instances(**fields)])
    assert f"frame 2, {given}" in str(error.value)


@pytest.mark.parametrize(
    "masks", [[MASKS[0, 0]], MASKS[0, :1].float(), MASKS[0, :1].numpy(), MASKS]
)
def test_masks_of_images(tmp_path, scratch_catalog, masks):
    register_instances("masks_of_images", tmp_path, instance_content())
    evaluator = build_evaluator("masks_of_images", str(tmp_path))
    evaluator.reset()
    answer = instances()
    answer._fields["pred_masks"] = masks  # whatever its length
    with pytest.raises(
        UserError, match=r"answer to image 1, pred_masks: .*; expected a bool tensor \(N"
    ):
        evaluator.process([{"image_id": 1}], [{"instances": answer}])


@pytest.mark.parametrize(
    ("answer", "given"),
    [
        (None, "None; expected an int tensor"),
        (torch.zeros(H, W), "a float32 tensor (4, 6); expected"),
        ((torch.zeros(H, W), []), "a tuple of 2 (a float32 tensor (4, 6), a list of 0); expected"),
        ((np.zeros((H, W), int), []), "(a int64 array (4, 6), a list of 0)"),
        ((torch.zeros(H, W, dtype=torch.int32), None), "(a int32 tensor (4, 6), None)"),
        ((torch.zeros(1, H, W, dtype=torch.int32), []), "(1, 4, 6), a list of 0"),
        ((torch.zeros(H, W, dtype=torch.int32), [3]), "a list of 1 (a value of type int)"),
    ],
)
def test_panoptic_maps(answer, given):
    with pytest.raises(UserError) as error:
        check_panoptic(answer, "here")
    assert str(error.value).startswith("here, panoptic_seg: ")
    assert given in str(error.value)
    check_panoptic((torch.zeros(H, W, dtype=torch.int32), [{"id": 1}]), "here")


@pytest.mark.parametrize("masks", [None, [MASKS[0], MASKS[0]], MASKS.float()])
def test_answers_of_other_classes_are_checked_too(vis, masks):
    classes = MappedClasses(vis.evaluator, ClassMatch(("dog", "cat"), ("cat",)))
    answer = {"image_size": (H, W), "pred_scores": [1.0, 1.0], "pred_labels": [1, 0]}
    with pytest.raises(UserError, match="expected a"):
        classes.process([{"video_id": 3}], [{**answer, "pred_masks": masks}])


def test_panoptic_answers_of_other_classes_are_checked_too(vis):
    classes = MappedClasses(vis.evaluator, ClassMatch(("dog", "cat"), ("cat",)))
    with pytest.raises(UserError, match="the model's answer, panoptic_seg: None; expected an int"):
        classes.process([{"image_id": 3}], [{"panoptic_seg": None}])


def test_what_a_value_is():
    assert describe_value({}) == "a dict with nothing"
    assert describe_value([]) == "a list of 0"
