"""Deformable convolution (Dai et al., 2017) without a compiled extension of our own.

Shapes: N: batch, C: input channels, O: output channels, K: kernel positions (9), H×W: feature map.
"""

from contextlib import nullcontext

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import deform_conv2d


# Inductor (torch 2.14) fails on its index arithmetic when sizes are dynamic; eager loses nothing here.
@torch.compiler.disable
def deform_conv2d_sampled(x: Tensor, offset: Tensor, weight: Tensor) -> Tensor:
    """A 3×3 deformable convolution with padding 1 as one ``grid_sample`` and one matrix product.

    Equal to torchvision's ``deform_conv2d(x, offset, weight, padding=1)``, zero outside the map
    included. It holds K copies of the input, so torchvision's operator is the better one on a GPU;
    on a CPU the latter's backward is several times slower (figures in projects/VisTR/README.md).

    Args:
        x: (N, C, H, W).
        offset: (N, 2K, H, W), in pixels: channel 2k moves kernel position k down, 2k+1 to the right.
        weight: (O, C, 3, 3).

    Returns:
        (N, O, H, W).
    """
    batch, channels, height, width = x.shape
    taps = weight.shape[2] * weight.shape[3]
    shift = torch.arange(taps, device=x.device, dtype=x.dtype).view(-1, 1, 1)
    rows = torch.arange(height, device=x.device, dtype=x.dtype).view(-1, 1)
    columns = torch.arange(width, device=x.device, dtype=x.dtype)
    moved = offset.unflatten(1, (taps, 2))
    y = rows + (shift // 3 - 1) + moved[:, :, 0]
    x_position = columns + (shift % 3 - 1) + moved[:, :, 1]
    # grid_sample wants (x, y) scaled so that -1 and 1 are the outer edges of the outermost pixels.
    grid = torch.stack([(2 * x_position + 1) / width, (2 * y + 1) / height], dim=-1) - 1
    sampled = F.grid_sample(x, grid.flatten(1, 2), align_corners=False)
    sampled = sampled.view(batch, channels * taps, height * width)
    return (weight.flatten(1) @ sampled).view(batch, -1, height, width)


class DeformConv(nn.Module):
    """3×3 deformable convolution whose offsets come from a 1×1 convolution.

    Offsets start at zero. Equal to the official VisTR operator, which is DCN v1 with one group.
    """

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__()
        self.offset = nn.Conv2d(in_channels, 18, 1)
        nn.init.zeros_(self.offset.weight)
        assert self.offset.bias is not None
        nn.init.zeros_(self.offset.bias)
        self.weight = nn.Parameter(torch.empty(out_channels, in_channels, 3, 3))
        nn.init.kaiming_uniform_(self.weight, nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, O, H, W). Float32 also under autocast: offsets in bfloat16 would lose
        sub-pixel precision, and torchvision's operator has no rule for mixed types."""
        device = x.device.type
        mixed = torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device)
        with torch.autocast(device, enabled=False) if mixed else nullcontext():
            x = x.float()
            offset = self.offset(x)
            if device in ("cpu", "mps"):  # not every torchvision has its operator on MPS
                return deform_conv2d_sampled(x, offset, self.weight)
            return deform_conv2d(x, offset, self.weight, padding=1)
