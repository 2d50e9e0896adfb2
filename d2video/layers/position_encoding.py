"""Position encodings: sine waves in two and three dimensions, learned ones for images, and none.

Shapes: B: batch, T: frames, H×W: feature map, C: channels of the encoding.
"""

import math

import torch
from torch import Tensor, nn


class SinePositionEncoding(nn.Module):
    """Sine encoding over the valid part of a padded grid, of any number of axes.

    Every axis gets C / axes channels, in the order of the axes of the mask: (t, y, x) for a clip, as
    VisTR does (its paper, sec. 3.2), (y, x) for an image, as DETR does, or for the frames of a clip.
    Coordinates count the valid cells from 1 on (so that padding does not shift them) and are scaled to
    (0, ``scale``]. Channel 2i is sin(v / temperature^(2i/c)), channel 2i+1 the cosine, c = channels an axis.

    Args:
        num_channels: C; C / axes must be even.
        num_axes: 2 (y, x) or 3 (t, y, x).
        offset: added to the counts: 0 (DETR, VisTR) or -0.5, the cells' centres (Deformable DETR).
    """

    def __init__(
        self,
        num_channels: int,
        num_axes: int,
        *,
        temperature: float = 10000.0,
        scale: float = 2 * math.pi,
        offset: float = 0.0,
    ):
        super().__init__()
        if num_channels % (2 * num_axes):
            raise ValueError(
                f"a sine encoding over {num_axes} axes needs a width divisible by {2 * num_axes}, "
                f"got {num_channels}"
            )
        self.channels_per_axis = num_channels // num_axes
        self.num_axes = num_axes
        self.temperature = temperature
        self.scale = scale
        self.offset = offset

    def forward(self, padding: Tensor) -> Tensor:
        """(B, [T,] H, W) bool, True = padding, to (B, [T,] H, W, C) float32. With two axes the
        frames of a clip are encoded alike.

        Always float32: in bfloat16 neighbouring positions would be equal.
        """
        assert padding.dim() > self.num_axes, padding.shape
        valid = (~padding).float()
        encodings = []
        for axis in range(-self.num_axes, 0):
            position = valid.cumsum(axis)
            last = position.narrow(axis, position.shape[axis] - 1, 1)
            encodings.append(self.waves((position + self.offset) / (last + 1e-6)))
        return torch.cat(encodings, dim=-1)

    def waves(self, position: Tensor) -> Tensor:
        """The channels of one axis (..., C / axes), of positions (...) in parts of its length."""
        index = torch.arange(self.channels_per_axis, device=position.device)
        period = self.temperature ** (2 * (index // 2) / self.channels_per_axis)
        angle = position[..., None] * self.scale / period
        return torch.stack([angle[..., 0::2].sin(), angle[..., 1::2].cos()], dim=-1).flatten(-2)


class LearnedPositionEncoding(nn.Module):
    """A learned vector for each column and each row (DETR, table 3: "learned at attention").

    Channels 0 to C/2 - 1 encode the column, the others the row, as in the official code. Padding is
    ignored: cells are counted from the top left corner.

    Args:
        num_channels: C, even.
        size: columns and rows there are vectors for.
    """

    def __init__(self, num_channels: int, size: int = 50):
        super().__init__()
        if num_channels % 2:
            raise ValueError(f"a learned encoding needs an even width, got {num_channels}")
        self.row_embed = nn.Embedding(size, num_channels // 2)
        self.col_embed = nn.Embedding(size, num_channels // 2)
        nn.init.uniform_(self.row_embed.weight)
        nn.init.uniform_(self.col_embed.weight)

    def forward(self, padding: Tensor) -> Tensor:
        """(B, H, W) bool to (B, H, W, C).

        Raises:
            ValueError: H or W exceeds ``size``.
        """
        batch, height, width = padding.shape
        size = self.row_embed.num_embeddings
        if max(height, width) > size:
            raise ValueError(
                f"learned positions cover feature maps up to {size}x{size}, this one has "
                f"{height}x{width}: use sine positions or smaller images"
            )
        columns = self.col_embed.weight[:width].expand(height, -1, -1)
        rows = self.row_embed.weight[:height, None].expand(-1, width, -1)
        return torch.cat([columns, rows], dim=-1).expand(batch, -1, -1, -1)


class NoPositionEncoding(nn.Module):
    """Zeros in the place of an encoding: tokens do not know where they are (DETR, table 3: "none").

    Args:
        num_channels: C.
    """

    def __init__(self, num_channels: int):
        super().__init__()
        self.num_channels = num_channels

    def forward(self, padding: Tensor) -> Tensor:
        """(B, [T,] H, W) bool to (B, [T,] H, W, C) float32."""
        return torch.zeros(*padding.shape, self.num_channels, device=padding.device)
