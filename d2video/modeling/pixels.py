"""From pixels to what a backbone takes."""

import torch
from torch import Tensor, nn


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
        return (frames.to(self.device).float() - self.mean) / self.std
