"""What a training step costs: time, memory, and what the backward pass keeps."""

from itertools import repeat
from typing import Any

import torch
from detectron2.config import CfgNode
from detectron2.modeling import build_model
from detectron2.utils.events import EventStorage

from d2video.data.build import build_train_loader
from d2video.engine.solver import build_optimizer
from d2video.engine.step import build_step_trainer
from d2video.utils.measuring import matmul_floor, measure


def training_figures(cfg: CfgNode, batch_size: int, repeats: int) -> dict[str, float]:
    """Repeat the training step of one batch: forward and backward pass, and the update.

    Weights are random. SOLVER.AMP, MODEL.COMPILE and the ACTIVATION_CHECKPOINT of a system act as in a
    training; gradients are not reduced, because there is one process.

    Args:
        cfg: of the data, too: DATASETS.TRAIN is read.
        batch_size: samples of this process.
        repeats: steps that are timed, after one that is not.

    Returns:
        as :func:`~d2video.utils.measuring.measure` and :func:`~d2video.utils.measuring.matmul_floor`, and
        ``saved_gb``: the tensors that the forward pass keeps for the backward pass, without parameters.

    Raises:
        UserError: as :func:`~d2video.data.build.build_train_loader`.
    """
    cfg = cfg.clone()
    cfg.defrost()
    cfg.SOLVER.IMS_PER_BATCH, cfg.DATALOADER.NUM_WORKERS, cfg.SEED = batch_size, 0, 0
    cfg.DATALOADER.ASPECT_RATIO_GROUPING = False
    batch = next(iter(build_train_loader(cfg)))
    torch.manual_seed(0)
    model = build_model(cfg).train()
    trainer = build_step_trainer(cfg, model, repeat(batch), build_optimizer(cfg, model))
    device = torch.device(cfg.MODEL.DEVICE)
    with EventStorage():
        figures = measure(trainer.run_step, device, warmup=1, repeats=repeats)
        figures["saved_gb"] = _saved_bytes(model, batch) / 1e9
        return figures | matmul_floor(trainer.run_step, device)


def _saved_bytes(model: torch.nn.Module, batch: list[dict[str, Any]]) -> int:
    """Of the storages that the graph of a forward pass keeps."""
    parameters = {p.untyped_storage().data_ptr() for p in model.parameters()}
    saved: dict[int, torch.UntypedStorage] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in parameters:
            saved[storage.data_ptr()] = storage
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        losses = model(batch)
    del losses
    return sum(storage.nbytes() for storage in saved.values())
