"""Bipartite matching with track queries (TrackFormer, sec. 3.3).

Shapes: L: decoder layers, B: images, n: track queries, Q: object queries, K: classes, G: objects of an image.
"""

import torch
from d2video.projects.trackformer.training.targets import FrameTargets
from torch import Tensor

from d2video.modeling.criterion import Matches
from d2video.modeling.matcher import MatchingCost, solve_matches


class TrackMatcher:
    """A track query answers for its own object; the others are divided among the object queries.

    Args:
        class_cost, box_cost, giou_cost, focal: see :class:`d2video.modeling.matcher.MatchingCost`.
    """

    def __init__(
        self,
        class_cost: float = 2.0,
        box_cost: float = 5.0,
        giou_cost: float = 2.0,
        *,
        focal: bool = True,
    ):
        self.cost = MatchingCost(class_cost, box_cost, giou_cost, focal=focal)

    @torch.no_grad()
    def __call__(
        self,
        logits: Tensor,
        boxes: Tensor,
        targets: list[FrameTargets],
        track_rows: Tensor | None = None,
    ) -> Matches:
        """
        Args:
            logits: (L, B, n + Q, K), or (L, B, n + Q, K + 1) where not focal; track queries first.
            boxes: (L, B, n + Q, 4), cxcywh.
            targets: B frames.
            track_rows: (B, n) int64, the row in its frame's targets of each track query's object,
                negative (``NO_OBJECT``, ``PADDED``) for one that is not matched; None if n = 0.

        Returns:
            the matched (layer, image, query, target), targets numbered over the batch. Where there
            are more free objects than object queries, every object query has one (the official
            code raises an error).

        Raises:
            FloatingPointError: the prediction of an object query is not finite.
        """
        first = 0 if track_rows is None else track_rows.shape[1]
        costs = [
            self.cost(logits[:, b, first:], boxes[:, b, first:], target.classes, target.boxes)
            for b, target in enumerate(targets)
        ]
        return solve_matches(costs, track_rows)
