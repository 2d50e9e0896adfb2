"""Follow objects through video with an image model: queries of a frame are matched with known tracks.

A detector of set prediction answers an object in neighbouring frames with similar decoder outputs, so
that its queries can be linked without any training for video (MinVIS: Huang et al., NeurIPS 2022).
Beside these embeddings classes and boxes are compared, and tracks outlive frames without a detection.

Shapes: Q: queries of a frame, N: candidates among them, n: known tracks, C: channels of an embedding,
K: classes.
"""

import copy
from dataclasses import dataclass, fields
from typing import Any

import torch
import torch.nn.functional as F
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from d2video.structures.boxes import box_iou, generalized_box_iou

# Share of the past in the running mean of a track's embedding and class probabilities.
_MOMENTUM = 0.8


@dataclass
class Columns:
    """Queries or tracks as columns of numbers, on the CPU.

    Attributes:
        boxes: (n, 4) float32 xyxy, 1 is the image's width or height.
        embeddings: (n, C), of length 1 in a frame, a running mean of these in a track.
        looks: (n, K), square roots of the class probabilities, in the same way: the product of two is
            1 for equal distributions (Bhattacharyya coefficient).
    """

    boxes: Tensor
    embeddings: Tensor
    looks: Tensor

    def columns(self) -> dict[str, Tensor]:
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def __getitem__(self, index: Tensor) -> Any:
        """The rows of a mask (n,) bool or of numbers (m,) int64."""
        return type(self)(**{name: column[index] for name, column in self.columns().items()})


@dataclass
class Candidates(Columns):
    """The queries of a frame that may show an object, the surest first.

    Attributes:
        queries: (N,) int64, their numbers.
        scores: (N,) float32.
    """

    queries: Tensor
    scores: Tensor


@dataclass
class Tracks(Columns):
    """Known tracks: where and what they were when they were last seen.

    Attributes:
        ids: (n,) int64.
        motion: (n, 4), change of the box from one frame to the next.
        unseen: (n,) int64, frames since the last sight, 0 in this frame.
    """

    ids: Tensor
    motion: Tensor
    unseen: Tensor


@dataclass
class Links:
    """The queries of a frame that show tracks, one each.

    Attributes:
        queries: (m,) int64, their numbers, ascending.
        track_ids: (m,) int64, from 0 on in order of appearance.
        classes: (m,) int64, the likeliest class in the track's running mean.
    """

    queries: Tensor
    track_ids: Tensor
    classes: Tensor


class QueryLinker:
    """Carries track identities from frame to frame of one video.

    In each frame:

    1. Queries below ``low_score`` show nothing. Of two queries that repeat each other (the mean of
       their box IoU and the cosine of their embeddings exceeds ``duplicate``) the surer one stays:
       without suppression a detector that was trained for a short time has many.
    2. The similarity of a track and a query is the cosine of their embeddings, plus ``class_weight``
       times the agreement of their classes, plus ``box_weight`` times the GIoU of the query's box and
       of where the track's box would be after one more frame of its last motion. The one-to-one
       assignment (Hungarian) with the largest sum of (similarity - ``least_similarity``) · score
       counts where a similarity reaches ``least_similarity``.
    3. A query of at least ``new_score`` without a track starts one, unless it repeats a query with a
       track, for which half of ``duplicate`` suffices.
    4. A track that is not seen for more than ``patience`` frames is forgotten; until then its object is
       found again by the same similarity.

    Embeddings are compared after the mean over all queries of their frame is taken off, and tracks keep
    a running mean of theirs over time. Memory does not grow with the video: a track is a few hundred
    numbers, and a frame starts at most Q.

    Args:
        new_score, low_score: 0 to 1, the first not below the second.
        least_similarity: in units of the cosine, about -1 to 1 + both weights.
        class_weight, box_weight: at least 0.
        duplicate: 0 to 1; 1 leaves all.
        patience: frames.
        embedding_weight: factor of the embeddings' cosine; for experiments.
    """

    def __init__(
        self,
        *,
        new_score: float = 0.8,
        low_score: float = 0.4,
        least_similarity: float = 0.75,
        class_weight: float = 0.5,
        box_weight: float = 0.3,
        duplicate: float = 0.6,
        patience: int = 30,
        embedding_weight: float = 1.0,
    ):
        self.new_score = new_score
        self.low_score = low_score
        self.least_similarity = least_similarity
        self.class_weight = class_weight
        self.box_weight = box_weight
        self.duplicate = duplicate
        self.patience = patience
        self.embedding_weight = embedding_weight
        self._tracks: Tracks | None = None
        self._next_id = 0

    def new(self) -> "QueryLinker":
        """A linker with these settings for another video."""
        linker = copy.copy(self)
        linker._tracks, linker._next_id = None, 0
        return linker

    @property
    def num_tracks(self) -> int:
        """How many tracks are in memory."""
        return 0 if self._tracks is None else len(self._tracks.ids)

    def step(
        self, scores: Tensor, probabilities: Tensor, boxes: Tensor, embeddings: Tensor
    ) -> Links:
        """Link the next frame.

        Args:
            scores: (Q,), 0 to 1, of each query's best class; -1 for what must not be followed.
            probabilities: (Q, K), of the classes that are followed.
            boxes: (Q, 4) cxcywh, 1 is the image's width or height.
            embeddings: (Q, C), the last decoder layer's outputs.
        """
        found = self._candidates(scores, probabilities, boxes, embeddings)
        tracks = self._tracks or _no_tracks(found)
        old, new = self._match(tracks, found)
        seen = _seen(tracks[old], found[new])
        born = self._born(found, new)
        started = self._start(found[born])
        waiting = torch.ones(len(tracks.ids), dtype=torch.bool)
        waiting[old] = False
        waiting &= tracks.unseen < self.patience
        lost = tracks[waiting]
        lost.unseen = lost.unseen + 1
        parts = [part.columns() for part in (seen, started, lost)]
        self._tracks = Tracks(**{k: torch.cat([part[k] for part in parts]) for k in parts[0]})

        queries, order = torch.cat([found.queries[new], found.queries[born]]).sort()
        ids = torch.cat([seen.ids, started.ids])[order]
        classes = torch.cat([seen.looks, started.looks])[order].argmax(1)
        return Links(queries, ids, classes)

    def _candidates(
        self, scores: Tensor, probabilities: Tensor, boxes: Tensor, embeddings: Tensor
    ) -> Candidates:
        rows = (scores >= self.low_score).nonzero()[:, 0]
        rows = rows[scores[rows].argsort(descending=True, stable=True)]
        centred = embeddings[rows].float() - embeddings.float().mean(0)
        corner, size = boxes[rows, :2] - boxes[rows, 2:] / 2, boxes[rows, 2:]
        found = Candidates(
            boxes=torch.cat([corner, corner + size], 1).float().cpu(),
            embeddings=F.normalize(centred, dim=1).cpu(),
            looks=F.normalize(probabilities[rows].float().sqrt(), dim=1).cpu(),
            queries=rows.cpu(),
            scores=scores[rows].float().cpu(),
        )
        return found[_greedily(_repetition(found, found) > self.duplicate)]

    def _match(self, tracks: Tracks, found: Candidates) -> tuple[Tensor, Tensor]:
        """Rows of the tracks that are seen, and of the candidates that show them."""
        similarity = (
            self.embedding_weight * F.normalize(tracks.embeddings, dim=1) @ found.embeddings.T
        )
        similarity += self.class_weight * F.normalize(tracks.looks, dim=1) @ found.looks.T
        there = tracks.boxes + tracks.motion
        similarity += self.box_weight * generalized_box_iou(there[:, None], found.boxes[None], 1e-9)
        # Pairs below the threshold must not draw others away from good ones.
        gain = (similarity - self.least_similarity).clamp(min=0) * found.scores
        old, new = map(torch.from_numpy, linear_sum_assignment(gain.numpy(), maximize=True))
        good = gain[old, new] > 0
        return old[good], new[good]

    def _born(self, found: Candidates, linked: Tensor) -> Tensor:
        """Rows of the candidates that start tracks; the rows ``linked`` show known ones."""
        born = found.scores >= self.new_score
        born[linked] = False
        repeated = _repetition(found, found[linked]) > self.duplicate / 2
        return (born & ~repeated.any(1)).nonzero()[:, 0]

    def _start(self, found: Candidates) -> Tracks:
        first, self._next_id = self._next_id, self._next_id + len(found.queries)
        return Tracks(
            boxes=found.boxes,
            embeddings=found.embeddings,
            looks=found.looks,
            ids=torch.arange(first, self._next_id),
            motion=torch.zeros_like(found.boxes),
            unseen=torch.zeros_like(found.queries),
        )


def _no_tracks(like: Columns) -> Tracks:
    none = torch.zeros(0, dtype=torch.int64)
    columns = {name: getattr(like, name)[:0] for name in ("boxes", "embeddings", "looks")}
    return Tracks(**columns, ids=none, motion=columns["boxes"], unseen=none)


def _seen(tracks: Tracks, found: Candidates) -> Tracks:
    """The tracks after the candidates, one each, have shown them."""

    def mean(past: Tensor, now: Tensor) -> Tensor:
        return _MOMENTUM * past + (1 - _MOMENTUM) * now

    return Tracks(
        boxes=found.boxes,
        embeddings=mean(tracks.embeddings, found.embeddings),
        looks=mean(tracks.looks, found.looks),
        ids=tracks.ids,
        motion=(found.boxes - tracks.boxes) / (tracks.unseen[:, None] + 1),
        unseen=torch.zeros_like(tracks.unseen),
    )


def _repetition(a: Candidates, b: Candidates) -> Tensor:
    """(N, M), how much candidates repeat each other: the mean of box IoU and embeddings' cosine."""
    iou, _ = box_iou(a.boxes[:, None], b.boxes[None], 1e-9)
    return (iou + a.embeddings @ b.embeddings.T) / 2


def _greedily(repeats: Tensor) -> Tensor:
    """(N,) bool: the rows that repeat no earlier row that stays; ``repeats`` is (N, N) bool."""
    kept = torch.ones(len(repeats), dtype=torch.bool)
    for row in repeats.triu(1).any(1).nonzero()[:, 0].tolist():
        if kept[row]:
            kept[row + 1 :] &= ~repeats[row, row + 1 :]
    return kept
