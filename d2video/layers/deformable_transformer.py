"""The transformer of Deformable DETR (Zhu et al., ICLR 2021), over one or several frames.

Shapes: B: images, F: frames attended to, L: levels of a frame, S: tokens of a frame, N: queries, C: width,
D: decoder layers.
"""

from functools import partial

import torch
from torch import Tensor, nn

from d2video.layers.attention import MultiheadAttention
from d2video.layers.deformable_encoder import DeformableEncoder, DeformableEncoderLayer
from d2video.layers.level_geometry import LevelGeometry
from d2video.layers.ms_deform_attn import LevelSizes, MSDeformAttn, OffsetUnit
from d2video.layers.transformer import FeedForwardLayer, run


class DeformableDecoderLayer(FeedForwardLayer):
    """Self-attention among the queries, deformable attention to the memory, and feed-forward.

    ``norm2`` follows the self-attention and ``norm1`` the attention to the memory: the names of the
    official checkpoints.
    """

    def __init__(self, attention: MSDeformAttn, width: int, feedforward: int, dropout: float):
        super().__init__()
        self.cross_attn = attention
        self.self_attn = MultiheadAttention(width, attention.num_heads, dropout)
        self.norm1 = nn.LayerNorm(width)
        self.norm2 = nn.LayerNorm(width)
        self.norm3 = self._feed_forward_norm(width, feedforward)
        self._init_feed_forward(width, feedforward, dropout)

    def forward(
        self,
        x: Tensor,
        query_pos: Tensor,
        reference: Tensor,
        memory: Tensor,
        sizes: LevelSizes,
        padding: Tensor | None,
        query_padding: Tensor | None,
    ) -> Tensor:
        """x, query_pos (B, N, C); reference (B, N, F·L, 2 or 4); memory (B, F·S, C); padding (B, F·S)
        and query_padding (B, N) bool or None."""
        with_pos = x + query_pos
        attended = self.self_attn(with_pos, with_pos, x, query_padding)
        x = self.norm2(x + self.dropout(attended))
        attended = self.cross_attn(x + query_pos, reference, memory, sizes, padding)
        x = self.norm1(x + self.dropout(attended))
        return self._last_block(x, self.norm3)


class _Decoder(nn.Module):
    """A stack under the names of the official checkpoints.

    Attributes:
        bbox_embed: with iterative refinement the box head of each layer, which the network shares
            with it.
    """

    def __init__(self, layers: list[nn.Module]):
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.bbox_embed: nn.ModuleList | None = None


class DeformableTransformer(nn.Module):
    """Encoder over each frame separately or over all together, decoder over the tokens of all frames.

    Args:
        width: C.
        num_heads: attention heads.
        num_encoder_layers, num_decoder_layers: depths.
        feedforward: hidden width of the feed-forward blocks; 0: layers without them.
        dropout: probability after attention and in the feed-forward.
        num_levels: L.
        num_frames: F, frames that the decoder looks at; above 1 this is TrackFormer's "multi-frame
            attention".
        encoder_points, decoder_points: points a level and head.
        offset_unit: see :class:`MSDeformAttn`.
        separate_encoder: the encoder sees each frame separately. False: tokens of every frame look at
            all F frames, and the encoder's attention has F·L levels.
        activation_checkpoint: recompute each layer in the backward pass.
    """

    def __init__(
        self,
        width: int = 256,
        num_heads: int = 8,
        num_encoder_layers: int = 6,
        num_decoder_layers: int = 6,
        feedforward: int = 1024,
        dropout: float = 0.1,
        *,
        num_levels: int = 4,
        num_frames: int = 1,
        encoder_points: int = 4,
        decoder_points: int = 4,
        offset_unit: OffsetUnit = "wh",
        separate_encoder: bool = True,
        activation_checkpoint: bool = False,
    ):
        super().__init__()
        self.width = width
        self.num_heads = num_heads
        self.num_levels = num_levels
        self.num_frames = num_frames
        self.separate_encoder = separate_encoder
        self.activation_checkpoint = activation_checkpoint
        all_levels = num_frames * num_levels
        encoder_frames = 1 if separate_encoder else num_frames
        # Rows of the earliest frame first; only the encoder reads them.
        self.level_embed: nn.Parameter | None = None
        if num_encoder_layers:
            self.level_embed = nn.Parameter(torch.empty(all_levels, width))
        sizes = (width, feedforward, dropout)
        attention = partial(MSDeformAttn, width, num_heads=num_heads, offset_unit=offset_unit)
        self.encoder = DeformableEncoder(
            [
                DeformableEncoderLayer(
                    attention(encoder_frames * num_levels, num_points=encoder_points), *sizes
                )
                for _ in range(num_encoder_layers)
            ],
            num_frames=encoder_frames,
            activation_checkpoint=activation_checkpoint,
        )
        self.decoder = _Decoder(
            [
                DeformableDecoderLayer(attention(all_levels, num_points=decoder_points), *sizes)
                for _ in range(num_decoder_layers)
            ]
        )
        for parameter in self.parameters():
            if parameter.dim() > 1:
                nn.init.xavier_uniform_(parameter)
        for module in self.modules():
            if isinstance(module, MSDeformAttn):
                module.reset_parameters()
        if self.level_embed is not None:
            nn.init.normal_(self.level_embed)

    def encode(self, tokens: Tensor, pos: Tensor, geometry: LevelGeometry) -> Tensor:
        """The memory of all frames, encoded as one batch by the same weights.

        Args:
            tokens: (B, F, S, C), the earliest frame first.
            pos: (B or 1, F, S, C), positions without the level embedding.

        Returns:
            (B, F, S, C), in the same order.
        """
        if self.level_embed is None:
            return tokens
        rows = self.level_embed.unflatten(0, (tokens.shape[1], self.num_levels))
        return self.encoder(tokens, pos + geometry.of_tokens(rows), geometry)

    def decode(
        self,
        queries: Tensor,
        query_pos: Tensor,
        reference: Tensor,
        memory: Tensor,
        geometry: LevelGeometry,
        query_padding: Tensor | None = None,
    ) -> tuple[Tensor, list[Tensor]]:
        """With iterative refinement (``decoder.bbox_embed`` is set) layer d's head predicts its boxes,
        which are the references of layer d + 1.

        Args:
            queries, query_pos: (B, N, C).
            reference: (B, N, 2), points x and y, or (B, N, 4), boxes cxcywh; parts of the image.
            memory: (B, F, S, C), the earliest frame first.
            query_padding: (B, N) bool, True where a row is padding; None without any.

        Returns:
            (D, B, N, C), and what each layer's boxes are relative to: the D boxes (B, N, 4) in
            [0, 1] with refinement, otherwise the one reference.
        """
        frames = memory.shape[1]
        # The official models with a separate encoder were trained with the current frame first.
        memory = (memory.flip(1) if self.separate_encoder else memory).flatten(1, 2)
        sizes = geometry.sizes * frames
        padding = geometry.padding
        if padding is not None:
            padding = padding.repeat(1, frames)
        valid = geometry.valid.repeat(1, frames, 1)[:, None]  # (B or 1, 1, F·L, 2)
        outputs, boxes = [], []
        x = queries
        for index, layer in enumerate(self.decoder.layers):
            scale = valid if reference.shape[-1] == 2 else torch.cat([valid, valid], dim=-1)
            scaled = reference[:, :, None] * scale
            inputs = (x, query_pos, scaled, memory, sizes, padding, query_padding)
            x = run(layer, *inputs, recompute=self.activation_checkpoint and self.training)
            outputs.append(x)
            if self.decoder.bbox_embed is not None:
                boxes.append(refine(self.decoder.bbox_embed[index](x), reference))
                reference = boxes[-1].detach()
        return torch.stack(outputs), boxes or [reference]


def refine(change: Tensor, reference: Tensor) -> Tensor:
    """Boxes in [0, 1] from a head's answer relative to the reference (Deformable DETR, A.4).

    Args:
        change: (..., 4), in logits.
        reference: (..., 2) points or (..., 4) boxes cxcywh.
    """
    reference = reference.float().clamp(1e-5, 1 - 1e-5)
    base = torch.log(reference / (1 - reference))
    if base.shape[-1] == 2:
        base = torch.cat([base, torch.zeros_like(base)], dim=-1)
    return (change.float() + base).sigmoid()
