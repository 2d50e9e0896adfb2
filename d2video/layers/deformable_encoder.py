"""The encoder of Deformable DETR (Zhu et al., ICLR 2021): tokens look at a few points of all levels.

Shapes: B: images or clips, T: frames, F: frames that a token sees, S: tokens of a frame, L: levels,
C: width.
"""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from d2video.layers.level_geometry import LevelGeometry
from d2video.layers.ms_deform_attn import LevelSizes, MSDeformAttn
from d2video.layers.transformer import FeedForwardLayer, run


class DeformableEncoderLayer(FeedForwardLayer):
    """Deformable self-attention among the tokens of all levels, and feed-forward.

    Args:
        attention: over L or F·L levels.
        pre_norm: normalise before each block instead of after it.
    """

    def __init__(
        self,
        attention: MSDeformAttn,
        width: int,
        feedforward: int,
        dropout: float,
        pre_norm: bool = False,
    ):
        super().__init__()
        self.self_attn = attention
        self.norm1 = nn.LayerNorm(width)
        self.norm2 = self._feed_forward_norm(width, feedforward)
        self.pre_norm = pre_norm
        self._init_feed_forward(width, feedforward, dropout)

    def forward(
        self,
        x: Tensor,
        pos: Tensor,
        reference: Tensor,
        sizes: LevelSizes,
        padding: Tensor | None,
        seen: Tensor | None = None,
    ) -> Tensor:
        """x, pos (B, S, C); see :class:`MSDeformAttn` for the others."""
        normed = self.norm1(x) if self.pre_norm else x
        x = x + self.dropout(self.self_attn(normed + pos, reference, normed, sizes, padding, seen))
        x = x if self.pre_norm else self.norm1(x)
        return self._last_block(x, self.norm2, self.pre_norm)


class DeformableEncoder(nn.Module):
    """A stack of layers, under the names of the official checkpoints.

    Args:
        layers: the layers, whose attention has F·L levels.
        num_frames: F. A token sees the F frames of its clip that are nearest to its own: at the ends
            of the clip the window is shifted inwards. 1: each frame separately.
        activation_checkpoint: recompute each layer in the backward pass.
    """

    def __init__(
        self,
        layers: Iterable[DeformableEncoderLayer],
        *,
        num_frames: int = 1,
        activation_checkpoint: bool = False,
    ):
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.num_frames = num_frames
        self.activation_checkpoint = activation_checkpoint

    def forward(self, tokens: Tensor, pos: Tensor, geometry: LevelGeometry) -> Tensor:
        """The memory of all frames, encoded as one batch by the same weights.

        Args:
            tokens: (B, T, S, C), T at least F; level after level.
            pos: (B or 1, T, S, C), positions with the levels' embeddings.
            geometry: of a frame; padding is that of all frames of a clip.

        Returns:
            (B, T, S, C), in the same order.
        """
        batch, frames = tokens.shape[:2]
        pos = pos.expand(batch, -1, -1, -1).flatten(0, 1)
        padding = geometry.padding
        reference = geometry.centres[:, :, None] * geometry.valid[:, None]
        if padding is not None and frames > 1:
            padding = padding.repeat_interleave(frames, dim=0)
            reference = reference.repeat_interleave(frames, dim=0)
        seen = None
        if self.num_frames > 1:
            seen = self._seen(batch, frames, tokens.device)
            reference = reference.repeat(1, 1, self.num_frames, 1)
        x = tokens.flatten(0, 1)
        recompute = self.activation_checkpoint and self.training
        for layer in self.layers:
            x = run(layer, x, pos, reference, geometry.sizes, padding, seen, recompute=recompute)
        return x.unflatten(0, (batch, frames))

    def _seen(self, batch: int, frames: int, device: torch.device) -> Tensor:
        """(B·T, F) int64, the frames of the batch that each of them sees, in order of time."""
        assert frames >= self.num_frames, (frames, self.num_frames)
        index = torch.arange(frames, device=device)
        first = (index - self.num_frames // 2).clamp(0, frames - self.num_frames)
        window = first[:, None] + index[: self.num_frames]
        starts = torch.arange(batch, device=device) * frames
        return (starts[:, None, None] + window).flatten(0, 1)
