"""Networks that predict a set with learned queries: what DETR, VisTR and TrackFormer share.

Shapes: B: images or clips, N: images of the batch, Q: queries, K: classes, C: width, L: decoder layers,
H_f×W_f: the transformer's feature map.
"""

from functools import partial
from itertools import pairwise
from typing import Literal

import torch
import torch.nn.functional as F
from detectron2.modeling import Backbone
from torch import Tensor, nn

from d2video.layers import SinePositionEncoding, Transformer
from d2video.layers.deformable_transformer import DeformableTransformer
from d2video.layers.level_geometry import LevelGeometry
from d2video.layers.level_projections import LevelProjections
from d2video.layers.multi_scale_encoder import MultiScaleEncoder
from d2video.modeling.anchor_queries import AnchorQueries, MovingAnchors
from d2video.modeling.mask_head import MaskBranch, MHAttentionMap, coarse_masks
from d2video.modeling.predictions import Encoded, Predictions

# Where positions enter: see QueryNetwork.
PositionsAt = Literal["attention", "input", "decoder"]
QueriesAt = Literal["attention", "input"]


class MLP(nn.Module):
    """``num_layers`` linear layers with ReLU between them: (..., in) to (..., out)."""

    def __init__(self, input_dim: int, hidden_dim: int, output_dim: int, num_layers: int):
        super().__init__()
        dims = [input_dim, *[hidden_dim] * (num_layers - 1), output_dim]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(dims))

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers[:-1]:
            x = F.relu(layer(x))
        return self.layers[-1](x)


class SetPredictionNetwork(nn.Module):
    """What :class:`~d2video.modeling.set_prediction.SetPredictionModel` asks of a network.

    Attributes:
        backbone: of detectron2.
        transformer: encoder and decoder.
        mask_branch: None for a network without one.
    """

    backbone: Backbone
    transformer: Transformer | DeformableTransformer
    mask_branch: MaskBranch | None

    def heavy_parts(self) -> list[nn.Module]:
        """What takes the time, for :func:`~d2video.modeling.acceleration.accelerate`; single layers,
        because what is between them, such as boxes, stays in float32."""
        encoder, decoder = self.transformer.encoder, self.transformer.decoder
        parts = [self.backbone, *encoder.layers, *decoder.layers]
        return parts if self.mask_branch is None else [*parts, self.mask_branch.mask_head]


class QueryNetwork(SetPredictionNetwork):
    """Backbone, DETR's transformer, learned queries, class and box heads and, if wanted, masks.

    Subclasses run them.

    Args:
        backbone: encodes single images.
        in_features: names of backbone outputs, fine to coarse. The last ones feed the transformer, the
            others are the laterals of the mask head (unused without one).
        transformer: of width C.
        deformable_encoder: runs before the transformer, whose decoder then attends to the tokens of
            all levels, and whose own encoder has no layers. The masks take the finest level.
        encoder_features: how many of ``in_features`` feed the transformer: 1, or with a deformable
            encoder at most its levels.
        position_encoding: of padding (bool) with the axes of the tokens, to (..., C), such as
            :class:`d2video.layers.SinePositionEncoding`.
        positions_at: where the tokens' positions enter: "attention", all attention of encoder and
            decoder, as in DETR; "decoder", only that of the decoder; "input", once, added to the
            encoder's input (DETR, table 3). A deformable encoder takes "attention".
        num_queries: Q.
        queries_at: where the learned queries enter: "attention", all attention of the decoder, which
            starts from zeros, as in DETR; "input", once, as the decoder's start. With ``anchors``
            "attention".
        num_embeddings: rows of learned queries, Q a group if None. With fewer a subclass says which
            query takes which row, see :meth:`learned_queries`.
        num_classes: K.
        query_groups: sets of Q queries in training, each of which finds all objects independently, without
            seeing the others (Group DETR, Chen et al., ICCV 2023); only the first is used otherwise.
        anchors: the queries have :class:`.AnchorQueries`; needs sine positions over two axes.
        look_twice: see :class:`.MovingAnchors`.
        mask_on: build a :class:`MaskBranch`.
        mask_width, mask_positions, query_masks, activation_checkpoint: of the mask branch.
    """

    transformer: Transformer

    def __init__(
        self,
        *,
        backbone: Backbone,
        in_features: list[str],
        transformer: Transformer,
        position_encoding: nn.Module,
        positions_at: PositionsAt = "attention",
        num_queries: int,
        queries_at: QueriesAt = "attention",
        num_embeddings: int | None = None,
        num_classes: int,
        deformable_encoder: MultiScaleEncoder | None = None,
        encoder_features: int = 1,
        query_groups: int = 1,
        anchors: bool = False,
        look_twice: bool = False,
        mask_on: bool = False,
        mask_width: int | None = None,
        mask_positions: bool = False,
        query_masks: bool = False,
        activation_checkpoint: bool = False,
    ):
        super().__init__()
        self.backbone = backbone
        self.in_features = list(in_features)
        width = transformer.width
        shapes = backbone.output_shape()
        channels = [shapes[name].channels for name in self.in_features]
        self.lateral_features = self.in_features[:-encoder_features]
        self.deformable_encoder = deformable_encoder
        if deformable_encoder is None:
            assert encoder_features == 1, "several levels need a deformable encoder"
            self.input_proj: nn.Module = nn.Conv2d(channels[-1], width, 1)
        else:
            levels = deformable_encoder.num_levels
            self.input_proj = LevelProjections(channels[-encoder_features:], levels, width)
        self.position_encoding = position_encoding
        self.positions_at = positions_at
        self.queries_at = queries_at
        self.transformer = transformer
        self.num_queries = num_queries
        self.query_groups = query_groups
        self.query_embed = nn.Embedding(num_embeddings or query_groups * num_queries, width)
        self.class_embed = nn.Linear(width, num_classes + 1)
        self.bbox_embed = MLP(width, width, 4, 3)
        self.anchors: AnchorQueries | None = None
        self.look_twice = look_twice
        if anchors:
            assert isinstance(position_encoding, SinePositionEncoding)
            self.anchors = AnchorQueries(position_encoding, query_groups * num_queries)
            for parameter in self.bbox_embed.layers[-1].parameters():
                nn.init.zeros_(parameter)
        self.lateral_channels = channels[:-encoder_features][::-1]
        self.mask_branch = None
        if mask_on:
            self.mask_branch = MaskBranch(
                width,
                transformer.num_heads,
                self.lateral_channels,
                mask_width,
                activation_checkpoint,
                mask_positions,
                query_masks,
            )

    @property
    def mask_attention(self) -> MHAttentionMap | None:
        """The attention maps that the masks are made of; None for a network without masks."""
        return None if self.mask_branch is None else self.mask_branch.bbox_attention

    def heavy_parts(self) -> list[nn.Module]:
        encoder = self.deformable_encoder
        return [*super().heavy_parts(), *([] if encoder is None else encoder.layers)]

    def levels(self, features: dict[str, Tensor]) -> list[Tensor]:
        """The transformer's feature maps (N, C, H_l, W_l), fine to coarse, of the backbone's outputs."""
        if self.deformable_encoder is None:
            return [self.input_proj(features[self.in_features[-1]])]
        names = self.in_features[len(self.lateral_features) :]
        return self.input_proj([features[name] for name in names])

    def tokens(
        self, levels: list[Tensor], paddings: list[Tensor] | None
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """What the transformer takes of images or clips.

        Args:
            levels: [(B, [T,] C, H_l, W_l)], fine to coarse.
            paddings: [(B, H_l, W_l) bool], of all frames of a clip, or None.

        Returns:
            tokens, frame by frame, level by level and row by row, and their positions (B, S, C), and
            their padding (B, S) bool or None; S = [T·]Σ H_l·W_l.
        """
        grids = _grids(levels, paddings)
        pos = torch.cat([self.position_encoding(grid).flatten(-3, -2) for grid in grids], dim=-2)
        tokens = torch.cat([level.flatten(-2).transpose(-1, -2) for level in levels], dim=-2)
        pos = pos.to(tokens.dtype)
        if self.deformable_encoder is not None:
            geometry = LevelGeometry.of(levels, paddings)
            by_frame = (tokens.shape[0], -1, *tokens.shape[-2:])  # T is 1 for an image
            tokens, pos = tokens.view(by_frame), pos.view(by_frame)
            pos = self.deformable_encoder.embed_levels(pos, geometry)
            tokens = self.deformable_encoder(tokens, pos, geometry)
        padding = None
        if paddings is not None:
            padding = torch.cat([grid.flatten(-2) for grid in grids], dim=-1).flatten(1)
        return tokens.flatten(1, -2), pos.flatten(1, -2), padding

    def learned_queries(self, count: int) -> Tensor:
        """The embeddings of the first ``count`` queries, (count, C)."""
        return self.query_embed.weight[:count]

    def decode(
        self, tokens: Tensor, pos: Tensor, padding: Tensor | None
    ) -> tuple[Tensor, Tensor | None, Tensor]:
        """What :meth:`tokens` returns to the outputs (L, B, G·Q, C) of all layers, their boxes (L, B,
        G·Q, 4), None without anchors, and the memory (B, S, C). G is 1, in training
        ``query_groups``."""
        memory_pos: Tensor | None = pos
        if self.positions_at == "input":
            tokens, memory_pos = tokens + pos, None
        in_encoder = memory_pos if self.positions_at == "attention" else None
        memory = self.transformer.encode(tokens, in_encoder, padding)
        groups = self.query_groups if self.training else 1
        count = groups * self.num_queries
        learned = self.learned_queries(count).expand(memory.shape[0], -1, -1)
        hidden = None
        if groups > 1:
            group = torch.arange(count, device=memory.device) // self.num_queries
            hidden = group[:, None] != group
        moving = None
        if self.anchors is not None:
            logits = self.anchors.logits[:count].expand(memory.shape[0], -1, -1)
            moving = MovingAnchors(self.anchors, logits, self.bbox_embed, self.look_twice)
        start = torch.zeros_like(learned)
        query_pos: Tensor | MovingAnchors | None = learned
        if moving is not None or self.queries_at == "input":
            start, query_pos = learned, moving
        outputs, _ = self.transformer.decode(
            start, query_pos, memory, memory_pos, padding, hidden=hidden
        )
        return outputs, None if moving is None else torch.stack(moving.boxes), memory

    def predict(
        self,
        outputs: Tensor,
        encoded: Encoded | None,
        all_layers: bool,
        boxes: Tensor | None = None,
    ) -> Predictions:
        """Predictions from the decoder's outputs (L, B, G·Q, C), of all layers or the last.

        Args:
            encoded: of the first Q queries.
            boxes: (L, B, G·Q, 4); of the box head if None.
        """
        if not all_layers:
            outputs, boxes = outputs[-1:], None if boxes is None else boxes[-1:]
        logits = self.class_embed(outputs)
        if boxes is None:
            boxes = self.bbox_embed(outputs).float().sigmoid()
        masks = coarse = None
        if self.mask_branch is not None and encoded is not None:
            masks = partial(self.mask_branch, encoded)
        attention = self.mask_attention
        if self.training and encoded and attention is not None and attention.query_masks:
            coarse = coarse_masks(attention, outputs, encoded)
        return Predictions(logits, boxes, masks, encoded, coarse, outputs[-1])


def _grids(levels: list[Tensor], paddings: list[Tensor] | None) -> list[Tensor]:
    """The padding of each level (B, [T,] H_l, W_l) bool; see :meth:`QueryNetwork.tokens`."""
    if paddings is None:
        return [torch.zeros_like(level[..., 0, :, :], dtype=torch.bool) for level in levels]
    if levels[0].dim() == 4:
        return paddings
    num_frames = levels[0].shape[1]
    return [padding[:, None].expand(-1, num_frames, -1, -1) for padding in paddings]


def finest_level(tokens: Tensor, num_images: int, size: tuple[int, int]) -> Tensor:
    """Tokens (B, S, C) of B images or clips, as of :meth:`QueryNetwork.tokens`, to the finest level's
    maps (B·T, H_f, W_f, C), where ``num_images`` is B·T and ``size`` (H_f, W_f)."""
    by_image = tokens.reshape(num_images, -1, tokens.shape[-1])
    return by_image[:, : size[0] * size[1]].unflatten(1, size)
