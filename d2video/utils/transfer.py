"""Between the host's memory and a device, with as few waits for the device as can be."""

from collections.abc import Iterable

import torch
from torch import Tensor


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """``tensor.to(device)``, which for CUDA starts from pinned memory, so that the host goes on at once.

    From other memory the copy begins only when the device has done all that it was given before.

    Args:
        tensor: on any device. If it is in pinned memory, it must not change before the device has it.
    """
    if device.type == "cuda" and tensor.device.type == "cpu":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


def to_host(tensors: Iterable[Tensor]) -> list[Tensor]:
    """Copies in the host's memory, for which a device is waited for once; tensors there stay as they are."""
    given = list(tensors)
    found = [tensor.to("cpu", non_blocking=tensor.is_cuda) for tensor in given]
    for device in {tensor.device for tensor in given if tensor.is_cuda}:
        torch.cuda.current_stream(device).synchronize()
    return found
