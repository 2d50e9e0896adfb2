"""From the host's memory to a device, without waiting for what the device has in hand."""

import torch
from torch import Tensor


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """``tensor.to(device)``, which for CUDA starts from pinned memory, so that the host goes on at once.

    From other memory the copy begins only when the device has done all that it was given before.

    Args:
        tensor: on any device; it must not be changed until the device has it, unless it is not pinned yet.
    """
    if device.type == "cuda" and tensor.device.type == "cpu":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)
