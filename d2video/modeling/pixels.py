"""From pixels to what a backbone takes, and how much runs at once at inference."""

import torch
from torch import Tensor, nn

from d2video.utils.transfer import to_device

# The largest tensor of one step stays below this many elements: 32 MB in float32 on a CPU, which
# gains nothing from more, 256 MB on a GPU. Small inputs run as a batch, large ones in bounded memory.
INFERENCE_ELEMENTS = {"cpu": 2**23, "gpu": 2**26}

# Smaller images stay as they are: convolutions copy their weights into the layout of the images, which
# costs ResNet-50 more than it gains on two images of 192x256. Measured by benchmarks/beside_transformers.py.
_CHANNELS_LAST_FROM = 2**19


class PixelNormalizer(nn.Module):
    """Subtract the mean and divide by the standard deviation of each channel.

    Args:
        mean, std: 3 values each, in the units of the input (0 to 255).
    """

    def __init__(self, mean: list[float], std: list[float]):
        super().__init__()
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.tensor(mean).view(-1, 1, 1), False)
        self.register_buffer("std", torch.tensor(std).view(-1, 1, 1), False)

    @property
    def device(self) -> torch.device:
        return self.mean.device

    def forward(self, frames: Tensor) -> Tensor:
        """(..., 3, h, w) of any type on any device, to float32 on the normaliser's."""
        return (to_device(frames, self.device).float() - self.mean) / self.std


def channels_last(x: Tensor) -> Tensor:
    """Lay images (N, C, H, W) or clips (N, C, T, H, W) out as convolutions take them on a CPU, at inference.
    A backbone's maps keep that layout. Small ones stay as they are.

    Not in training: weights' gradients would have another layout than the weights, which
    DistributedDataParallel copies.
    """
    if x.device.type != "cpu" or torch.is_grad_enabled() or torch.compiler.is_exporting():
        return x
    if x.numel() < _CHANNELS_LAST_FROM:
        return x
    formats = {4: torch.channels_last, 5: torch.channels_last_3d}
    return x.contiguous(memory_format=formats[x.dim()])


def rows_at_once(elements: int, device: torch.device) -> int:
    """Rows (frames, queries, slots) of one step at inference, at least 1.

    Args:
        elements: of the largest tensor that one row needs.
        device: where the step runs.
    """
    kind = "cpu" if device.type == "cpu" else "gpu"
    return max(1, INFERENCE_ELEMENTS[kind] // elements)
