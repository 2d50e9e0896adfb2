"""MODEL.COMPILE and TEST.PRECISION: what a meta-architecture does to the parts that take its time."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn


def accelerate(
    model: nn.Module,
    parts: Iterable[nn.Module],
    *,
    compile_model: bool = False,
    precision: torch.dtype | None = None,
) -> None:
    """Run parts of a model faster.

    What lies between the parts stays in float32, at inference as everywhere: boxes, class probabilities,
    thresholds, matching and linking. A part takes and gives float32, so that sums over its layers'
    residual connections keep that precision, too.

    Args:
        model: the meta-architecture. While it is in training mode, ``precision`` has no effect, nor on
            those parts that are frozen: SOLVER.AMP is the training's.
        parts: modules that are called with a tensor first, and return one or a dict of them.
        compile_model: torch.compile the parts.
        precision: bfloat16 or float16, of autocast within the parts; None: float32.
    """
    for part in parts:
        if precision is not None:
            part.forward = _InPrecision(model, part.forward, precision)
        if compile_model:
            part.compile()


@dataclass(frozen=True, eq=False)
class _InPrecision:
    """A part's ``forward``; a copy of the model has a copy of it."""

    model: nn.Module
    forward: Callable[..., Any]
    precision: torch.dtype

    def __call__(self, x: Tensor, *args: Any, **kwargs: Any) -> Any:
        if self.model.training:
            return self.forward(x, *args, **kwargs)
        with torch.autocast(x.device.type, self.precision):
            output = self.forward(x, *args, **kwargs)
        if isinstance(output, dict):
            return {name: value.float() for name, value in output.items()}
        return output.float()
