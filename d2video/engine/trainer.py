"""detectron2's DefaultTrainer with video data, evaluators and mixed precision."""

import logging
import time
import weakref
from typing import Any

import torch
from detectron2.config import CfgNode
from detectron2.engine import AMPTrainer, DefaultTrainer, SimpleTrainer, create_ddp_model
from detectron2.engine.train_loop import TrainerBase
from detectron2.utils import comm
from detectron2.utils.logger import setup_logger
from torch import nn

from d2video.checkpoint import VideoCheckpointer
from d2video.data import build_test_loader, build_train_loader
from d2video.evaluation import build_evaluator
from d2video.utils.errors import UserError

from .solver import build_lr_scheduler, build_optimizer, resolve_epochs


class BFloat16Trainer(SimpleTrainer):
    """SimpleTrainer with the forward pass under bfloat16 autocast, on any device; bfloat16 needs no
    loss scaling. The backward pass takes the types of the forward pass by itself."""

    def run_step(self) -> None:
        start = time.perf_counter()
        data = next(self._data_loader_iter)
        data_time = time.perf_counter() - start
        device = next(self.model.parameters()).device.type
        with torch.autocast(device, torch.bfloat16):
            losses = self.model(data)
        self.optimizer.zero_grad()
        sum(losses.values()).backward()
        self.after_backward()
        self._write_metrics(losses, data_time)
        self.optimizer.step()


class VideoTrainer(DefaultTrainer):
    """The trainer of all systems.

    A system is chosen by cfg.MODEL.META_ARCHITECTURE, its data by INPUT.DATASET_MAPPER, its
    evaluator by the dataset's ``evaluator_type``: registering these is all that a project does.

    Args:
        cfg: see d2video/config.py.
    """

    def __init__(self, cfg: CfgNode):
        TrainerBase.__init__(self)
        if not logging.getLogger("detectron2").isEnabledFor(logging.INFO):
            setup_logger()
        cfg = resolve_epochs(cfg)
        cfg = DefaultTrainer.auto_scale_workers(cfg, comm.get_world_size())
        # First the data: a mistake in the test sets shows now, not at the end of the training, and
        # the model can compare its classes with those of the training set.
        loader = self.build_train_loader(cfg)
        for name in cfg.DATASETS.TEST:
            self.build_test_loader(cfg, name)
            self.build_evaluator(cfg, name)
        model = self.build_model(cfg)
        optimizer = self.build_optimizer(cfg, model)
        # DistributedDataParallel wants device ids for GPUs and none for CPUs.
        on_gpu = torch.device(cfg.MODEL.DEVICE).type == "cuda"
        device_ids = [comm.get_local_rank()] if on_gpu else None
        model = create_ddp_model(
            model,
            broadcast_buffers=False,
            device_ids=device_ids,
            # Models of several tasks, of which a batch uses one.
            find_unused_parameters=getattr(model, "leaves_parameters_unused", False),
        )
        self._trainer = _step_trainer(cfg, model, loader, optimizer)
        self.scheduler = self.build_lr_scheduler(cfg, optimizer)
        self.checkpointer = VideoCheckpointer(
            model, cfg.OUTPUT_DIR, ignore=cfg.MODEL.WEIGHTS_IGNORE, trainer=weakref.proxy(self)
        )
        self.start_iter = 0
        self.max_iter = cfg.SOLVER.MAX_ITER
        self.cfg = cfg
        self.register_hooks(self.build_hooks())

    @classmethod
    def build_optimizer(cls, cfg: CfgNode, model: nn.Module) -> torch.optim.Optimizer:
        return build_optimizer(cfg, model)

    @classmethod
    def build_lr_scheduler(cls, cfg: CfgNode, optimizer: torch.optim.Optimizer) -> Any:
        return build_lr_scheduler(cfg, optimizer)

    def resume_or_load(self, resume: bool = True) -> None:
        """As detectron2's; a training that goes on also goes on counting its batches, on which choices
        of a batch (such as the task of IPT) depend. Which samples are drawn begins anew."""
        super().resume_or_load(resume)
        if self.start_iter:
            self._trainer.reset_data_loader(
                lambda: self.build_train_loader(self.cfg, first_batch=self.start_iter)
            )

    @classmethod
    def build_train_loader(cls, cfg: CfgNode, first_batch: int = 0) -> Any:
        return build_train_loader(cfg, first_batch)

    @classmethod
    def build_test_loader(cls, cfg: CfgNode, dataset_name: str) -> Any:
        return build_test_loader(cfg, dataset_name)

    @classmethod
    def build_evaluator(cls, cfg: CfgNode, dataset_name: str) -> Any:
        return build_evaluator(dataset_name, f"{cfg.OUTPUT_DIR}/inference/{dataset_name}")


def _step_trainer(cfg: CfgNode, model: nn.Module, loader: Any, optimizer: Any) -> SimpleTrainer:
    if not cfg.SOLVER.AMP.ENABLED:
        return SimpleTrainer(model, loader, optimizer)
    if cfg.SOLVER.AMP.DTYPE == "bfloat16":
        return BFloat16Trainer(model, loader, optimizer)
    if cfg.SOLVER.AMP.DTYPE != "float16":
        raise UserError(
            f"SOLVER.AMP.DTYPE '{cfg.SOLVER.AMP.DTYPE}' is unknown: use float16 or bfloat16"
        )
    if torch.device(cfg.MODEL.DEVICE).type != "cuda":
        raise UserError("float16 training needs a GPU: set SOLVER.AMP.DTYPE bfloat16")
    return AMPTrainer(model, loader, optimizer)
