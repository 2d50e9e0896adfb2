"""What a training is warned of when it starts: frozen layers of noise, a config that has changed."""

import logging

from detectron2.config import CfgNode
from detectron2.layers import FrozenBatchNorm2d
from torch import nn

logger = logging.getLogger(__name__)


def warn_of_frozen_noise(model: nn.Module) -> None:
    """Where a model without weights has layers that are not trained."""
    frozen = [
        name
        for name, module in model.named_modules()
        if isinstance(module, FrozenBatchNorm2d)
        or any(not p.requires_grad for p in module.parameters(recurse=False))
    ]
    if frozen:
        logger.warning(
            "MODEL.WEIGHTS is empty, so that the model starts from random numbers, and %d of its "
            "layers, such as %s, stay as they are: name weights of its backbone",
            *(len(frozen), frozen[0]),
        )


def settings_of(cfg: CfgNode) -> dict[str, str]:
    """What a resumed training had better not change: config keys and their values as text."""
    found = {"DATASETS.TRAIN": str(tuple(cfg.DATASETS.TRAIN))}
    for key, value in cfg.SOLVER.items():
        parts = value.items() if isinstance(value, CfgNode) else [("", value)]
        found |= {f"SOLVER.{key}{part and '.'}{part}": str(each) for part, each in parts}
    return found


def warn_of_changes(before: dict[str, str], now: dict[str, str]) -> None:
    """
    Args:
        before, now: :func:`settings_of` the checkpoint's config and of this one.
    """
    changed = [
        f"{key} was {before[key]}, is {now[key]}"
        for key in sorted(before.keys() & now.keys())
        if before[key] != now[key]
    ]
    if changed:
        logger.warning(
            "the training goes on with another config: %s; what the optimizer keeps, such as "
            "learning rates and weight decay, stays that of the checkpoint",
            ", ".join(changed),
        )
