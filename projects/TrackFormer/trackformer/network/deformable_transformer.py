"""The transformer of Deformable DETR (Zhu et al., ICLR 2021), with track queries and several frames.

Shapes: B: images, F: frames attended to, L: levels of a frame, S: tokens of a frame, N: queries (track
queries, then object queries), C: width, D: decoder layers.
"""

from dataclasses import dataclass
from functools import partial

import torch
from d2video.projects.trackformer.network.ms_deform_attn import LevelSizes, MSDeformAttn, OffsetUnit
from torch import Tensor, nn

from d2video.layers import FeedForwardLayer, MultiheadAttention
from d2video.layers.transformer import run
from d2video.modeling.predictions import Predictions


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
        self.norm3 = nn.LayerNorm(width)
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
        return self.norm3(x + self.dropout(self._feed_forward(x)))


@dataclass
class Geometry:
    """Where the tokens of a frame lie.

    Attributes:
        sizes: (H_l, W_l) of the L levels.
        padding: (B, S) bool, or None where nothing is padded.
        valid: (B or 1, L, 2), the part of each level's width and height that is image.
        centres: (B or 1, S, 2), x and y of each token's cell; the image's own corners are 0 and 1.
    """

    sizes: LevelSizes
    padding: Tensor | None
    valid: Tensor
    centres: Tensor

    @classmethod
    def of(cls, levels: list[Tensor], paddings: list[Tensor] | None) -> "Geometry":
        """From the maps (B, C, H_l, W_l) and their padding [(B, H_l, W_l) bool] or None."""
        device = levels[0].device
        sizes = [(int(level.shape[-2]), int(level.shape[-1])) for level in levels]
        if paddings is None:
            valid = torch.ones(1, len(levels), 2, device=device)
        else:
            # Padding lies below and to the right, so that the first column and row tell the extent.
            ratios = [
                torch.stack([(~p[:, 0]).float().mean(1), (~p[:, :, 0]).float().mean(1)], dim=-1)
                for p in paddings
            ]
            valid = torch.stack(ratios, dim=1)
        centres = []
        for level, (height, width) in enumerate(sizes):
            y = (torch.arange(height, device=device) + 0.5) / height
            x = (torch.arange(width, device=device) + 0.5) / width
            grid = torch.stack(torch.meshgrid(y, x, indexing="ij")[::-1], dim=-1).flatten(0, 1)
            centres.append(grid / valid[:, level, None])
        padding = None if paddings is None else torch.cat([p.flatten(1) for p in paddings], dim=1)
        return cls(sizes, padding, valid, torch.cat(centres, dim=1))


class _Layers(nn.Module):
    """A stack under the names of the official checkpoints.

    Attributes:
        bbox_embed: of a decoder with iterative refinement, the box head of each layer, which the
            network shares with it.
    """

    def __init__(self, layers: list[nn.Module]):
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.bbox_embed: nn.ModuleList | None = None


class DeformableTransformer(nn.Module):
    """Encoder over each frame by itself, decoder over the tokens of all frames.

    Args:
        width: C.
        num_heads: attention heads.
        num_encoder_layers, num_decoder_layers: depths.
        feedforward: hidden width of the feed-forward blocks.
        dropout: probability after attention and in the feed-forward.
        num_levels: L.
        num_frames: F, frames that the decoder looks at; above 1 this is the "multi-frame attention"
            of the official code, with its separate encoder.
        encoder_points, decoder_points: points a level and head.
        offset_unit: see :class:`MSDeformAttn`.
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
        activation_checkpoint: bool = False,
    ):
        super().__init__()
        self.width = width
        self.num_heads = num_heads
        self.num_levels = num_levels
        self.num_frames = num_frames
        self.activation_checkpoint = activation_checkpoint
        all_levels = num_frames * num_levels
        # Rows of the earliest frame first.
        self.level_embed = nn.Parameter(torch.empty(all_levels, width))
        sizes = (width, feedforward, dropout)
        attention = partial(MSDeformAttn, width, num_heads=num_heads, offset_unit=offset_unit)
        self.encoder = _Layers(
            [
                DeformableEncoderLayer(attention(num_levels, num_points=encoder_points), *sizes)
                for _ in range(num_encoder_layers)
            ]
        )
        self.decoder = _Layers(
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
        nn.init.normal_(self.level_embed)

    def _run(self, layer: nn.Module, *args: Tensor | LevelSizes | None) -> Tensor:
        return run(layer, *args, recompute=self.activation_checkpoint and self.training)

    def encode(self, tokens: Tensor, pos: Tensor, geometry: Geometry) -> Tensor:
        """The memory of all frames, encoded as one batch by the same weights.

        Args:
            tokens: (B, F, S, C), the earliest frame first.
            pos: (B or 1, F, S, C), positions without the level embedding.

        Returns:
            (B, F, S, C), in the same order.
        """
        batch, frames = tokens.shape[:2]
        lengths = [height * width for height, width in geometry.sizes]
        rows = self.level_embed.unflatten(0, (frames, self.num_levels))
        levels = rows.repeat_interleave(torch.tensor(lengths, device=rows.device), dim=1)
        pos = (pos + levels).expand(batch, -1, -1, -1).flatten(0, 1)
        padding = geometry.padding
        reference = geometry.centres[:, :, None] * geometry.valid[:, None]
        if padding is not None and frames > 1:
            padding = padding.repeat_interleave(frames, dim=0)
            reference = reference.repeat_interleave(frames, dim=0)
        x = tokens.flatten(0, 1)
        for layer in self.encoder.layers:
            x = self._run(layer, x, pos, reference, geometry.sizes, padding)
        return x.unflatten(0, (batch, frames))

    def decode(
        self,
        queries: Tensor,
        query_pos: Tensor,
        reference: Tensor,
        memory: Tensor,
        geometry: Geometry,
        query_padding: Tensor | None = None,
    ) -> tuple[Tensor, list[Tensor]]:
        """With iterative refinement (``decoder.bbox_embed`` is set) layer d's head predicts its boxes,
        which are the references of layer d + 1.

        Args:
            queries, query_pos: (B, N, C).
            reference: (B, N, 2), points x and y, or (B, N, 4), boxes cxcywh; parts of the image.
            memory: (B, F, S, C), the earliest frame first.
            query_padding: (B, N) bool, True where there is no query, or None.

        Returns:
            (D, B, N, C), and what each layer's boxes are relative to: the D boxes (B, N, 4) in
            [0, 1] with refinement, otherwise the one reference.
        """
        frames = memory.shape[1]
        # The official models were trained with the current frame first.
        memory = memory.flip(1).flatten(1, 2)
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
            x = self._run(layer, x, query_pos, scaled, memory, sizes, padding, query_padding)
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


class TwoStage(nn.Module):
    """Object queries from the encoder's own proposals (Deformable DETR, appendix A.5).

    Args:
        width: C.
        num_queries: proposals taken.
    """

    def __init__(self, width: int, num_queries: int):
        super().__init__()
        self.enc_output = nn.Linear(width, width)
        self.enc_output_norm = nn.LayerNorm(width)
        self.pos_trans = nn.Linear(2 * width, 2 * width)
        self.pos_trans_norm = nn.LayerNorm(2 * width)
        self.num_queries = num_queries
        self.width = width
        for linear in (self.enc_output, self.pos_trans):
            nn.init.xavier_uniform_(linear.weight)
            nn.init.zeros_(linear.bias)

    def propose(
        self, memory: Tensor, geometry: Geometry, class_head: nn.Module, box_head: nn.Module
    ) -> tuple[Tensor, Tensor, Tensor, Predictions]:
        """
        Args:
            memory: (B, S, C) of the current frame.
            class_head, box_head: for tokens, to logits (B, S, K) and box changes (B, S, 4).

        Returns:
            queries and their positions (B, Q, C); references (B, Q, 4); all S proposals, as one
            layer, for their loss. Proposals in the padding or at the border have no finite logit of
            their box and are never better than others.
        """
        centres = geometry.centres.expand(len(memory), -1, -1)
        sides = [
            torch.full((height * width,), 0.05 * 2.0**level, device=memory.device)
            for level, (height, width) in enumerate(geometry.sizes)
        ]
        side = torch.cat(sides)[:, None].expand(len(memory), -1, 2)
        proposals = torch.cat([centres, side], dim=-1)
        usable = ((proposals > 0.01) & (proposals < 0.99)).all(-1)
        if geometry.padding is not None:
            usable = usable & ~geometry.padding
        logits = torch.log(proposals / (1 - proposals)).masked_fill(~usable[..., None], torch.inf)
        tokens = self.enc_output_norm(self.enc_output(memory * usable[..., None]))
        classes = class_head(tokens)
        box_logits = box_head(tokens) + logits
        best = classes[..., 0].topk(self.num_queries, dim=1).indices
        chosen = box_logits.gather(1, best[..., None].expand(-1, -1, 4)).detach()
        reference = chosen.sigmoid()
        embedded = self.pos_trans_norm(self.pos_trans(self._sine(reference)))
        query_pos, queries = embedded.chunk(2, dim=-1)
        return queries, query_pos, reference, Predictions(classes[None], box_logits.sigmoid()[None])

    def _sine(self, boxes: Tensor) -> Tensor:
        """(B, Q, 4) in [0, 1] to (B, Q, 2·C), C/2 channels a coordinate."""
        channels = self.width // 2
        index = torch.arange(channels, device=boxes.device)
        period = 10000.0 ** (2 * (index // 2) / channels)
        angle = boxes[..., None] * (2 * torch.pi) / period
        return torch.stack([angle[..., 0::2].sin(), angle[..., 1::2].cos()], dim=-1).flatten(-3)
