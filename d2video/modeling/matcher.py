"""Bipartite matching between predictions and objects.

Shapes: L: decoder layers, B: clips or images, P: predictions (slots, queries), K: classes, n_b: objects
of clip b, m: predictions of a clip whose object is known beforehand.
"""

from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from d2video.modeling.criterion import Matches
from d2video.structures.boxes import box_cxcywh_to_xyxy, generalized_box_iou


@dataclass(frozen=True)
class MatchingCost:
    """The weighted sum of what a wrong class and a wrong box cost, for all pairs of an image.

    Attributes:
        classes, box, giou: weights of the class term, of the L1 distance of the boxes (sum of the
            four coordinates) and of their negative generalised IoU.
        focal: the class term is the focal loss of "yes" less that of "no" (Deformable DETR), for
            logits without "no object"; otherwise the negative softmax probability (DETR, eq. 1).
        alpha, gamma: of the focal loss.
    """

    classes: float = 1.0
    box: float = 5.0
    giou: float = 2.0
    focal: bool = False
    alpha: float = 0.25
    gamma: float = 2.0

    def __call__(
        self, logits: Tensor, boxes: Tensor, target_classes: Tensor, target_boxes: Tensor
    ) -> Tensor:
        """
        Args:
            logits: (..., P, K), or (..., P, K + 1) where not focal.
            boxes: (..., P, 4), cxcywh.
            target_classes: (n,) int64 in [0, K).
            target_boxes: (n, 4), cxcywh.

        Returns:
            (..., P, n) float32.
        """
        class_cost = self._class_cost(logits.float())[..., target_classes]
        predicted, wanted = boxes.float()[..., None, :], target_boxes
        distance = (predicted - wanted).abs().sum(-1)
        giou = generalized_box_iou(box_cxcywh_to_xyxy(predicted), box_cxcywh_to_xyxy(wanted))
        return self.box * distance + self.classes * class_cost - self.giou * giou

    def _class_cost(self, logits: Tensor) -> Tensor:
        if not self.focal:
            return -logits.softmax(-1)
        probability, tiny = logits.sigmoid(), 1e-8  # tiny as in the official code
        yes = -self.alpha * (1 - probability) ** self.gamma * (probability + tiny).log()
        no = -(1 - self.alpha) * probability**self.gamma * (1 - probability + tiny).log()
        return yes - no


def solve_assignments(costs: list[Tensor]) -> list[list[tuple[Tensor, Tensor]]]:
    """The cheapest one-to-one assignment for every decoder layer and clip.

    All cost matrices travel to the host in one transfer.

    Args:
        costs: B tensors (L, P, n_b).

    Returns:
        [L][B] pairs (prediction indices, object indices), int64 on the device of the costs, sorted
        by prediction, each of length min(P, n_b).

    Raises:
        FloatingPointError: a cost is not finite, so the model has diverged.
    """
    device = costs[0].device
    blocks, _ = _to_host(costs)
    pairs = [
        [linear_sum_assignment(block[layer]) for block in blocks] for layer in range(len(costs[0]))
    ]
    return [
        [tuple(torch.as_tensor(index, device=device) for index in pair) for pair in layer]  # type: ignore[misc]
        for layer in pairs
    ]


def solve_matches(costs: list[Tensor], known: Tensor | None = None) -> Matches:
    """The cheapest matches for every decoder layer and clip, in one transfer to the host and one back.

    Where a clip has more free objects than free predictions, every prediction has one.

    Args:
        costs: B tensors (L, P, n_b), of the predictions whose object is to be found.
        known: (B, m) int64, for each of m predictions that come before those its object, or a
            negative number if it has none. They are matched so in every layer, and their objects
            take no part in the assignment.

    Returns:
        the matches, of m + P predictions a clip, in the order of layer, clip and prediction; targets
        are numbered over the batch.

    Raises:
        FloatingPointError: a cost is not finite, so the model has diverged.
    """
    device = costs[0].device
    if known is None:
        known = torch.full((len(costs), 0), -1, device=device)
    blocks, given = _to_host(costs, known)
    starts = np.cumsum([0, *(block.shape[2] for block in blocks)])
    columns = []
    for layer in range(len(costs[0])):
        for clip, (block, objects) in enumerate(zip(blocks, given, strict=True)):
            [before] = np.nonzero(objects >= 0)
            free = np.setdiff1d(np.arange(block.shape[2]), objects)
            found, place = linear_sum_assignment(block[layer][:, free])
            query = np.concatenate([before, len(objects) + found])
            target = starts[clip] + np.concatenate([objects[before], free[place]])
            columns.append(
                np.stack([np.full_like(query, layer), np.full_like(query, clip), query, target])
            )
    return Matches(*torch.from_numpy(np.concatenate(columns, axis=1)).to(device))


def _to_host(
    costs: list[Tensor], indices: Tensor | None = None
) -> tuple[list[np.ndarray], np.ndarray]:
    """Finite cost matrices and an integer tensor (below 2^24, exact in float32) as one transfer."""
    if indices is None:
        indices = torch.zeros(0, dtype=torch.int64, device=costs[0].device)
    parts = [*(cost.detach().float().flatten() for cost in costs), indices.float().flatten()]
    host = torch.cat(parts).cpu()
    if not torch.isfinite(host).all():
        raise FloatingPointError(
            "matching: non-finite cost, so predictions hold NaN or infinity; lower SOLVER.BASE_LR "
            "or the loss weights, or switch SOLVER.AMP.DTYPE to bfloat16"
        )
    *flat, numbers = host.split([len(part) for part in parts])
    blocks = [block.view(cost.shape).numpy() for block, cost in zip(flat, costs)]
    return blocks, numbers.view(indices.shape).long().numpy()
