"""A 3×3 convolution to one channel, such as mask logits.

Shapes: N: batch, I: input channels, H×W: the map.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class OneChannelConv2d(nn.Conv2d):
    """``nn.Conv2d(I, 1, 3, padding=1)``.

    On a CPU, one matrix product multiplies each pixel by all nine weights, and ``fold`` adds each result to
    the pixel it belongs to. oneDNN's convolution takes three to eight times as long.
    """

    def __init__(self, in_channels: int):
        super().__init__(in_channels, 1, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, I, H, W) to (N, 1, H, W)."""
        compiler = torch.compiler
        if x.device.type != "cpu" or compiler.is_compiling() or compiler.is_exporting():
            return super().forward(x)
        assert self.bias is not None
        # A pixel adds to its neighbours what they read of it: the weights the other way round.
        taps = self.weight[0].flip(1, 2).flatten(1).T  # (9, I)
        products = taps @ x.flatten(2)
        return F.fold(products, x.shape[-2:], 3, padding=1) + self.bias.view(1, 1, 1, 1)
