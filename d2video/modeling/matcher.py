"""Bipartite matching of queries and objects (DETR, sec. 3.1, eq. 1).

Shapes: L: decoder layers, B: images or clips, P: predictions (queries, slots), K: classes, n: objects of an
image, m: predictions of an image whose object is known beforehand.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain, islice

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from d2video.modeling.losses import FOCAL_ALPHA, FOCAL_GAMMA
from d2video.modeling.predictions import Predictions
from d2video.modeling.targets import ImageTargets
from d2video.structures.boxes import box_cxcywh_to_xyxy, generalized_box_iou
from d2video.utils.transfer import to_device


@dataclass
class Matches:
    """Which query of which layer is matched with which target. All (M,) int64, sorted by layer.

    Attributes:
        layer, batch, query: the prediction's place in (L, B, Q).
        target: row in the targets of the whole batch.
        left_over: how many objects of the batch have no query in a layer, for there are more of them.
        rows: the four as rows (4, M) in the host's memory, if they are known there; see :meth:`on_host`.
    """

    layer: Tensor
    batch: Tensor
    query: Tensor
    target: Tensor
    left_over: int = 0
    rows: np.ndarray | None = None

    @classmethod
    def of(cls, rows: np.ndarray, device: torch.device, left_over: int) -> "Matches":
        """From the four rows (4, M) int64 in the host's memory."""
        layer, batch, query, target = to_device(torch.from_numpy(rows), device)
        return cls(layer, batch, query, target, left_over, rows)

    def on_host(self) -> np.ndarray:
        """(4, M) int64: layer, batch, query and target; waits for the device if they are only there."""
        if self.rows is None:
            self.rows = torch.stack([self.layer, self.batch, self.query, self.target]).cpu().numpy()
        return self.rows

    def of_layer(self, layer: int) -> "Matches":
        rows = self.on_host()
        its = slice(*np.searchsorted(rows[0], [layer, layer + 1]))
        places = (self.layer[its], self.batch[its], self.query[its], self.target[its])
        return Matches(*places, self.left_over, rows[:, its])


@dataclass(frozen=True)
class MatchingCost:
    """The weighted sum of the costs of a wrong class and a wrong box, for all pairs of an image.

    Attributes:
        classes, box, overlap: weights of the class term, of the L1 distance of the boxes (sum of the
            four coordinates) and of their negative overlap.
        focal: the class term is the focal loss of "yes" less that of "no" (Deformable DETR), for
            logits without "no object"; otherwise the negative softmax probability (DETR, eq. 1).
        overlap_of: of XYXY boxes paired by broadcasting, (...); the generalised IoU.
    """

    classes: float = 1.0
    box: float = 5.0
    overlap: float = 2.0
    focal: bool = False
    overlap_of: Callable[[Tensor, Tensor], Tensor] = generalized_box_iou

    def __call__(self, predictions: Predictions, target: ImageTargets) -> Tensor:
        """
        Args:
            predictions: of one image: logits (..., P, K) and boxes (..., P, 4).
            target: its objects; ``classes`` (n,) and ``boxes`` (n, 4), or more axes that broadcast
                against those of the predictions.

        Returns:
            (..., P, n) float32.
        """
        class_cost = self._class_cost(predictions.logits.float())
        class_cost = class_cost.gather(-1, target.classes.expand(*class_cost.shape[:-1], -1))
        return self._sum(class_cost, predictions.boxes.float()[..., None, :], target.boxes)

    def of_batch(self, predictions: Predictions, targets: list[ImageTargets]) -> list[Tensor]:
        """The same of B images, logits (L, B, P, K), each with its own objects: B tensors (L, P, n_b).

        All at once: small models would spend more time on the calls than on the numbers.
        """
        counts = [len(target) for target in targets]
        image = torch.from_numpy(np.repeat(np.arange(len(counts)), counts))
        image = to_device(image, predictions.logits.device)
        classes = torch.cat([target.classes for target in targets])
        boxes = torch.cat([target.boxes for target in targets])
        class_cost = self._class_cost(predictions.logits.float()).transpose(1, 2)
        predicted = predictions.boxes.float().transpose(1, 2)[:, :, image]
        cost = self._sum(class_cost[:, :, image, classes], predicted, boxes)
        return list(cost.split(counts, dim=-1))

    def _sum(self, class_cost: Tensor, predicted: Tensor, wanted: Tensor) -> Tensor:
        distance = (predicted - wanted).abs().sum(-1)
        overlap = self.overlap_of(box_cxcywh_to_xyxy(predicted), box_cxcywh_to_xyxy(wanted))
        return self.box * distance + self.classes * class_cost - self.overlap * overlap

    def _class_cost(self, logits: Tensor) -> Tensor:
        if not self.focal:
            return -logits.softmax(-1)
        probability, tiny = logits.sigmoid(), 1e-8  # tiny as in the official code
        yes = -FOCAL_ALPHA * (1 - probability) ** FOCAL_GAMMA * (probability + tiny).log()
        no = -(1 - FOCAL_ALPHA) * probability**FOCAL_GAMMA * (1 - probability + tiny).log()
        return yes - no


# Predictions, targets and known objects, see HungarianMatcher.
ToMatch = tuple[Predictions, list[ImageTargets], Tensor | None]


class HungarianMatcher:
    """The cheapest one-to-one assignment of queries and objects, in every image and decoder layer.

    Args:
        cost: of a query and an object.
    """

    def __init__(self, cost: MatchingCost | None = None):
        self.cost = cost or MatchingCost()

    def __call__(
        self, predictions: Predictions, targets: list[ImageTargets], known: Tensor | None = None
    ) -> Matches:
        """
        Args:
            predictions: of B images.
            targets: B images.
            known: (B, m) int64, for each of the first m queries of an image the row of its object in its
                targets, or a negative number if it has none. They are matched so in every layer, and
                their objects take no part in the assignment.

        Returns:
            the matches in the order of layer, image and query, targets numbered over the batch. Where
            there are more free objects than free queries, every query has one (some official codes
            raise an error).

        Raises:
            FloatingPointError: the prediction of a query without a known object is not finite.
        """
        (matches,) = self.together((predictions, targets, known))
        return matches

    @torch.no_grad()
    def together(self, *batches: ToMatch) -> list[Matches]:
        """Match several batches, the arguments of :meth:`__call__`, by one transfer to the host."""
        costs, givens = [], []
        for predictions, targets, known in batches:
            first = 0 if known is None else known.shape[1]
            free = Predictions(predictions.logits[:, :, first:], predictions.boxes[:, :, first:])
            costs.append(self.cost.of_batch(free, targets))
            if known is None:
                known = torch.full((len(targets), 0), -1, device=free.boxes.device)
            givens.append(known)
        blocks, numbers = costs_on_host([*chain.from_iterable(costs)], givens)
        remaining, matches = iter(blocks), []
        for of_images, given in zip(costs, numbers, strict=True):
            rows, left_over = cheapest([*islice(remaining, len(of_images))], given)
            matches.append(Matches.of(rows, of_images[0].device, left_over))
        return matches


def cheapest(costs: list[np.ndarray], known: np.ndarray) -> tuple[np.ndarray, int]:
    """The cheapest matches for every decoder layer and image.

    Args:
        costs: B arrays (L, P, n_b), of the predictions whose object is to be found.
        known: (B, m) int64, of m predictions that come before those, see :class:`HungarianMatcher`.

    Returns:
        the rows (4, M) of :class:`Matches` of m + P predictions an image, and what is left over.
    """
    starts = np.cumsum([0, *(cost.shape[2] for cost in costs)])
    columns, left_over = [], 0
    for layer in range(len(costs[0])):
        for image, (cost, objects) in enumerate(zip(costs, known, strict=True)):
            [before] = np.nonzero(objects >= 0)
            free = np.delete(np.arange(cost.shape[2]), objects[before])
            found, place = linear_sum_assignment(cost[layer][:, free])
            left_over += len(free) - len(place) if layer == 0 else 0
            query = np.concatenate([before, len(objects) + found])
            target = starts[image] + np.concatenate([objects[before], free[place]])
            columns.append(
                np.stack([np.full_like(query, layer), np.full_like(query, image), query, target])
            )
    return np.concatenate(columns, axis=1), left_over


def costs_on_host(
    costs: list[Tensor], numbers: list[Tensor]
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Cost matrices, and tensors of integers (below 2^24, exact in float32), in one transfer.

    Raises:
        FloatingPointError: a cost is not finite, so the model has diverged.
    """
    given = [*costs, *numbers]
    host = torch.cat([each.detach().float().flatten() for each in given]).cpu()
    if not torch.isfinite(host).all():
        raise FloatingPointError(
            "matching: non-finite cost, so predictions hold NaN or infinity; lower SOLVER.BASE_LR "
            "or the loss weights, or switch SOLVER.AMP.DTYPE to bfloat16"
        )
    parts = host.split([each.numel() for each in given])
    found = [part.view(each.shape).numpy() for part, each in zip(parts, given)]
    return found[: len(costs)], [each.astype(np.int64) for each in found[len(costs) :]]
