"""The moving average of the weights, which is evaluated and saved in place of those that are trained."""

from typing import Any

import torch
from detectron2.config import CfgNode
from detectron2.engine import HookBase
from torch import Tensor, nn
from torch.optim.swa_utils import PARAM_LIST, AveragedModel, get_ema_multi_avg_fn

from d2video.structures import class_names_of, set_class_names
from d2video.utils.errors import UserError


class AverageHook(HookBase):
    """Keeps the exponential moving average of a model's weights, updated after each step.

    average = d · average + (1 - d) · weights, with d = :func:`decay_after` that many steps (B. T. Polyak,
    A. B. Juditsky: Acceleration of stochastic approximation by averaging, 1992; in detection M. Tan et
    al.: EfficientDet, 2020).

    Evaluate :attr:`average`, and save it as the "model" of checkpoints, so that all who read them get it.
    The weights that are trained are the state of the hook: a resumed training goes on from them. Any other
    training begins with the weights loaded into the average. Register the hook in all processes, before
    the hooks that save and evaluate.

    Attributes:
        average: a copy of the model.
    """

    def __init__(self, model: nn.Module, decay: float):
        """
        Args:
            model: not wrapped in DistributedDataParallel, but already synchronized by it.
            decay: greatest share of the old average in the new one, between 0 and 1.

        Raises:
            UserError: ``decay`` is not between 0 and 1.
        """
        if not 0 < decay < 1:
            raise UserError(f"SOLVER.EMA.DECAY is {decay}: set a number between 0 and 1")
        self._decay = decay
        self._model = model
        self._resumed = False
        # The statistics of BatchNorm are averaged, too: they belong to the weights of the last steps,
        # from which the averaged ones differ.
        self._averaged = AveragedModel(model, multi_avg_fn=self._update, use_buffers=True)
        self._averaged.requires_grad_(False)
        self.average: nn.Module = self._averaged.module

    def _update(self, average: PARAM_LIST, weights: PARAM_LIST, steps: Tensor | int) -> None:
        """Update all tensors of one type; whole numbers, such as counts of batches, are copied."""
        if average[0].is_floating_point():
            update = get_ema_multi_avg_fn(decay_after(int(steps), self._decay))
            update(average, weights, steps)
        else:
            torch._foreach_copy_(average, weights)

    def before_train(self) -> None:
        if not self._resumed:
            self._model.load_state_dict(self.average.state_dict())
        set_class_names(self._model, class_names_of(self.average))

    def after_step(self) -> None:
        self._averaged.update_parameters(self._model)

    def state_dict(self) -> dict[str, Any]:
        return {"model": self._model.state_dict(), "steps": int(self._averaged.n_averaged)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """
        Raises:
            KeyError, RuntimeError, TypeError, ValueError: the state of something else.
        """
        steps = state["steps"]
        if type(steps) is not int or steps < 0:
            raise ValueError(f"its average is of {steps} steps")
        self._model.load_state_dict(state["model"])
        self._averaged.n_averaged.fill_(steps)
        self._resumed = True


def decay_after(steps: int, limit: float) -> float:
    """The decay of an average over ``steps`` steps: min(limit, (1 + steps) / (10 + steps)), as in
    TensorFlow's ExponentialMovingAverage.

    It grows, so that the first weights are soon forgotten: the average spans about the last tenth of the
    training, until ``limit`` is reached, and then the last 1 / (1 - limit) steps.
    """
    return min(limit, (1 + steps) / (10 + steps))


def build_average_hook(cfg: CfgNode, model: nn.Module) -> AverageHook | None:
    """The hook that SOLVER.EMA describes; None: disabled.

    Raises:
        UserError: TEST.PRECISE_BN is enabled, too; see also :class:`AverageHook`.
    """
    if not cfg.SOLVER.EMA.ENABLED:
        return None
    if cfg.TEST.PRECISE_BN.ENABLED:
        raise UserError(
            "SOLVER.EMA and TEST.PRECISE_BN are both enabled, but PRECISE_BN measures the statistics of "
            "weights that are not evaluated: disable one of them"
        )
    return AverageHook(model, cfg.SOLVER.EMA.DECAY)
