"""VisTR's instance mask head: 3D convolutions over the frames of one instance (its paper, sec. 3.3).

Shapes: S: slots, T: frames, C: channels, H×W: the finest feature map.
"""

import math

from torch import Tensor, nn


class InstanceMaskHead(nn.Sequential):
    """Three dilated 3×3×3 convolutions with group norm, then one mask logit a pixel.

    Args:
        in_channels: C; the hidden width is half of it (24 and 12 in the official model).
    """

    def __init__(self, in_channels: int):
        hidden = max(1, in_channels // 2)
        layers: list[nn.Module] = []
        for channels in (in_channels, hidden, hidden):
            layers += [
                nn.Conv3d(channels, hidden, 3, padding=2, dilation=2),
                nn.GroupNorm(math.gcd(4, hidden), hidden),
                nn.ReLU(inplace=True),
            ]
        super().__init__(*layers, nn.Conv3d(hidden, 1, 1))

    def forward(self, features: Tensor) -> Tensor:
        """(S, T, C, H, W) to mask logits (S, T, H, W)."""
        return super().forward(features.transpose(1, 2)).squeeze(1)
