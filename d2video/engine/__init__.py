from .setup import check_device, check_num_processes, load_cfg, setup
from .solver import build_lr_scheduler, build_optimizer, resolve_epochs
from .trainer import VideoTrainer

__all__ = [
    "VideoTrainer",
    "build_lr_scheduler",
    "build_optimizer",
    "check_device",
    "check_num_processes",
    "load_cfg",
    "resolve_epochs",
    "setup",
]
