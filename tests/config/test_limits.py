"""Values that no model, solver or loader takes end when the config is loaded."""

import pytest

from d2video.config import load_cfg
from d2video.projects import register_all
from d2video.utils.errors import UserError

register_all()


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("SOLVER.BASE_LR", "-1.0", "is -1.0: set a number above 0"),
        ("SOLVER.BASE_LR", "0.0", "is 0.0: set a number above 0"),
        ("SOLVER.MOMENTUM", "-1.0", "is -1.0: set 0 or more"),
        ("SOLVER.WEIGHT_DECAY", "-1.0", "is -1.0: set 0 or more"),
        ("SOLVER.WEIGHT_DECAY_BIAS", "x", "is x: set 0 or more"),
        ("SOLVER.STEPS", "(3, -1)", r"is \(3, -1\): set 0 or more"),
        ("DATALOADER.NUM_WORKERS", "-1", "is -1: set 0 or more"),
        ("MODEL.PIXEL_MEAN", "[3]", r"is \[3\]: give 3 numbers, one per channel"),
        ("MODEL.PIXEL_STD", "[3]", r"is \[3\]: give 3 numbers above 0"),
        ("MODEL.PIXEL_STD", "[1, 0, 1]", r"is \[1, 0, 1\]: give 3 numbers above 0"),
        ("MODEL.RESNETS.OUT_FEATURES", "[['x']]", r"is \[\['x'\]\]: give names"),
        ("MODEL.WEIGHTS_IGNORE", "[3]", r"is \(3,\): give names"),
        ("TEST.EXPECTED_RESULTS", "[3]", r"is \[3\]: give lists of task"),
        ("MODEL.VISTR.LABEL_OFFSET", "-1", "is -1: set 0 or more"),
        ("MODEL.VISTR.COST_IOU", "-1.0", "is -1.0: set 0 or more"),
        ("MODEL.VISTR.POSITION_WAVES", "0.0", "is 0.0: set a number above 0"),
        ("MODEL.VISTR.POSITION_TEMPERATURE", "0.0", "is 0.0: set 1 or more"),
        ("SOLVER.CLIP_GRADIENTS.CLIP_VALUE", "-1.0", "is -1.0: set a number above 0"),
        ("MODEL.DETR.ENC_LAYERS", "-1", "is -1: set 0 or more"),
        ("MODEL.DETR.L1_WEIGHT", "-5.0", "is -5.0: set 0 or more"),
        ("MODEL.TRACKFORMER.MASK_DIM", "-1", "is -1: set 0 or more"),
        ("MODEL.TRACKFORMER.COST_GIOU", "nan", "COST_GIOU is"),
        ("INPUT.RESTORATION.TASK_SEED", "-1", "is -1: set 0 or more"),
    ],
)
def test_a_value_out_of_range_is_named_with_its_key(key, value, message):
    with pytest.raises(UserError, match=message) as error:
        load_cfg("", [key, value])
    assert key in str(error.value)


def test_the_least_values_themselves_are_taken():
    cfg = load_cfg(
        "", ["SOLVER.MOMENTUM", "0.0", "MODEL.DETR.ENC_LAYERS", "0", "SOLVER.STEPS", "()"]
    )
    assert (cfg.SOLVER.MOMENTUM, cfg.MODEL.DETR.ENC_LAYERS, cfg.SOLVER.STEPS) == (0, 0, ())
