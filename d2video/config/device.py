"""``MODEL.DEVICE`` "auto": the best device of this machine."""

import logging

import torch

logger = logging.getLogger(__name__)
_has_told = False


def best_device() -> str:
    """CUDA, else MPS (Apple's GPUs), else the CPU, as torch calls them."""
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def tell_device(device: str) -> None:
    """Log what "auto" has become: once in a process, and not before there is a log."""
    global _has_told
    if not _has_told and logger.isEnabledFor(logging.INFO):
        _has_told = True
        logger.info("MODEL.DEVICE is auto, which is %s here", device)
