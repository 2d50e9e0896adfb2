"""What the two networks of TrackFormer have in common: their inputs and outputs.

Shapes: B: images, H×W: padded canvas, n: track queries, Q: object queries, N = n + Q, K: classes,
C: width.
"""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from d2video.modeling.predictions import Predictions
from d2video.modeling.query_network import SetPredictionNetwork
from d2video.structures.padding import resize_paddings


@dataclass
class TrackQueries:
    """What the decoder made of a frame's objects, asked again in the next (TrackFormer, sec. 3.2).

    Attributes:
        embeddings: (B, n, C), outputs of the previous frame's decoder; of a network with track links
            (B, n, 2·C), the tokens of the proposals behind them.
        boxes: (B, n, 4), cxcywh divided by the image size.
        padding: (B, n) bool, True where there is no query; None if nothing is padded.
        matched: (B, n) bool, in training: True where the query had an object in the previous frame.
    """

    embeddings: Tensor
    boxes: Tensor
    padding: Tensor | None = None
    matched: Tensor | None = None


@dataclass
class FrameFeatures:
    """The backbone's view of a batch of frames.

    Attributes:
        maps: [(B, c_i, H_i, W_i)], fine to coarse.
        padding: (B, H, W) bool of the canvas, True = padding; None if nothing is padded.
    """

    maps: list[Tensor]
    padding: Tensor | None


@dataclass
class Pyramid:
    """Projected features of a batch of frames: all that a later frame needs of it.

    Attributes:
        levels: [(B, C, H_l, W_l)], fine to coarse.
        paddings: [(B, H_l, W_l) bool], or None if nothing is padded.
    """

    levels: list[Tensor]
    paddings: list[Tensor] | None

    @classmethod
    def of(cls, levels: list[Tensor], padding: Tensor | None) -> "Pyramid":
        """Levels and the padding (B, H, W) of their canvas, resized to each."""
        return cls(levels, resize_paddings(padding, levels))

    @classmethod
    def cat(cls, frames: Sequence["Pyramid"]) -> "Pyramid":
        """One batch of several, of one size and without padding."""
        assert all(frame.paddings is None for frame in frames)
        levels = zip(*(frame.levels for frame in frames), strict=True)
        return cls([torch.cat(level) for level in levels], None)

    def split(self) -> list["Pyramid"]:
        """The frames of the batch, which is without padding, one by one."""
        assert self.paddings is None
        frames = zip(*(level.split(1) for level in self.levels), strict=True)
        return [Pyramid([*levels], None) for levels in frames]


@dataclass
class ProposalLinks:
    """Which proposals show the objects of the track queries.

    Attributes:
        logits: (B, n, Q + 1), the last of "none of them".
        boxes: (B, Q, 4), cxcywh in [0, 1], of the proposals that the object queries start from.
    """

    logits: Tensor
    boxes: Tensor


@dataclass(kw_only=True)
class NetworkOutput(Predictions):
    """Predictions for one frame; rows are the track queries, then the object queries.

    Attributes:
        embeddings: (B, N, C or 2·C), what these queries are if they are asked again in the next frame.
        query_padding: (B, N) bool, True where a row is not a query; None where all are.
        proposals: of a two-stage network, one layer of predictions of the first stage.
        centres: (B or 1, S, 2), x and y in [0, 1], of the cells of these S proposals, where they are
            dense.
        links: of the track queries, in a network that has them.
    """

    embeddings: Tensor
    query_padding: Tensor | None = None
    proposals: Predictions | None = None
    centres: Tensor | None = None
    links: ProposalLinks | None = None


class TrackingNetwork(SetPredictionNetwork):
    """What the meta-architecture asks of a network.

    Attributes:
        num_previous: frames before the current one that the decoder looks at.
    """

    num_previous: int

    @abstractmethod
    def features(self, images: Tensor, padding: Tensor | None) -> FrameFeatures:
        """The backbone on (B, 3, H, W) normalised images; padding (B, H, W) bool or None."""

    @abstractmethod
    def project(self, features: FrameFeatures) -> Pyramid:
        """Features at the transformer's width; without a gradient they may be kept for later."""

    @abstractmethod
    def forward(
        self,
        features: FrameFeatures,
        current: Pyramid,
        previous: list[Pyramid],
        track_queries: TrackQueries | None,
        all_layers: bool = True,
    ) -> NetworkOutput:
        """Decode a frame.

        Args:
            features: the current frame's, for the mask branch.
            current: the current frame's.
            previous: of earlier frames, the nearest first; see :func:`earlier_frames`.
            track_queries: of the batch, or None.
            all_layers: predict from every decoder layer or only the last.
        """


def earlier_frames(current: Pyramid, previous: Sequence[Pyramid], count: int) -> list[Pyramid]:
    """``count`` frames before the current one, the nearest first; where ``previous`` has too few, the
    last of them, or the current frame, stands in."""
    return [*previous, *[(previous or [current])[-1]] * count][:count]


def with_track_queries(
    tracks: TrackQueries | None, queries: Tensor, query_pos: Tensor
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Track queries before object queries; the former's position is zero (TrackFormer, sec. 3.2).

    Args:
        queries, query_pos: of the objects, (B, Q, C).

    Returns:
        queries and positions (B, N, C), and the padding (B, N) bool or None.
    """
    if tracks is None:
        return queries, query_pos, None
    pos = torch.cat([torch.zeros_like(tracks.embeddings), query_pos], dim=1)
    padding = None
    if tracks.padding is not None:
        padding = nn.functional.pad(tracks.padding, (0, queries.shape[1]))
    return torch.cat([tracks.embeddings, queries], dim=1), pos, padding
