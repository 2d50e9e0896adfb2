"""Optimizers and schedules built from the config."""

import math
from collections.abc import Callable
from typing import Any

import torch
from detectron2.config import CfgNode
from detectron2.solver import build_lr_scheduler as build_detectron2_lr_scheduler
from detectron2.solver.build import get_default_optimizer_params, maybe_add_gradient_clipping
from torch import nn
from torch.optim.lr_scheduler import LRScheduler

from d2video.utils.errors import UserError

_OPTIMIZERS: dict[str, type[torch.optim.Optimizer]] = {
    "ADAMW": torch.optim.AdamW,
    "SGD": torch.optim.SGD,
}
_CLIP_TYPES = ("full_model", "norm", "value")


def build_optimizer(cfg: CfgNode, model: nn.Module) -> torch.optim.Optimizer:
    """SOLVER.OPTIMIZER over all trainable parameters.

    Parameters with "backbone" in their name learn at BASE_LR · BACKBONE_MULTIPLIER, those that
    SOLVER.LR_MULTIPLIERS names at BASE_LR times their factor there.
    SOLVER.CLIP_GRADIENTS.CLIP_TYPE may be, besides detectron2's "value" and "norm" (each parameter
    by itself, in the optimizer), "full_model": the norm over all gradients, as the DETR family
    trains, which :class:`~d2video.engine.step.StepTrainer` clips.

    Raises:
        UserError: unknown optimizer or CLIP_TYPE; LR_MULTIPLIERS of another form, or with a name
            that no parameter has.
    """
    if cfg.SOLVER.OPTIMIZER not in _OPTIMIZERS:
        raise UserError(
            f"SOLVER.OPTIMIZER '{cfg.SOLVER.OPTIMIZER}' is unknown: use {', '.join(_OPTIMIZERS)}"
        )
    params = get_default_optimizer_params(
        model,
        base_lr=cfg.SOLVER.BASE_LR,
        weight_decay=cfg.SOLVER.WEIGHT_DECAY,
        weight_decay_norm=cfg.SOLVER.WEIGHT_DECAY_NORM,
        bias_lr_factor=cfg.SOLVER.BIAS_LR_FACTOR,
        weight_decay_bias=cfg.SOLVER.WEIGHT_DECAY_BIAS,
        lr_factor_func=_lr_factors(cfg, [name for name, _ in model.named_parameters()]),
    )
    kind = _OPTIMIZERS[cfg.SOLVER.OPTIMIZER]
    clip = cfg.SOLVER.CLIP_GRADIENTS
    if clip.ENABLED and clip.CLIP_TYPE not in _CLIP_TYPES:
        raise UserError(
            f"SOLVER.CLIP_GRADIENTS.CLIP_TYPE '{clip.CLIP_TYPE}' is unknown: use "
            f"{', '.join(_CLIP_TYPES)}"
        )
    if not (clip.ENABLED and clip.CLIP_TYPE == "full_model"):
        kind = maybe_add_gradient_clipping(cfg, kind)
    arguments: dict[str, Any] = {"lr": cfg.SOLVER.BASE_LR, "fused": True}
    if cfg.SOLVER.OPTIMIZER == "SGD":
        arguments |= {"momentum": cfg.SOLVER.MOMENTUM, "nesterov": cfg.SOLVER.NESTEROV}
    return kind(params, **arguments)


def _lr_factors(cfg: CfgNode, names: list[str]) -> Callable[[str], float]:
    """From a parameter's name to what BASE_LR is multiplied by; ``names`` are all there are."""
    multipliers = cfg.SOLVER.LR_MULTIPLIERS
    for entry in multipliers:
        match entry:
            case [str(part), float() | int() as factor] if part and 0 <= factor < math.inf:
                if not any(_has_part(name, part) for name in names):
                    raise UserError(
                        f"SOLVER.LR_MULTIPLIERS names '{part}', which no parameter of the model has "
                        "in its name: correct it or take it out"
                    )
            case _:
                raise UserError(
                    f"SOLVER.LR_MULTIPLIERS has the entry {entry}: write [[part of a name, factor], "
                    '...], such as [["sampling_offsets", 0.1]]'
                )

    def factor_of(name: str) -> float:
        for part, factor in multipliers:
            if _has_part(name, part):
                return factor
        return cfg.SOLVER.BACKBONE_MULTIPLIER if "backbone" in name else 1.0

    return factor_of


def _has_part(name: str, part: str) -> bool:
    return f".{part}." in f".{name}."


def build_lr_scheduler(cfg: CfgNode, optimizer: torch.optim.Optimizer) -> LRScheduler:
    """detectron2's schedule SOLVER.LR_SCHEDULER_NAME over SOLVER.MAX_ITER iterations.

    Raises:
        UserError: an unknown schedule, unordered STEPS, or no iterations.
    """
    if cfg.SOLVER.MAX_ITER < 1:
        raise UserError(
            f"SOLVER.MAX_ITER is {cfg.SOLVER.MAX_ITER}: set 1 or more, or evaluate with --eval-only"
        )
    try:
        return build_detectron2_lr_scheduler(cfg, optimizer)
    except ValueError as error:
        raise UserError(
            f"the schedule cannot be built ({error}): check SOLVER.LR_SCHEDULER_NAME "
            f"('{cfg.SOLVER.LR_SCHEDULER_NAME}') and SOLVER.STEPS {tuple(cfg.SOLVER.STEPS)}"
        ) from error


def resolve_epochs(cfg: CfgNode, samples: int) -> CfgNode:
    """Turn SOLVER.MAX_EPOCHS and EPOCH_STEPS into MAX_ITER and STEPS; 0 epochs leave cfg as it is.

    An epoch is the training set once, its last incomplete batch dropped.

    Args:
        samples: clips or images in the training set.

    Returns:
        a copy of ``cfg``.

    Raises:
        UserError: the training set is smaller than a batch.
    """
    if not cfg.SOLVER.MAX_EPOCHS:
        return cfg
    batch = cfg.SOLVER.IMS_PER_BATCH
    iterations = samples // batch
    if not iterations:
        raise UserError(
            f"the training set has {samples} clips, fewer than a batch of {batch}: lower "
            "SOLVER.IMS_PER_BATCH"
        )
    cfg = cfg.clone()
    cfg.defrost()
    cfg.SOLVER.MAX_ITER = iterations * cfg.SOLVER.MAX_EPOCHS
    cfg.SOLVER.STEPS = tuple(iterations * epoch for epoch in cfg.SOLVER.EPOCH_STEPS)
    cfg.freeze()
    return cfg
