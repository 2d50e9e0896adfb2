"""One training step in any precision, which never updates a model by numbers that are not finite."""

import json
import logging
import math
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from detectron2.config import CfgNode
from detectron2.engine import SimpleTrainer
from detectron2.utils import comm
from detectron2.utils.events import get_event_storage
from torch import Tensor, nn

from d2video.utils.distributed import highest
from d2video.utils.errors import UserError
from d2video.utils.files import replace_on_success

logger = logging.getLogger(__name__)

# Where gradients scaled by less than this are still infinite, the scale is not to blame.
LOWEST_SCALE = 2.0**-10
# What a mapped record may say of where it comes from (docs/extend/architecture.md).
_SOURCE_KEYS = (
    *("file_name", "file_names", "feature_file", "degraded_file_name", "pan_seg_file_name"),
    *("video_id", "image_id", "frame_indices", "frame_index", "task"),
)


class NonFiniteError(UserError):
    """A loss or the gradient norm is NaN or infinite; in all processes alike, before the update."""


class StepTrainer(SimpleTrainer):
    """Forward pass, backward pass and update, with autocast and loss scaling if asked for.

    Before each update all processes check whether their losses and the gradient norm are finite. If
    not, ``non_finite_<iteration>.json`` holds of every process the losses, the gradient norm and the
    sources of its batch. Then all processes raise, or leave this step out. A model may raise
    FloatingPointError in its forward pass, with the same effect.

    A gradient scaler searches for its scale by leaving out steps with infinite gradients. They do not
    count, unless the scale has fallen below ``LOWEST_SCALE``.
    """

    def __init__(
        self,
        model: nn.Module,
        data_loader: Iterable[list[dict[str, Any]]],
        optimizer: torch.optim.Optimizer,
        *,
        precision: torch.dtype | None = None,
        scaler: torch.amp.GradScaler | None = None,
        clip_norm: float = 0.0,
        norm_type: float = 2.0,
        max_skipped: int = 0,
        output_dir: str = ".",
    ):
        """
        Args:
            model: from a batch to a dict of losses; perhaps in DistributedDataParallel.
            precision: of autocast in the forward pass; None: no autocast.
            scaler: of the loss, for float16.
            clip_norm: upper limit of the norm over all gradients; 0: none.
            norm_type: exponent of that norm, above 0; infinity: the largest entry.
            max_skipped: steps that may be left out, resumed runs included; the next raises.
            output_dir: folder of the reports.
        """
        super().__init__(model, data_loader, optimizer)
        self.precision = precision
        self.grad_scaler = scaler or torch.amp.GradScaler(enabled=False)
        self.skipped = 0
        self._clip_norm = clip_norm
        self._norm_type = norm_type
        self._max_skipped = max_skipped
        self._output_dir = Path(output_dir)

    def run_step(self) -> None:
        """
        Raises:
            NonFiniteError: see above.
        """
        assert self.model.training
        start = time.perf_counter()
        data = next(self._data_loader_iter)
        data_time = time.perf_counter() - start
        losses, values, fault = self._forward(data)
        # All processes leave the backward pass out, or none: its reduction takes them all.
        if highest(bool(fault)):
            self._refuse(data, values, fault, norm=None)
            return
        self.optimizer.zero_grad()
        total: Any = sum(losses.values())
        self.grad_scaler.scale(total).backward()
        self.after_backward()
        self.grad_scaler.unscale_(self.optimizer)
        # The reduced gradients are the same in all processes, so that all come to the same decision.
        norm = self._clip_gradients()
        if not math.isfinite(norm) and self._is_to_blame():
            self.grad_scaler.update()
            self._refuse(data, values, f"the gradient norm is {norm}", norm)
            return
        metrics = {name: torch.tensor(value, dtype=torch.float64) for name, value in values.items()}
        self._write_metrics(metrics, data_time)
        self.grad_scaler.step(self.optimizer)
        self.grad_scaler.update()

    def _forward(
        self, data: list[dict[str, Any]]
    ) -> tuple[dict[str, Tensor], dict[str, float], str]:
        """The losses, their values, and what is wrong with them ("" if nothing)."""
        device = next(self.model.parameters()).device.type
        try:
            with torch.autocast(device, self.precision, enabled=self.precision is not None):
                losses = self.model(data)
        except FloatingPointError as error:
            return {}, {}, str(error)
        detached = [loss.detach() for loss in losses.values()]
        # One transfer from the GPU for all of them.
        *numbers, total = torch.stack([*detached, sum(detached, torch.tensor(0.0))]).tolist()
        values = dict(zip(losses, numbers, strict=True))
        if math.isfinite(total):
            return losses, values, ""
        wrong = [f"{name} is {v}" for name, v in values.items() if not math.isfinite(v)]
        return losses, values, ", ".join(wrong) or "the sum of the losses is infinite"

    def _clip_gradients(self) -> float:
        """The norm over all gradients, as it was before."""
        trained = [p for group in self.optimizer.param_groups for p in group["params"]]
        gradients = [p.grad for p in trained if p.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients, self._norm_type)
        if self._clip_norm:
            torch.nn.utils.clip_grads_with_norm_(trained, self._clip_norm, norm)
        return norm.item()

    def _is_to_blame(self) -> bool:
        """Whether gradients that are not finite are a fault, not a matter of the scaler."""
        return not self.grad_scaler.is_enabled() or self.grad_scaler.get_scale() < LOWEST_SCALE

    def _refuse(
        self, data: list[dict[str, Any]], losses: dict[str, float], fault: str, norm: float | None
    ) -> None:
        """Write the report and raise; or count a step that is left out. In all processes alike."""
        own = {
            "rank": comm.get_rank(),
            "fault": fault,
            "losses": {name: _as_json(loss) for name, loss in losses.items()},
            "gradient_norm": None if norm is None else _as_json(norm),
            "batch": [_source(record) for record in data],
        }
        ranks = comm.all_gather(own)
        report = self._output_dir / f"non_finite_{self.iter:07d}.json"
        if comm.is_main_process():
            with replace_on_success(report) as partial:
                report_of_all = {"iteration": self.iter, "ranks": ranks}
                text = json.dumps(report_of_all, indent=1, default=Tensor.tolist)
                partial.write_text(text + "\n")
        rank, reason = next((each["rank"], each["fault"]) for each in ranks if each["fault"])
        message = f"iteration {self.iter}: {reason} (rank {rank}), see {report}"
        # Nothing of this step may be left for the next one.
        self.optimizer.zero_grad()
        if self.skipped >= self._max_skipped:
            more = f", after {self.skipped} such steps that were left out" if self.skipped else ""
            raise NonFiniteError(
                f"{message}{more}: lower SOLVER.BASE_LR, correct the data or, for float16, set "
                "SOLVER.AMP.DTYPE bfloat16; SOLVER.SKIP_NON_FINITE leaves such steps out"
            )
        self.skipped += 1
        logger.warning("%s: step left out, %d of %d", message, self.skipped, self._max_skipped)
        get_event_storage().put_scalar("non_finite_steps", self.skipped, smoothing_hint=False)

    def state_dict(self) -> dict[str, Any]:
        state = super().state_dict() | {"skipped": self.skipped}
        if self.grad_scaler.is_enabled():
            state["grad_scaler"] = self.grad_scaler.state_dict()
        return state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """
        Raises:
            ValueError: the state is of another kind of optimizer, which torch would take.
        """
        for own, saved in zip(self.optimizer.param_groups, state_dict["optimizer"]["param_groups"]):
            for key in ("betas", "momentum"):  # of AdamW, of SGD
                if (key in own) != (key in saved):
                    raise ValueError("it is of another SOLVER.OPTIMIZER")
        super().load_state_dict(state_dict)
        self.skipped = state_dict.get("skipped", 0)  # none in a checkpoint of detectron2
        if not self.grad_scaler.is_enabled():
            return
        if "grad_scaler" in state_dict:
            self.grad_scaler.load_state_dict(state_dict["grad_scaler"])
        else:
            logger.warning(
                "The checkpoint was trained without float16: the loss scale starts at its initial value"
            )


def build_step_trainer(
    cfg: CfgNode,
    model: nn.Module,
    loader: Iterable[list[dict[str, Any]]],
    optimizer: torch.optim.Optimizer,
) -> StepTrainer:
    """The trainer that SOLVER.AMP, SKIP_NON_FINITE and CLIP_GRADIENTS of type full_model describe.

    Raises:
        UserError: an unknown DTYPE, float16 without a GPU, or a negative number of steps.
    """
    kind, skip = cfg.SOLVER.AMP.DTYPE, cfg.SOLVER.SKIP_NON_FINITE
    if skip < 0:
        raise UserError(f"SOLVER.SKIP_NON_FINITE is {skip}: set 0 or more steps")
    precision = scaler = None
    if cfg.SOLVER.AMP.ENABLED:
        if kind not in ("float16", "bfloat16"):
            raise UserError(f"SOLVER.AMP.DTYPE '{kind}' is unknown: use float16 or bfloat16")
        precision = torch.float16 if kind == "float16" else torch.bfloat16
        if kind == "float16":
            if torch.device(cfg.MODEL.DEVICE).type != "cuda":
                raise UserError("float16 training needs a GPU: set SOLVER.AMP.DTYPE bfloat16")
            scaler = torch.amp.GradScaler("cuda")
    clip = cfg.SOLVER.CLIP_GRADIENTS
    whole = clip.ENABLED and clip.CLIP_TYPE == "full_model"
    return StepTrainer(
        model,
        loader,
        optimizer,
        precision=precision,
        scaler=scaler,
        clip_norm=clip.CLIP_VALUE if whole else 0.0,
        norm_type=clip.NORM_TYPE,
        max_skipped=skip,
        output_dir=cfg.OUTPUT_DIR,
    )


def _as_json(number: float) -> float | str:
    return number if math.isfinite(number) else str(number)  # JSON has no NaN


def _source(record: dict[str, Any]) -> dict[str, Any]:
    """Where a mapped record comes from, with the frames before it if it has such."""
    found = {key: record[key] for key in _SOURCE_KEYS if key in record}
    if "previous" in record:
        found["previous"] = [_source(each) for each in record["previous"]]
    return found
