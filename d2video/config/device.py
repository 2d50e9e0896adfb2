"""``MODEL.DEVICE``: check that the device exists, and find the best one for "auto"."""

import logging

import torch

from d2video.utils.errors import UserError

logger = logging.getLogger(__name__)
_has_told = False


def best_device() -> str:
    """Return torch's name of the best device: CUDA, else MPS (Apple GPUs), else the CPU."""
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def tell_device(device: str) -> None:
    """Log the device chosen for "auto", once per process and only after logging is set up."""
    global _has_told
    if not _has_told and logger.isEnabledFor(logging.INFO):
        _has_told = True
        logger.info("MODEL.DEVICE is auto, which is %s here", device)


def check_device(device: str) -> None:
    """Check that a device exists.

    Raises:
        UserError: if ``device`` (MODEL.DEVICE) does not exist on this machine.
    """
    try:
        wanted = torch.device(device)
    except RuntimeError as error:
        raise UserError(
            f"MODEL.DEVICE is '{device}', no device of torch: use auto, cuda, mps or cpu"
        ) from error
    if wanted.type == "mps" and not torch.backends.mps.is_available():
        raise UserError("MODEL.DEVICE is mps, but this is no Mac with a GPU: leave it out for auto")
    if wanted.type != "cuda":
        return
    if not torch.cuda.is_available():
        raise UserError(
            f"MODEL.DEVICE is {device}, but torch finds no GPU here: add MODEL.DEVICE cpu, or leave it "
            "out for auto"
        )
    if (wanted.index or 0) >= torch.cuda.device_count():
        raise UserError(
            f"MODEL.DEVICE is {device}, but this machine has {torch.cuda.device_count()} GPUs, "
            "counted from cuda:0"
        )
