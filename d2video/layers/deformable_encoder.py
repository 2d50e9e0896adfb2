"""The encoder of Deformable DETR (Zhu et al., ICLR 2021): tokens look at a few points of all levels.

Shapes: B: images or clips, T: frames, S: tokens of a frame, L: levels, C: width.
"""

from collections.abc import Iterable

from torch import Tensor, nn

from d2video.layers.level_geometry import LevelGeometry
from d2video.layers.ms_deform_attn import LevelSizes, MSDeformAttn
from d2video.layers.transformer import FeedForwardLayer, run


class DeformableEncoderLayer(FeedForwardLayer):
    """Deformable self-attention among the tokens of all levels of a frame, and feed-forward."""

    def __init__(self, attention: MSDeformAttn, width: int, feedforward: int, dropout: float):
        super().__init__()
        self.self_attn = attention
        self.norm1 = nn.LayerNorm(width)
        self.norm2 = nn.LayerNorm(width)
        self._init_feed_forward(width, feedforward, dropout)

    def forward(
        self, x: Tensor, pos: Tensor, reference: Tensor, sizes: LevelSizes, padding: Tensor | None
    ) -> Tensor:
        """x, pos (B, S, C); reference (B or 1, S, L, 2); padding (B, S) bool or None."""
        attended = self.self_attn(x + pos, reference, x, sizes, padding)
        x = self.norm1(x + self.dropout(attended))
        return self.norm2(x + self.dropout(self._feed_forward(x)))


class DeformableEncoder(nn.Module):
    """A stack of layers, under the names of the official checkpoints, over each frame by itself.

    Args:
        layers: the layers.
        activation_checkpoint: recompute each layer in the backward pass.
    """

    def __init__(
        self, layers: Iterable[DeformableEncoderLayer], activation_checkpoint: bool = False
    ):
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.activation_checkpoint = activation_checkpoint

    def forward(self, tokens: Tensor, pos: Tensor, geometry: LevelGeometry) -> Tensor:
        """The memory of all frames, encoded as one batch by the same weights.

        Args:
            tokens: (B, T, S, C), level after level.
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
        x = tokens.flatten(0, 1)
        recompute = self.activation_checkpoint and self.training
        for layer in self.layers:
            x = run(layer, x, pos, reference, geometry.sizes, padding, recompute=recompute)
        return x.unflatten(0, (batch, frames))
