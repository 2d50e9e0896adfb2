"""The DETR network (Carion et al., ECCV 2020): tensors in, tensors out.

Shapes: B: images, Q: queries, K: classes, C: transformer width, L: decoder layers, h: heads, H×W: the
padded canvas, H_f×W_f: the transformer's feature map, H_m×W_m: the finest lateral (stride 4).
"""

from dataclasses import dataclass

import torch
from detectron2.modeling import Backbone
from torch import Tensor, nn

from d2video.layers import MLP, Transformer
from d2video.modeling.chunking import rows_at_once
from d2video.modeling.mask_head import MaskHeadSmallConv, MHAttentionMap
from d2video.structures.padding import resize_padding


@dataclass
class Encoded:
    """What the mask branch needs of a batch.

    Attributes:
        queries: (B, Q, C), last decoder layer.
        memory: (B, H_f, W_f, C), the encoder's output.
        source: (B, C, H_f, W_f), the encoder's input.
        padding: (B, H_f, W_f) bool, or None where nothing is padded.
        laterals: coarse to fine, [(B, c_i, H_i, W_i)].
        positions: (B, H_f, W_f, C), for an attention with positions.
    """

    queries: Tensor
    memory: Tensor
    source: Tensor
    padding: Tensor | None
    laterals: list[Tensor]
    positions: Tensor | None = None


class MaskBranch(nn.Module):
    """Attention maps of the queries, the convolutional head and its mask logits (DETR, fig. 8).

    Args:
        width, num_heads: of the transformer.
        lateral_channels: of the backbone's features, coarse to fine.
        mask_width: see :class:`MaskHeadSmallConv`; the transformer's width if None.
        activation_checkpoint: recompute the head in the backward pass.
        use_positions: see :class:`MHAttentionMap`.
    """

    def __init__(
        self,
        width: int,
        num_heads: int,
        lateral_channels: list[int],
        mask_width: int | None = None,
        activation_checkpoint: bool = False,
        use_positions: bool = False,
    ):
        super().__init__()
        self.bbox_attention = MHAttentionMap(width, width, num_heads, use_positions)
        self.mask_head = MaskHeadSmallConv(
            width,
            num_heads,
            lateral_channels,
            mask_width,
            activation_checkpoint,
            deformable=False,
        )
        self.out_conv = nn.Conv2d(self.mask_head.out_channels, 1, 3, padding=1)
        nn.init.kaiming_uniform_(self.out_conv.weight, a=1)
        assert self.out_conv.bias is not None
        nn.init.zeros_(self.out_conv.bias)

    def forward(self, encoded: Encoded, images: Tensor, queries: Tensor) -> Tensor:
        """Mask logits of some queries; they do not depend on which others are computed.

        Args:
            images: (P,) int64, the image of each wanted query, in [0, B).
            queries: (P,) int64, in [0, Q).

        Returns:
            (P, H_m, W_m).
        """
        attention = self.bbox_attention(
            encoded.queries, encoded.memory, encoded.padding, encoded.positions
        )[images, queries]
        # What the queries of an image share is computed once: the first convolution of its features.
        shared = self.mask_head.shared(encoded.source)
        finest = encoded.laterals[-1].shape[-2:].numel()
        parts = len(images)
        if not self.training:
            parts = rows_at_once(2 * self.mask_head.out_channels * finest, images.device)
        masks = [
            self.out_conv(self.mask_head(shared, part, index, encoded.laterals))[:, 0]
            for part, index in zip(attention.split(parts), images.split(parts))
        ]
        return torch.cat(masks)


class DETRNetwork(nn.Module):
    """Backbone, transformer, class and box heads and, if wanted, the mask branch.

    Args:
        backbone: of detectron2.
        in_features: names of backbone outputs, fine to coarse. The last feeds the transformer, the
            others are the laterals of the mask branch (unused without one).
        transformer: of width C.
        position_encoding: (B, H, W) bool padding to (B, H, W, C), such as
            :class:`d2video.layers.SinePositionEncoding` over two axes.
        num_queries: Q.
        num_classes: K.
        mask_on: build the mask branch.
        mask_width: see :class:`MaskBranch`.
        mask_positions: ``use_positions`` of :class:`MHAttentionMap`.
        activation_checkpoint: recompute the mask head in the backward pass.
    """

    def __init__(
        self,
        *,
        backbone: Backbone,
        in_features: list[str],
        transformer: Transformer,
        position_encoding: nn.Module,
        num_queries: int,
        num_classes: int,
        mask_on: bool = False,
        mask_width: int | None = None,
        mask_positions: bool = False,
        activation_checkpoint: bool = False,
    ):
        super().__init__()
        self.backbone = backbone
        self.in_features = list(in_features)
        width = transformer.width
        shapes = backbone.output_shape()
        self.input_proj = nn.Conv2d(shapes[self.in_features[-1]].channels, width, 1)
        self.position_encoding = position_encoding
        self.transformer = transformer
        self.query_embed = nn.Embedding(num_queries, width)
        self.class_embed = nn.Linear(width, num_classes + 1)
        self.bbox_embed = MLP(width, width, 4, 3)
        self.mask_branch: MaskBranch | None = None
        if mask_on:
            self.mask_branch = MaskBranch(
                width,
                transformer.num_heads,
                [shapes[name].channels for name in reversed(self.in_features[:-1])],
                mask_width,
                activation_checkpoint,
                mask_positions,
            )

    def forward(
        self, images: Tensor, padding: Tensor | None, all_layers: bool = True
    ) -> tuple[Tensor, Tensor, Encoded]:
        """
        Args:
            images: (B, 3, H, W), normalised, 0 where padded.
            padding: (B, H, W) bool, True = padding; None if nothing is padded.
            all_layers: predict from every decoder layer (for auxiliary losses) or the last alone.

        Returns:
            class logits (L or 1, B, Q, K + 1), boxes (L or 1, B, Q, 4) float32, cxcywh in [0, 1] of
            the *unpadded* image, and what :class:`MaskBranch` needs.
        """
        features = self.backbone(images)
        source = self.input_proj(features[self.in_features[-1]])
        laterals = []
        if self.mask_branch is not None:
            coarse_to_fine = [features[name] for name in reversed(self.in_features[:-1])]
            laterals = self.mask_branch.mask_head.laterals(coarse_to_fine)
        size = source.shape[-2:]
        if padding is None:
            grid = torch.zeros(len(images), *size, dtype=torch.bool, device=images.device)
        else:
            grid = padding = resize_padding(padding, (size[0], size[1]))
        tokens = source.flatten(2).transpose(1, 2)
        pos = self.position_encoding(grid).flatten(1, 2).to(tokens.dtype)
        token_padding = None if padding is None else padding.flatten(1)
        outputs, memory = self.transformer(tokens, self.query_embed.weight, pos, token_padding)
        if not all_layers:
            outputs = outputs[-1:]
        memory, positions = memory.unflatten(1, size), pos.unflatten(1, size)
        encoded = Encoded(outputs[-1], memory, source, padding, laterals, positions)
        return self.class_embed(outputs), self.bbox_embed(outputs).float().sigmoid(), encoded
