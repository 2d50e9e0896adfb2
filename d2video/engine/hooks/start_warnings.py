"""Warnings at the start of a training: frozen layers of random numbers, more objects than queries, a
changed config."""

import logging

import numpy as np
from detectron2.config import CfgNode
from detectron2.layers import FrozenBatchNorm2d
from torch import nn

from d2video.config.files import flatten

logger = logging.getLogger(__name__)


def warn_of_frozen_noise(model: nn.Module) -> None:
    """Warn if a model that starts without weights has layers that are not trained."""
    frozen = [
        name
        for name, module in model.named_modules()
        if isinstance(module, FrozenBatchNorm2d)
        or any(not p.requires_grad for p in module.parameters(recurse=False))
    ]
    if frozen:
        logger.warning(
            "MODEL.WEIGHTS is empty, so the model starts from random weights, and %d of its layers, "
            "such as %s, are frozen at them: set MODEL.WEIGHTS to weights of its backbone",
            *(len(frozen), frozen[0]),
        )


def warn_of_more_objects(cfg: CfgNode, model: nn.Module, counts: np.ndarray | None) -> None:
    """Warn of training samples with more objects than the model has queries.

    Args:
        model: of a set; others have no ``queries_key``.
        counts: how many objects each sample has at most.
    """
    if counts is None or not hasattr(model, "queries_key"):
        return
    key = f"{model.node}.{model.queries_key}"
    queries = dict(flatten(cfg))[key]
    above = counts > queries
    if above.any():
        logger.warning(
            "%d of %d training samples have more objects than %s %d, up to %d: objects without a "
            "query are not learnt in that step, and counted in the metric unmatched_objects; raise %s",
            *(above.sum(), len(counts), key, queries, counts.max(), key),
        )


def settings_of(cfg: CfgNode) -> dict[str, str]:
    """The config keys that a resumed training should keep, and their values as text."""
    solver = {key: str(value) for key, value in flatten(cfg.SOLVER, "SOLVER.")}
    return solver | {"DATASETS.TRAIN": str(tuple(cfg.DATASETS.TRAIN))}


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
            "training continues with a changed config: %s; the optimizer's settings, such as learning "
            "rates and weight decay, stay those of the checkpoint",
            ", ".join(changed),
        )
