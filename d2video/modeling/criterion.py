"""The set-prediction loss of DETR (its paper, eq. 2 and sec. 3.1), over all decoder layers at once.

A criterion is a list of losses, each a callable on an :class:`Assignment`.

Shapes: L: decoder layers, B: batch, Q: queries, K: classes, M: matched (layer, query, target) triples, M':
those of the last layer, G: targets of the whole batch.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from detectron2.utils import comm
from torch import Tensor

from d2video.modeling.losses import ClassLoss, CrossEntropy, dice_loss, mask_loss_sums
from d2video.modeling.matcher import Matches
from d2video.modeling.predictions import Predictions
from d2video.modeling.targets import ImageTargets, shares_of_cells, stack_masks
from d2video.structures.boxes import box_cxcywh_to_xyxy, generalized_box_iou


@dataclass
class Assignment:
    """Predictions of a batch, and the targets that they are compared with.

    Attributes:
        predictions, matches, targets: the last of B images.
        classes: (L, B, Q) int64, the matched target's class, K where there is none.
        query_weights: (L, B, Q), of the queries in the class loss.
        weight_sums: (L,), their sums, averaged over the processes.
        num_targets: scalar, G averaged over the processes, of which together there is at least 1.
    """

    predictions: Predictions
    matches: Matches
    targets: list[ImageTargets]
    classes: Tensor
    query_weights: Tensor
    weight_sums: Tensor
    num_targets: Tensor


class SetLoss(Protocol):
    """One or more terms of the loss."""

    def __call__(self, assignment: Assignment) -> dict[str, Tensor]:
        """Weighted terms by name: (L,) of all decoder layers, or a scalar of the last one."""


def _weighted(**terms: tuple[float, Tensor]) -> dict[str, Tensor]:
    """Terms times their factors, without those whose factor is 0."""
    return {name: loss * factor for name, (factor, loss) in terms.items() if factor}


class ClassificationLoss:
    """ "loss_ce": the class loss of all queries, those without an object included."""

    def __init__(self, class_loss: ClassLoss, weight: float = 1.0):
        self.class_loss = class_loss
        self.weight = weight

    def __call__(self, assignment: Assignment) -> dict[str, Tensor]:
        loss = self.class_loss(assignment.predictions.logits, assignment.classes)
        sums = (loss * assignment.query_weights).flatten(1).sum(1)
        mean = self.class_loss.weighted_mean
        divisor = assignment.weight_sums if mean else assignment.num_targets
        return {"loss_ce": sums / divisor * self.weight}


class BoxLoss:
    """ "loss_bbox" (L1) and "loss_giou" of the matched queries.

    Args:
        l1_weight, giou_weight: factors; 0 leaves a term out.
        giou_eps: see :func:`d2video.structures.boxes.generalized_box_iou` (VisTR 1e-6, DETR 0).
    """

    def __init__(self, l1_weight: float = 5.0, giou_weight: float = 2.0, giou_eps: float = 0.0):
        self.l1_weight = l1_weight
        self.giou_weight = giou_weight
        self.giou_eps = giou_eps

    def __call__(self, assignment: Assignment) -> dict[str, Tensor]:
        matches, boxes = assignment.matches, assignment.predictions.boxes
        source = boxes[matches.layer, matches.batch, matches.query].float()
        target = torch.cat([image.boxes for image in assignment.targets])[matches.target]
        l1 = (source - target).abs().sum(-1)
        giou = 1 - generalized_box_iou(
            box_cxcywh_to_xyxy(source), box_cxcywh_to_xyxy(target), self.giou_eps
        )
        sums = torch.zeros(len(boxes), 2, device=boxes.device)
        sums = sums.index_add(0, matches.layer, torch.stack([l1, giou], dim=1))
        means = sums / assignment.num_targets
        return _weighted(
            loss_bbox=(self.l1_weight, means[:, 0]), loss_giou=(self.giou_weight, means[:, 1])
        )


class MaskLoss:
    """ "loss_mask" (focal) and "loss_dice" of the last layer's matched queries; nothing of
    predictions without masks.

    Args:
        focal_weight, dice_weight: factors; 0 leaves a term out.
    """

    def __init__(self, focal_weight: float = 1.0, dice_weight: float = 1.0):
        self.focal_weight = focal_weight
        self.dice_weight = dice_weight

    def __call__(self, assignment: Assignment) -> dict[str, Tensor]:
        predictions = assignment.predictions
        if predictions.masks is None:
            return {}
        last = assignment.matches.of_layer(len(predictions.logits) - 1)
        _, batch, query, _ = torch.from_numpy(last.on_host())
        if not len(query):  # one runs all the same, so that every parameter has a gradient
            batch = query = query.new_zeros(1)
        logits = predictions.masks(batch, query)[: len(last.query)]
        wanted = stack_masks(assignment.targets)[last.target]
        focal, dice = mask_loss_sums(logits, wanted)
        return _weighted(
            loss_mask=(self.focal_weight, focal / assignment.num_targets),
            loss_dice=(self.dice_weight, dice / assignment.num_targets),
        )


class QueryMaskLoss:
    """ "loss_query_mask" (binary cross-entropy, the mean over the cells) and "loss_query_dice" of the
    coarse masks of matched queries in every layer; nothing of predictions without such masks.

    Args:
        mask_weight, dice_weight: factors.
    """

    def __init__(self, mask_weight: float = 2.0, dice_weight: float = 2.0):
        self.mask_weight = mask_weight
        self.dice_weight = dice_weight

    def __call__(self, assignment: Assignment) -> dict[str, Tensor]:
        masks, matches = assignment.predictions.coarse_masks, assignment.matches
        if masks is None:
            return {}
        logits = masks[matches.layer, matches.batch, matches.query].flatten(1).float()
        shares = shares_of_cells(stack_masks(assignment.targets), masks)[matches.target].flatten(1)
        entropy = F.binary_cross_entropy_with_logits(logits, shares, reduction="none").mean(1)
        losses = torch.stack([entropy, dice_loss(logits, shares)], dim=1)
        sums = losses.new_zeros(len(masks), 2).index_add(0, matches.layer, losses)
        means = sums / assignment.num_targets
        return {
            "loss_query_mask": means[:, 0] * self.mask_weight,
            "loss_query_dice": means[:, 1] * self.dice_weight,
        }


class SetCriterion:
    """A list of losses of the matched queries, and of all others as "no object".

    Sums are divided by the number of targets (and a class loss that is a mean by the sum of its
    weights) averaged over the processes, so that N processes train exactly like one with an N times
    larger batch.

    Args:
        num_classes: K; index K is "no object".
        class_loss: how class logits are read; ``CrossEntropy()`` if None.
        losses: in the order in which they are computed; those of DETR with its weights if None.
    """

    def __init__(
        self,
        num_classes: int,
        class_loss: ClassLoss | None = None,
        losses: Sequence[SetLoss] | None = None,
    ):
        self.num_classes = num_classes
        self.class_loss: ClassLoss = class_loss or CrossEntropy()
        self.losses = losses or [ClassificationLoss(self.class_loss), BoxLoss(), MaskLoss()]

    def __call__(
        self,
        predictions: Predictions,
        matches: Matches,
        targets: list[ImageTargets],
        no_object_weights: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """
        Args:
            predictions: of B images.
            matches: M matched queries, targets numbered over the batch.
            targets: B images.
            no_object_weights: (B, Q) float32, the weight of each query in the class loss where it
                has no object, 0 for one that only pads the batch; the class loss's own if None.

        Returns:
            the weighted losses: the names that the losses give for the last layer, and the same
            with "_0", "_1"… for the earlier ones.
        """
        assignment = self.assign(predictions, matches, targets, no_object_weights)
        terms: dict[str, Tensor] = {}
        for loss in self.losses:
            terms |= loss(assignment)
        layered = {name: value for name, value in terms.items() if value.dim()}
        earlier = range(len(predictions.logits) - 1)
        named = {f"{name}_{i}": value[i] for i in earlier for name, value in layered.items()}
        return named | terms | {name: value[-1] for name, value in layered.items()}

    def assign(
        self,
        predictions: Predictions,
        matches: Matches,
        targets: list[ImageTargets],
        no_object_weights: Tensor | None = None,
    ) -> Assignment:
        """What the losses have in common; for the arguments see :meth:`__call__`."""
        logits = predictions.logits
        device = logits.device
        classes = torch.full(logits.shape[:-1], self.num_classes, device=device)
        target_classes = torch.cat([target.classes for target in targets])
        classes[matches.layer, matches.batch, matches.query] = target_classes[matches.target]
        if no_object_weights is None:
            no_object_weights = torch.full((), self.class_loss.no_object_weight, device=device)
        query_weights = torch.where(classes == self.num_classes, no_object_weights, 1.0)
        # Float32 whatever the logits are: bfloat16 has no 1043.
        count = torch.full((1,), float(len(target_classes)), device=device)
        sums = average_over_processes(torch.cat([query_weights.flatten(1).sum(1), count]))
        # At least 1 of all processes together: official DETR takes 1 a process, and then learns less
        # from few objects the more processes there are.
        num_targets = sums[-1].clamp(min=1 / comm.get_world_size())
        return Assignment(
            predictions, matches, targets, classes, query_weights, sums[:-1], num_targets
        )


@torch.no_grad()
def matching_metrics(
    logits: Tensor,
    matches: Matches,
    target_classes: Tensor,
    class_loss: ClassLoss,
    padding: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """What the official code logs besides its losses, for the last layer.

    Args:
        logits: (B, Q, K + 1), or (B, Q, K), of the last layer.
        matches: of the last layer.
        target_classes: (G,).
        class_loss: how logits are read.
        padding: (B, Q) bool, True for queries that only pad the batch.

    Returns:
        class_error, in percent of the matched queries (100 if there are none), and the number of
        queries of each image that do not say "no object" (B,) float32.
    """
    says_object = class_loss.says_object(logits)
    if padding is not None:
        says_object = says_object & ~padding
    objects = says_object.sum(1).float()
    if len(matches.query) == 0:
        return logits.new_tensor(100.0), objects
    predicted = logits[matches.batch, matches.query].argmax(-1)
    right = predicted == target_classes[matches.target]
    return 100 * (1 - right.float().mean()), objects


def average_over_processes(values: Tensor) -> Tensor:
    """The mean of a small tensor over all processes; itself where there is one."""
    if comm.get_world_size() > 1:
        torch.distributed.all_reduce(values)
        values = values / comm.get_world_size()
    return values
