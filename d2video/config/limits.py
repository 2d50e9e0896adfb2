"""Minimum values of config keys, checked when a config is loaded."""

import sys
from collections.abc import Mapping
from typing import Any

from detectron2.config import CfgNode

from d2video.utils.errors import UserError

ABOVE_0 = sys.float_info.min
# Minimum values by full key; in a list each number is checked. None passes if it is the default.
_LEAST: dict[str, float] = {
    "DATALOADER.MAX_RETRIES": 0,
    "DATALOADER.NUM_WORKERS": 0,
    "DATALOADER.REPEAT_THRESHOLD": 0,
    "INPUT.COPY_PASTE.MAX_OBJECTS": 1,
    "INPUT.COPY_PASTE.OVERLAP": 0,
    "INPUT.COPY_PASTE.PROB": 0,
    "INPUT.MAX_SIZE_TEST": 0,
    "INPUT.MIN_SIZE_TEST": 0,
    "SOLVER.BACKBONE_MULTIPLIER": 0,
    "SOLVER.BASE_LR": ABOVE_0,
    "SOLVER.BASE_LR_END": 0,
    "SOLVER.BIAS_LR_FACTOR": 0,
    "SOLVER.CHECKPOINT_KEEP": 0,
    "SOLVER.CLIP_GRADIENTS.CLIP_VALUE": ABOVE_0,
    "SOLVER.CLIP_GRADIENTS.NORM_TYPE": ABOVE_0,
    "SOLVER.EPOCH_STEPS": 0,
    "SOLVER.GAMMA": 0,
    "SOLVER.MAX_EPOCHS": 0,
    "SOLVER.MOMENTUM": 0,
    "SOLVER.STEPS": 0,
    "SOLVER.WARMUP_FACTOR": 0,
    "SOLVER.WARMUP_ITERS": 0,
    "SOLVER.WEIGHT_DECAY": 0,
    "SOLVER.WEIGHT_DECAY_BIAS": 0,
    "SOLVER.WEIGHT_DECAY_NORM": 0,
    "TEST.EARLY_STOPPING": 0,
    "TEST.HELD_OUT.NUM_SAMPLES": 0,
    "TEST.VIDEO.BATCH": 1,
    "TEST.VIDEO.LINK_IOU": 0,
    "TEST.VIDEO.WINDOW_OVERLAP": 0,
    "TEST.VISUALIZE.NUM_CLIPS": 0,
    "TEST.VISUALIZE.NUM_SAMPLES": 0,
    "TEST.VISUALIZE.SCORE_THRESHOLD": 0,
}
# Keys of lists of names, which may be empty.
_NAMES = (
    "DATASETS.TRAIN",
    "DATASETS.TEST",
    "MODEL.RESNETS.OUT_FEATURES",
    "MODEL.TIMM.OUT_FEATURES",
    "MODEL.WEIGHTS_IGNORE",
)


def register_least(node: str, least: Mapping[str, float]) -> None:
    """Register the minimum values of keys in a project's node, such as "MODEL.DETR"."""
    _LEAST.update({f"{node}.{key}": value for key, value in least.items()})


def check_limits(cfg: CfgNode) -> None:
    """Check the values of a config.

    Raises:
        UserError: if a value is not a number or is below the minimum of its key, if the pixel mean or
            standard deviation does not have three channels, or if a name in a list is not text.
    """
    for key, least in _LEAST.items():
        value = _get(cfg, key)
        numbers = value if isinstance(value, list | tuple) else [] if value is None else [value]
        if not all(isinstance(number, int | float) and number >= least for number in numbers):
            wanted = "a number above 0" if least == ABOVE_0 else f"{least:g} or more"
            raise UserError(f"{key} is {value}: set {wanted}")
    mean, std = cfg.MODEL.PIXEL_MEAN, cfg.MODEL.PIXEL_STD
    if len(mean) != 3:
        raise UserError(f"MODEL.PIXEL_MEAN is {mean}: give 3 numbers, one per channel")
    if len(std) != 3 or not all(number > 0 for number in std):
        raise UserError(f"MODEL.PIXEL_STD is {std}: give 3 numbers above 0, one per channel")
    for key in _NAMES:
        names = _get(cfg, key)
        if not all(isinstance(name, str) for name in names):
            what = "names of datasets, such as '(\"my_train\",)'"
            raise UserError(
                f"{key} is {names!r}: give {what if key.startswith('DATASETS.') else 'names'}"
            )
    expected = cfg.TEST.EXPECTED_RESULTS
    if not all(isinstance(entry, list | tuple) and len(entry) == 4 for entry in expected):
        raise UserError(
            f"TEST.EXPECTED_RESULTS is {expected}: give lists of task, metric, value and tolerance, "
            "such as [['segm', 'AP', 40.0, 0.5]]"
        )


def _get(cfg: CfgNode, key: str) -> Any:
    for part in key.split("."):
        cfg = cfg[part]
    return cfg
