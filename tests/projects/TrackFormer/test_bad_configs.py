"""Configs that cannot be, and data that do not fit."""

import re

import pytest
from detectron2.data import MetadataCatalog

from d2video.utils.errors import UserError
from tests.projects.TrackFormer.test_meta_arch import BATCHES
from tests.projects.TrackFormer.tiny import (
    NODE,
    build,
    losses_of,
    make_pair,
)


@pytest.mark.parametrize("width", [32, 48, 80])
def test_width_is_free_where_nothing_forbids_it(width):
    model = build("detr", f"{NODE}.HIDDEN_DIM", width)
    assert sum(losses_of(model, BATCHES["one_size"]).values()).isfinite()


DEFORMABLE = f"{NODE}.DEFORMABLE"
JOINT = f"{DEFORMABLE}.MULTI_FRAME_ATTENTION_SEPARATE_ENCODER"


@pytest.mark.parametrize(
    ("variant", "overrides", "message"),
    [
        ("detr", [f"{NODE}.NUM_CLASSES", 0], "NUM_CLASSES is 0"),
        ("detr", [f"{NODE}.NUM_QUERIES", 0], "NUM_QUERIES is 0"),
        ("detr", [f"{NODE}.HIDDEN_DIM", 0], "HIDDEN_DIM is 0"),
        ("detr", [f"{NODE}.NUM_HEADS", 0], "NUM_HEADS is 0"),
        ("detr", [f"{NODE}.DEC_LAYERS", 0], "DEC_LAYERS is 0"),
        ("deformable", [f"{DEFORMABLE}.NUM_LEVELS", 0], "NUM_LEVELS is 0"),
        ("deformable", [f"{DEFORMABLE}.NUM_FRAMES", 0], "NUM_FRAMES is 0"),
        ("deformable", [f"{DEFORMABLE}.ENC_POINTS", 0], "ENC_POINTS is 0"),
        ("deformable", [f"{DEFORMABLE}.DEC_POINTS", 0], "DEC_POINTS is 0"),
        ("detr", [f"{NODE}.HIDDEN_DIM", 30], "HIDDEN_DIM (30)"),
        ("deformable", [f"{NODE}.HIDDEN_DIM", 100], "HIDDEN_DIM is 100.* of 32, such as 128"),
        ("deformable", [f"{NODE}.NUM_HEADS", 5], "NUM_HEADS 5 .*must be a multiple of 160"),
        ("multi_frame", [f"{NODE}.HIDDEN_DIM", 256], "NUM_FRAMES 2 .* of 96, such as 288"),
        ("deformable", [f"{DEFORMABLE}.NUM_LEVELS", 2], "3 backbone features for 2 levels"),
        (
            "two_stage",
            [f"{DEFORMABLE}.BOX_REFINE", False],
            "two stages need box refinement",
        ),
        ("detr", [f"{NODE}.IN_FEATURES", ["res9"]], "IN_FEATURES is"),
        ("detr_masks", [f"{NODE}.MASK_FEATURES", ["res9"]], "MASK_FEATURES is"),
        ("detr_masks", [f"{NODE}.MASK_FEATURES", []], "MASK_FEATURES is"),
        ("deformable_masks", [f"{NODE}.MASK_FEATURES", ["res2"]], "must be one of IN_FEATURES"),
        ("deformable", [f"{DEFORMABLE}.OFFSET_UNIT", "xy"], "choose wh or hw"),
        ("detr", [f"{NODE}.IN_FEATURES", ["res4", "res5"]], "set DEFORMABLE.ENABLED True"),
        ("detr", [f"{DEFORMABLE}.NUM_FRAMES", 2], "set DEFORMABLE.ENABLED True"),
        ("detr", [f"{DEFORMABLE}.MERGE_FRAME_FEATURES", True], "set DEFORMABLE.ENABLED True"),
        ("detr", [JOINT, False], "SEPARATE_ENCODER False need deformable attention"),
        (
            "deformable",
            [JOINT, False],
            "SEPARATE_ENCODER is False, but NUM_FRAMES is 1.*set NUM_FRAMES 2",
        ),
        ("joint_encoder", [f"{NODE}.ENC_LAYERS", 0], "and ENC_LAYERS 0: set NUM_FRAMES 2"),
        ("detr", [f"{NODE}.TRACK_LINKS", True], "set DEFORMABLE.ENABLED True"),
        ("two_stage", [f"{NODE}.TRACK_LINKS", True], "needs DEFORMABLE.DENSE_PROPOSALS"),
        ("deformable", [f"{DEFORMABLE}.DENSE_PROPOSALS", True], "needs TWO_STAGE"),
        ("detr", [f"{NODE}.LINK_UPDATE", 0.0], "LINK_UPDATE is 0.0: set a share above 0"),
        ("detr", [f"{NODE}.FOCAL_LOSS", True], "set DEFORMABLE.ENABLED True"),
        ("deformable", [f"{NODE}.TRACK_ATTENTION", True], "set DEFORMABLE.ENABLED False"),
        ("deformable_masks", [f"{NODE}.PRE_NORM", True], "set DEFORMABLE.ENABLED False"),
        ("detr", [f"{NODE}.FALSE_NEGATIVE_PROB", 1.5], "FALSE_NEGATIVE_PROB is 1.5"),
        ("detr", [f"{NODE}.FALSE_POSITIVE_PROB", -0.5], "FALSE_POSITIVE_PROB is -0.5"),
        ("detr", [f"{NODE}.FREEZE_DETECTOR", True], "set MODEL.MASK_ON True"),
        ("detr", [f"{NODE}.TRACKED_CLASSES", [0, 3]], "TRACKED_CLASSES is [0, 3].*are 0 to 2"),
        ("detr", [f"{NODE}.TRACKED_CLASSES", [-1]], "TRACKED_CLASSES is [-1]"),
        (
            "detr",
            ["DATASETS.TEST", ["mots20_val_half"]],
            "mots20_val_half .*set MODEL.MASK_ON True",
        ),
        (
            "detr",
            [f"{NODE}.TRACKER.PUBLIC_DETECTIONS", "min_iou_0_5", "DATASETS.TEST", ["mot17_test"]],
            "mot17_test of DATASETS.TEST has no public detections",
        ),
    ],
)
def test_bad_configs(variant, overrides, message):
    escaped = re.sub(r"([()[\]])", r"\\\1", message)
    with pytest.raises(UserError, match=escaped):
        build(variant, *overrides)


@pytest.mark.parametrize(("tracked", "is_told"), [([0], True), ([], False), ([1, 0], False)])
def test_classes_that_are_not_tracked_are_told(tracked, is_told, caplog, scratch_catalog):
    MetadataCatalog.get("cats_dogs").set(evaluator_type="mot", thing_classes=["cat", "dog"])
    build("detr", f"{NODE}.TRACKED_CLASSES", tracked, "DATASETS.TEST", ["cats_dogs"])
    told = (
        "TRACKED_CLASSES is [0], so that other classes are not found, but dataset cats_dogs has 2"
    )
    assert (told in caplog.text) == is_told


def test_another_mapper():
    item = make_pair()
    del item["previous"]
    with pytest.raises(UserError, match="set INPUT.DATASET_MAPPER FramePairMapper"):
        losses_of(build("deformable"), [item])


@pytest.mark.parametrize("where", ["current", "previous"])
def test_class_beyond_the_model(where):
    item = make_pair()
    frame = item if where == "current" else item["previous"][0]
    frame["instances"].gt_classes[1] = 3
    with pytest.raises(UserError, match=f"raise {NODE}.NUM_CLASSES"):
        losses_of(build("deformable"), [item])
