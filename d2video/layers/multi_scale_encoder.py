"""A deformable encoder in front of a decoder with other attention, such as DETR's.

Shapes: B: images or clips, T: frames, F: frames that a token sees, S: tokens of a frame, L: levels,
C: width.
"""

import torch
from torch import Tensor, nn

from d2video.layers.deformable_encoder import DeformableEncoder, DeformableEncoderLayer
from d2video.layers.level_geometry import LevelGeometry
from d2video.layers.ms_deform_attn import MSDeformAttn


class MultiScaleEncoder(DeformableEncoder):
    """Deformable self-attention over several levels and frames (Deformable DETR, sec. 4.1).

    A token costs the same in a clip of any length, where dense attention costs what the clip has
    tokens.

    Args:
        width: C.
        num_heads: attention heads.
        num_layers: depth.
        feedforward: hidden width of the feed-forward blocks; 0: layers without them.
        dropout: probability after attention and in the feed-forward.
        pre_norm: normalise before each block; what follows closes with a norm of its own.
        num_levels: L.
        num_points: points a head, level and frame.
        num_frames, activation_checkpoint: see :class:`DeformableEncoder`.
    """

    def __init__(
        self,
        width: int,
        num_heads: int,
        num_layers: int,
        feedforward: int,
        dropout: float = 0.1,
        pre_norm: bool = False,
        *,
        num_levels: int,
        num_points: int = 4,
        num_frames: int = 1,
        activation_checkpoint: bool = False,
    ):
        layers = []
        for _ in range(num_layers):
            attention = MSDeformAttn(width, num_frames * num_levels, num_heads, num_points)
            layers.append(DeformableEncoderLayer(attention, width, feedforward, dropout, pre_norm))
            for module in layers[-1].children():
                if isinstance(module, nn.Linear):
                    nn.init.xavier_uniform_(module.weight)
        super().__init__(layers, num_frames=num_frames, activation_checkpoint=activation_checkpoint)
        self.num_levels = num_levels
        self.level_embed = nn.Parameter(torch.randn(num_levels, width))

    def embed_levels(self, pos: Tensor, geometry: LevelGeometry) -> Tensor:
        """Positions (B, T, S, C) with the embedding of each token's level."""
        return pos + geometry.of_tokens(self.level_embed).to(pos.dtype)
