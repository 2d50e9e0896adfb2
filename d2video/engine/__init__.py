"""Training: trainer, step, solver, hooks, and the processes that share it."""

from d2video.engine.setup import check_device, check_num_processes, setup
from d2video.engine.solver import build_lr_scheduler, build_optimizer, resolve_epochs
from d2video.engine.trainer import VideoTrainer

__all__ = [
    "VideoTrainer",
    "build_lr_scheduler",
    "build_optimizer",
    "check_device",
    "check_num_processes",
    "resolve_epochs",
    "setup",
]
