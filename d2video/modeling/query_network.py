"""Networks that predict a set with learned queries: what DETR, VisTR and TrackFormer share.

Shapes: B: images or clips, N: images of the batch, Q: queries, K: classes, C: width, L: decoder layers,
H_f×W_f: the transformer's feature map.
"""

from functools import partial
from itertools import pairwise

import torch
import torch.nn.functional as F
from detectron2.modeling import Backbone
from torch import Tensor, nn

from d2video.layers import Transformer
from d2video.modeling.mask_head import MaskBranch, MHAttentionMap, coarse_masks
from d2video.modeling.predictions import Encoded, Predictions


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
    transformer: nn.Module
    mask_branch: MaskBranch | None

    def compiled_parts(self) -> list[nn.Module]:
        """The modules that ``torch.compile`` speeds up."""
        parts: list[nn.Module] = [self.backbone, self.transformer]
        return parts if self.mask_branch is None else [*parts, self.mask_branch.mask_head]


class QueryNetwork(SetPredictionNetwork):
    """Backbone, DETR's transformer, learned queries, class and box heads and, if wanted, masks.

    Subclasses run them.

    Args:
        backbone: encodes single images.
        in_features: names of backbone outputs, fine to coarse. The last feeds the transformer, the
            others are the laterals of the mask head (unused without one).
        transformer: of width C.
        position_encoding: of padding (bool) with the axes of the tokens, to (..., C), such as
            :class:`d2video.layers.SinePositionEncoding`.
        num_queries: Q.
        num_classes: K.
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
        num_queries: int,
        num_classes: int,
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
        self.input_proj = nn.Conv2d(shapes[self.in_features[-1]].channels, width, 1)
        self.position_encoding = position_encoding
        self.transformer = transformer
        self.query_embed = nn.Embedding(num_queries, width)
        self.class_embed = nn.Linear(width, num_classes + 1)
        self.bbox_embed = MLP(width, width, 4, 3)
        self.lateral_channels = [shapes[name].channels for name in reversed(in_features[:-1])]
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

    def tokens(
        self, source: Tensor, padding: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """What the transformer takes of images or clips.

        Args:
            source: (B, [T,] H_f, W_f, C).
            padding: (B, [T,] H_f, W_f) bool or None.

        Returns:
            tokens, frame by frame and row by row, and their positions (B, S, C), and their padding
            (B, S) bool or None; S = [T·]H_f·W_f.
        """
        grid = padding
        if grid is None:
            grid = torch.zeros(source.shape[:-1], dtype=torch.bool, device=source.device)
        pos = self.position_encoding(grid).flatten(1, -2).to(source.dtype)
        return source.flatten(1, -2), pos, None if padding is None else padding.flatten(1)

    def predict(self, outputs: Tensor, encoded: Encoded | None, all_layers: bool) -> Predictions:
        """Predictions from the decoder's outputs (L, B, Q, C), of all layers or the last."""
        if not all_layers:
            outputs = outputs[-1:]
        logits = self.class_embed(outputs)
        boxes = self.bbox_embed(outputs).float().sigmoid()
        masks = coarse = None
        if self.mask_branch is not None and encoded is not None:
            masks = partial(self.mask_branch, encoded)
        attention = self.mask_attention
        if (
            self.training
            and encoded is not None
            and attention is not None
            and attention.query_masks
        ):
            coarse = coarse_masks(attention, outputs, encoded)
        return Predictions(logits, boxes, masks, encoded, coarse, outputs[-1])
