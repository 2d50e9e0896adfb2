"""Where the encoder and the decoder of DETR's family look.

Shapes: B: images or clips, T: frames, R: rows (points or queries), h: heads, L: levels, P: points,
H_f×W_f: the transformer's finest feature map.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from d2video.inspection.drawing import heat, points
from d2video.layers.ms_deform_attn import LevelSizes
from d2video.layers.recording import (
    AttentionCall,
    DenseAttention,
    SampledAttention,
    record_attention,
)
from d2video.modeling.predictions import Predictions
from d2video.modeling.query_network import SetPredictionNetwork


@dataclass
class Maps:
    """Dense attention of R rows: ``weights`` (R, h, T, H_f, W_f), each row and head sums to 1."""

    weights: Tensor

    def picture(
        self, frame: np.ndarray, row: int, head: int | None = None, time: int = 0
    ) -> np.ndarray:
        """The weights of a row over a frame, of one head or their mean. The brightest weight is that
        of all frames."""
        weights = self.weights[row].mean(0) if head is None else self.weights[row, head]
        return heat(frame, weights[time], float(weights.max()))

    def by_frame(self, row: int) -> Tensor:
        """The share of each frame, (T,), mean over the heads; they sum to 1."""
        return self.weights[row].mean(0).sum((-1, -2))


@dataclass
class Points:
    """Deformable attention of R rows.

    Attributes:
        locations: (R, h, T, K, 2), x and y as parts of the frame.
        weights: (R, h, T, K), each row and head sums to 1.
    """

    locations: Tensor
    weights: Tensor

    def picture(
        self, frame: np.ndarray, row: int, head: int | None = None, time: int = 0
    ) -> np.ndarray:
        """The points of a row on a frame, of one head or all."""
        heads = slice(None) if head is None else slice(head, head + 1)
        where, weights = self.locations[row, heads, time], self.weights[row, heads, time]
        return points(frame, where.flatten(0, 1), weights.flatten())

    def by_frame(self, row: int) -> Tensor:
        """The share of each frame, (T,), mean over the heads; they sum to 1."""
        return self.weights[row].mean(0).sum(-1)


@dataclass
class QueryRun:
    """One run of a network on an image or a clip, with its attention.

    Attributes:
        predictions: of all decoder layers.
        encoder, decoder: the calls of their layers: self-attention of the tokens, cross-attention of
            the queries.
        sizes: (H_l, W_l) of the levels of a frame, fine to coarse.
        num_frames: T, of a clip whose tokens are encoded together.
    """

    predictions: Predictions
    encoder: list[AttentionCall]
    decoder: list[AttentionCall]
    sizes: LevelSizes
    num_frames: int = 1

    def encoder_attention(
        self, where: list[tuple[float, float]], layer: int = -1, time: int = 0
    ) -> Maps | Points:
        """Where the tokens at image points look.

        Args:
            where: R points, x and y as parts of the image, in [0, 1).
            layer: of the encoder.
            time: the frame of the points.
        """
        height, width = self.sizes[0]
        rows = torch.tensor([int(y * height) * width + int(x * width) for x, y in where])
        call = self.encoder[layer]
        if isinstance(call, SampledAttention):  # each frame is an item of its batch
            return self._points(call, rows, time)
        tokens = sum(height * width for height, width in self.sizes)
        return self._maps(call, rows + time * tokens)

    def decoder_attention(self, queries: list[int], layer: int = -1) -> Maps | Points:
        """Where queries look, in a layer of the decoder."""
        call, rows = self.decoder[layer], torch.tensor(queries, dtype=torch.int64)
        if isinstance(call, SampledAttention):
            return self._points(call, rows)
        return self._maps(call, rows)

    def _points(self, call: SampledAttention, rows: Tensor, item: int = 0) -> Points:
        locations, weights = call.points(rows.to(call.locations.device), item)
        # The levels of each frame that is seen, one frame after another.
        frames = len(call.sizes) // len(self.sizes)
        return Points(
            locations.unflatten(2, (frames, -1)).flatten(3, 4),
            weights.unflatten(2, (frames, -1)).flatten(3),
        )

    def _maps(self, call: DenseAttention, rows: Tensor) -> Maps:
        """The weights on the finest level; those of a coarser token are spread over its pixels."""
        weights = call.weights(rows.to(call.q.device)).transpose(0, 1)
        by_frame = weights.unflatten(-1, (self.num_frames, -1))
        finest = self.sizes[0]
        total = by_frame.new_zeros(*by_frame.shape[:3], *finest)
        areas = [height * width for height, width in self.sizes]
        for level, size in zip(by_frame.split(areas, -1), self.sizes, strict=True):
            maps = level.unflatten(-1, size).flatten(0, 1)
            spread = F.interpolate(maps, size=finest, mode="nearest-exact").view_as(total)
            cells = spread.sum((-1, -2), keepdim=True).clamp(min=1e-30)
            total += spread * (level.sum(-1)[..., None, None] / cells)
        return Maps(total)


def record_queries(
    network: SetPredictionNetwork, run: Callable[[], Predictions], num_frames: int = 1
) -> QueryRun:
    """Run a network on one image or clip and record its attention.

    Args:
        network: whose attention is recorded.
        run: calls it, with all decoder layers.
        num_frames: T.

    Raises:
        UserError: the network has no attention.
    """
    patterns = ("*encoder.layers.*.self_attn", *_CROSS_ATTENTION)
    with record_attention(network, *patterns) as calls:
        predictions = run()
    encoder = [call for name, (call, *_) in calls.items() if "encoder.layers" in name]
    decoder = [call for name, (call, *_) in calls.items() if "decoder.layers" in name]
    return QueryRun(
        predictions, encoder, decoder, _sizes(predictions, encoder, decoder), num_frames
    )


_CROSS_ATTENTION = (
    "transformer.decoder.layers.*.multihead_attn",
    "transformer.decoder.layers.*.cross_attn",
)


def _sizes(
    predictions: Predictions, encoder: list[AttentionCall], decoder: list[AttentionCall]
) -> LevelSizes:
    """The levels of a frame. A deformable encoder or decoder may see those of several frames."""
    for call in [*encoder, *decoder]:
        if isinstance(call, SampledAttention):
            return call.sizes[: _period(call.sizes)]
    assert predictions.encoded is not None
    _, height, width, _ = predictions.encoded.memory.shape
    return [(height, width)]


def _period(sizes: LevelSizes) -> int:
    """How many levels a frame has, by the first repetition: levels get coarser within a frame."""
    return next((i for i in range(1, len(sizes)) if sizes[i] == sizes[0]), len(sizes))
