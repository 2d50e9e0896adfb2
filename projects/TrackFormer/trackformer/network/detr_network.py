"""DETR with track queries: TrackFormer's network for MOTS20.

Shapes: B: images, n: track queries, Q: object queries, N = n + Q, C: width, S: tokens.
"""

from typing import Any

import torch
from d2video.projects.trackformer.network.base import (
    FrameFeatures,
    NetworkOutput,
    Pyramid,
    TrackingNetwork,
    TrackQueries,
    with_track_queries,
)
from torch import Tensor, nn

from d2video.layers import Transformer, TransformerEncoderLayer
from d2video.modeling.pixels import channels_last
from d2video.modeling.predictions import Encoded
from d2video.modeling.query_network import QueryNetwork


class DETRTrackingNetwork(TrackingNetwork, QueryNetwork):
    """DETR, whose decoder also takes track queries.

    Frames before the current one reach it through the track queries alone.

    Args:
        track_attention: a layer of self-attention among the track queries before every decoder layer
            (TrackFormer, sec. 3.2 and table 4).
        others: see :class:`QueryNetwork`.
    """

    transformer: Transformer
    num_previous = 0

    def __init__(self, *, track_attention: bool = False, **others: Any):
        super().__init__(**others)
        self.track_attention: nn.ModuleList | None = None
        if track_attention:
            self.track_attention = nn.ModuleList(
                TransformerEncoderLayer(*self.transformer.layer_sizes)
                for _ in self.transformer.decoder.layers
            )
            for parameter in self.track_attention.parameters():
                if parameter.dim() > 1:
                    nn.init.xavier_uniform_(parameter)

    def features(self, images: Tensor, padding: Tensor | None) -> FrameFeatures:
        outputs = self.backbone(channels_last(images))
        return FrameFeatures([outputs[name] for name in self.in_features], padding)

    def project(self, features: FrameFeatures) -> Pyramid:
        return Pyramid.of([self.input_proj(features.maps[-1])], features.padding)

    def forward(
        self,
        features: FrameFeatures,
        current: Pyramid,
        previous: list[Pyramid],
        track_queries: TrackQueries | None,
        all_layers: bool = True,
    ) -> NetworkOutput:
        """See :class:`TrackingNetwork`; ``previous`` is not used."""
        (source,) = current.levels
        padding = None if current.paddings is None else current.paddings[0]
        tokens, pos, token_padding = self.tokens(current.levels, current.paddings)
        memory = self.transformer.encode(tokens, pos, token_padding)

        query_pos = self.query_embed.weight.expand(source.shape[0], -1, -1)
        queries, query_pos, query_padding = with_track_queries(
            track_queries, torch.zeros_like(query_pos), query_pos
        )

        def attend_tracks(index: int, x: Tensor) -> Tensor:
            if self.track_attention is None or track_queries is None:
                return x
            return self._attend_tracks(self.track_attention[index], x, track_queries)

        # What goes on to the next frame is the last layer's output before its norm.
        outputs, embeddings = self.transformer.decode(
            queries, query_pos, memory, pos, token_padding, query_padding, attend_tracks
        )
        laterals = []
        if self.mask_branch is not None:
            laterals = self.mask_branch.mask_head.laterals(features.maps[:-1])
        memory = memory.unflatten(1, source.shape[-2:])
        encoded = Encoded(outputs[-1], memory, source, padding, laterals)
        found = self.predict(outputs, encoded, all_layers)
        return NetworkOutput(
            *(found.logits, found.boxes, found.masks, encoded),
            embeddings=embeddings,
            query_padding=query_padding,
        )

    def _attend_tracks(self, layer: nn.Module, x: Tensor, tracks: TrackQueries) -> Tensor:
        count = tracks.embeddings.shape[1]
        padding = tracks.padding
        if padding is not None:
            # A softmax over nothing is not a number; an image without tracks has none to disturb.
            padding = padding & ~padding.all(1, keepdim=True)
        # Without any track the layer runs all the same: in training every parameter has a gradient.
        own = x[:, :count]
        own = self.transformer.run(layer, own, torch.zeros_like(own), padding)
        return torch.cat([own, x[:, count:]], dim=1)
