"""The IPT meta-architecture: detectron2-style inputs and outputs around the network.

Shapes: B: patches, p: side of a patch, s: scale of the task, h×w: an image.
"""

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from d2video.projects.ipt.contrastive import FORMS, contrastive_loss
from d2video.projects.ipt.network import IPTNetwork
from d2video.projects.ipt.official import OfficialTiling
from d2video.projects.ipt.patch_loss import PATCH_LOSSES
from d2video.projects.ipt.self_ensemble import self_ensemble
from d2video.projects.ipt.tasks import parse_tasks, task_index
from d2video.projects.ipt.tiling import Tiling
from d2video.projects.ipt.whole_images import restore
from detectron2.config import CfgNode, configurable
from detectron2.modeling import META_ARCH_REGISTRY
from detectron2.utils.events import get_event_storage
from torch import Tensor, nn

from d2video.config.checks import check_counts
from d2video.config.precision import inference_precision
from d2video.inference.tasks import RestorationTask
from d2video.modeling.acceleration import accelerate
from d2video.modeling.pixels import rows_at_once
from d2video.structures.answers import RestoredAnswer
from d2video.utils.batches import in_batches
from d2video.utils.errors import UserError
from d2video.utils.transfer import to_device

_NODE = "MODEL.IPT"
_CHOICES = {
    "LOSS": tuple(PATCH_LOSSES),
    "CONTRASTIVE_FORM": tuple(FORMS),
    "TILING": ("fast", "official"),
}


@META_ARCH_REGISTRY.register()
class IPT(nn.Module):
    """Image Processing Transformer: several kinds of restoration by one model.

    Inputs and answers are described in docs/extend/architecture.md (restoration); images are RGB, 0..255.

    Args:
        network: restores patches.
        task: of inputs that name none; "": the only one of the network.
        patch_loss: name in ``PATCH_LOSSES``.
        contrastive_weight: of the contrastive loss; 0: it is not computed.
        contrastive_form: see :func:`.contrastive.contrastive_loss`.
        freeze_trunk: train only the heads, tails and queries.
        tiling: of whole images; None: the default of :class:`.tiling.Tiling`.
        self_ensemble: give the mean of the answers to the eight flips and quarter turns of an image.
        video_batch: frames of a video that are restored at once, so that their patches share batches.
        compile_model, precision: of the body, which has most of the operations; see
            :func:`~d2video.modeling.acceleration.accelerate`. Heads and tails pass the pixels on.
    """

    task = RestorationTask()
    # A batch is of one task: the other heads, tails and queries get no gradient.
    leaves_parameters_unused = True

    @configurable
    def __init__(
        self,
        *,
        network: IPTNetwork,
        task: str = "",
        patch_loss: str = "l1",
        contrastive_weight: float = 0.1,
        contrastive_form: str = "paper",
        freeze_trunk: bool = False,
        tiling: Tiling | None = None,
        self_ensemble: bool = False,
        video_batch: int = 1,
        compile_model: bool = False,
        precision: torch.dtype | None = None,
    ):
        super().__init__()
        self.network = network
        if task:
            task_index(network.tasks, task)
        self.default_task = task
        self.patch_loss = patch_loss
        self.contrastive_weight = contrastive_weight
        self.contrastive_form = contrastive_form
        self.tiling = tiling or Tiling(network.patch_size)
        self.self_ensemble = self_ensemble
        self.video_batch = video_batch
        if freeze_trunk:
            for parameter in network.trunk_parameters():
                parameter.requires_grad_(False)
        accelerate(self, [network.body], compile_model=compile_model, precision=precision)

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict[str, Any]:
        node = cfg.MODEL.IPT
        check_config(cfg)
        return {
            "network": IPTNetwork(
                parse_tasks(node.TASKS),
                num_features=node.NUM_FEATURES,
                patch_size=node.PATCH_SIZE,
                token_size=node.TOKEN_SIZE,
                num_layers=node.NUM_LAYERS,
                num_heads=node.NUM_HEADS,
                feedforward_ratio=node.FEEDFORWARD_RATIO,
                dropout=node.DROPOUT,
                pixel_mean=cfg.MODEL.PIXEL_MEAN,
                pixel_std=cfg.MODEL.PIXEL_STD,
                activation_checkpoint=cfg.MODEL.ACTIVATION_CHECKPOINT,
                global_residual=node.GLOBAL_RESIDUAL,
            ),
            "task": node.TASK,
            "patch_loss": node.LOSS,
            "contrastive_weight": node.CONTRASTIVE_WEIGHT,
            "contrastive_form": node.CONTRASTIVE_FORM,
            "freeze_trunk": node.FREEZE_TRUNK,
            "tiling": (
                OfficialTiling(node.PATCH_SIZE, corner=node.OFFICIAL_CORNER)
                if node.TILING == "official"
                else None
            ),
            "self_ensemble": node.SELF_ENSEMBLE,
            "video_batch": cfg.TEST.VIDEO.BATCH,
            "compile_model": cfg.MODEL.COMPILE,
            "precision": inference_precision(cfg),
        }

    @property
    def device(self) -> torch.device:
        return self.network.device

    def forward(self, batched_inputs: list[dict]) -> dict[str, Tensor] | list[RestoredAnswer]:
        """
        Args:
            batched_inputs: ``image`` (3, p, p), ``target`` (3, s p, s p) and ``task``, the same one
                throughout (training), or ``image`` (3, h, w) and, where MODEL.IPT.TASK does not say
                it, ``task`` (inference).

        Returns:
            in training ``loss_l1`` (of 0..255) or ``loss_psnr`` (dB) and, where it has a weight,
            ``loss_contrastive``; otherwise, for each input, ``restored``: (3, s h, s w) float32 on the
            CPU, about 0..255, neither clamped nor rounded.

        Raises:
            UserError: a task that the model lacks, patches of another size than the model's, or
                a single image for the contrastive loss.
        """
        if self.training:
            return self._losses(batched_inputs)
        return self._answers(batched_inputs)

    def task_of(self, item: dict) -> int:
        """The number of an input's task.

        Raises:
            UserError: it names none, and MODEL.IPT.TASK neither; or one that the model lacks.
        """
        name = item.get("task") or self.default_task
        if not name:
            if len(self.network.tasks) == 1:
                return 0
            raise UserError(
                f"an input names no task: set {_NODE}.TASK to one of "
                + ", ".join(task.name for task in self.network.tasks)
            )
        return task_index(self.network.tasks, name)

    # ---- training -------------------------------------------------------------------------------

    def _losses(self, batched_inputs: list[dict]) -> dict[str, Tensor]:
        tasks = {self.task_of(item) for item in batched_inputs}
        assert len(tasks) == 1, "a training batch is of one task"
        (task,) = tasks
        for item in batched_inputs:
            self._check_patch(item, self.network.tasks[task].scale)
        image, target = (
            torch.stack([to_device(item[key], self.device) for item in batched_inputs]).float()
            for key in ("image", "target")
        )
        output, features = self.network(image, task)
        output = output.float()
        with torch.no_grad():
            error = F.mse_loss(output, target)
            psnr = 10 * torch.log10(255**2 / error.clamp(min=1e-6))
            name = self.network.tasks[task].name
            get_event_storage().put_scalar(f"train_psnr_{name}", psnr.item())
        losses = {f"loss_{self.patch_loss}": PATCH_LOSSES[self.patch_loss](output, target)}
        if self.contrastive_weight:
            if len(batched_inputs) == 1:
                raise UserError(
                    "a process has one image a step, and the contrastive loss compares several: "
                    f"raise SOLVER.IMS_PER_BATCH, or set {_NODE}.CONTRASTIVE_WEIGHT 0"
                )
            contrastive = contrastive_loss(features.float(), self.contrastive_form)
            losses["loss_contrastive"] = self.contrastive_weight * contrastive
        return losses

    def _check_patch(self, item: dict, scale: int) -> None:
        side = self.network.patch_size
        for key, wanted in (("image", side), ("target", side * scale)):
            if item[key].shape != (3, wanted, wanted):
                raise UserError(
                    f"{item.get('file_name', 'a training patch')}: {key} of shape "
                    f"{tuple(item[key].shape)}, the model takes (3, {wanted}, {wanted}): cut it by "
                    f"{_NODE}.PATCH_SIZE ({side}) and the task's scale ({scale})"
                )

    # ---- inference ------------------------------------------------------------------------------

    @torch.no_grad()
    def _answers(self, batched_inputs: list[dict]) -> list[RestoredAnswer]:
        """Images of one task share batches of patches."""
        tasks = [self.task_of(item) for item in batched_inputs]
        answers: dict[int, Tensor] = {}
        for task in dict.fromkeys(tasks):
            places = [i for i, other in enumerate(tasks) if other == task]
            images = [to_device(batched_inputs[i]["image"], self.device).float() for i in places]
            answers |= zip(places, self._restored(images, task), strict=True)
        return [{"restored": answers[i].float().cpu()} for i in range(len(tasks))]

    def _restored(self, images: list[Tensor], task: int) -> list[Tensor]:
        """(3, h, w) each to (3, s h, s w)."""
        if not self.self_ensemble:
            return self._tiled(images, task)
        return self_ensemble(lambda turned: self._tiled(turned, task), images, torch.flip)

    def _tiled(self, images: list[Tensor], task: int) -> list[Tensor]:
        largest = self.network.largest_tensor(task)
        return restore(
            lambda patches: self.network(patches, task)[0],
            images,
            tiling=self.tiling,
            scale=self.network.tasks[task].scale,
            patches_at_once=rows_at_once(largest, self.device),
        )

    def stream_video(
        self, frames: Iterator[Tensor], output_size: tuple[int, int]
    ) -> Iterator[RestoredAnswer]:
        """Restore the frames of a video one by one, by the task MODEL.IPT.TASK.

        Args:
            frames: uint8 tensors (3, h, w).
            output_size: not used: the answer has the scale of the task.

        Yields:
            for each frame ``restored``: (3, s h, s w) float32 on the CPU, about 0..255.
        """
        for batch in in_batches(frames, self.video_batch):
            yield from self._answers([{"image": frame} for frame in batch])


def check_config(cfg: CfgNode) -> None:
    """Check what no part of the model checks.

    Raises:
        UserError: a value out of range, or a channel order other than RGB.
    """
    node = cfg.MODEL.IPT
    counts = ("NUM_FEATURES", "PATCH_SIZE", "TOKEN_SIZE", "NUM_LAYERS", "NUM_HEADS")
    check_counts(node, _NODE, (*counts, "FEEDFORWARD_RATIO"))
    if node.CONTRASTIVE_WEIGHT < 0:
        raise UserError(f"{_NODE}.CONTRASTIVE_WEIGHT is {node.CONTRASTIVE_WEIGHT}: set 0 or more")
    if not 0 <= node.DROPOUT < 1:
        raise UserError(f"{_NODE}.DROPOUT is {node.DROPOUT}: set a probability, 0 or more, below 1")
    for key, choices in _CHOICES.items():
        if node[key] not in choices:
            raise UserError(f"{_NODE}.{key} is '{node[key]}': choose {' or '.join(choices)}")
    if cfg.INPUT.FORMAT != "RGB":
        raise UserError(f"INPUT.FORMAT is {cfg.INPUT.FORMAT}: set RGB, the order of IPT's channels")
