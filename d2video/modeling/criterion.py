"""The set-prediction loss of DETR (its paper, eq. 2 and sec. 3.1), over all decoder layers at once.

Shapes: L: decoder layers, B: batch, Q: queries, K: classes, M: matched (layer, query, target)
triples, M': those of the last layer, G: targets of the whole batch, H×W: size of the target masks.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from detectron2.utils import comm
from torch import Tensor, nn

from d2video.modeling.losses import ClassLoss, CrossEntropy, dice_loss, sigmoid_focal_loss
from d2video.structures.boxes import box_cxcywh_to_xyxy, generalized_box_iou


@dataclass
class Matches:
    """Which query of which layer answers for which target. All (M,) int64, sorted by layer.

    Attributes:
        layer, batch, query: the prediction's place in (L, B, Q).
        target: row in the targets of the whole batch.
    """

    layer: Tensor
    batch: Tensor
    query: Tensor
    target: Tensor

    def of_layer(self, layer: int) -> "Matches":
        keep = self.layer == layer
        return Matches(self.layer[keep], self.batch[keep], self.query[keep], self.target[keep])


@dataclass
class LossWeights:
    """Factors of the loss terms; the defaults are VisTR's and DETR's detection weights."""

    classes: float = 1.0
    box: float = 5.0
    giou: float = 2.0
    mask: float = 1.0
    dice: float = 1.0


class SetCriterion(nn.Module):
    """Classification, box and mask losses of matched queries, no-object loss of all others.

    Sums are divided by ``num_targets`` (and a class loss that is a mean by the sum of its weights)
    averaged over the processes, so that N processes train exactly like one with an N times larger
    batch.

    Args:
        num_classes: K; index K is "no object".
        no_object_weight: weight of no-object queries in the cross-entropy (official 0.1).
        weights: factors of the terms.
        giou_eps: see :func:`d2video.structures.boxes.generalized_box_iou` (VisTR 1e-6, DETR 0).
        class_loss: in place of ``CrossEntropy(no_object_weight)``, for instance ``Focal()``.
    """

    def __init__(
        self,
        num_classes: int,
        *,
        no_object_weight: float = 0.1,
        weights: LossWeights | None = None,
        giou_eps: float = 0.0,
        class_loss: ClassLoss | None = None,
    ):
        super().__init__()
        self.num_classes = num_classes
        self.weights = weights or LossWeights()
        self.giou_eps = giou_eps
        self.class_loss: ClassLoss = class_loss or CrossEntropy(no_object_weight)

    def forward(
        self,
        logits: Tensor,
        boxes: Tensor,
        matches: Matches,
        target_classes: Tensor,
        target_boxes: Tensor,
        num_targets: int,
        no_object_weights: Tensor | None = None,
    ) -> tuple[dict[str, Tensor], Tensor]:
        """Weighted class and box losses of every layer.

        Args:
            logits: (L, B, Q, K + 1), or (L, B, Q, K) for a class loss without "no object".
            boxes: (L, B, Q, 4), cxcywh in [0, 1].
            matches: M matched queries.
            target_classes: (G,) int64 in [0, K).
            target_boxes: (G, 4), cxcywh in [0, 1].
            num_targets: what box losses are divided by: the objects of the batch on this process.
            no_object_weights: (B, Q) float32, the weight of each query in the class loss where it
                has no object, 0 for one that only pads the batch; the class loss's own if None.

        Returns:
            "loss_ce", "loss_bbox", "loss_giou" of the last layer, and the same with "_0", "_1"… for
            the earlier ones; and what they were divided by, a scalar for :meth:`mask_losses`:
            ``num_targets`` averaged over the processes, of which together there is at least 1.
        """
        at = (matches.layer, matches.batch, matches.query)
        classes = torch.full(logits.shape[:-1], self.num_classes, device=logits.device)
        classes[at] = target_classes[matches.target]
        no_object = self.class_loss.no_object_weight
        if no_object_weights is None:
            no_object_weights = torch.full((), no_object, device=logits.device)
        query_weights = torch.where(classes == self.num_classes, no_object_weights, 1.0)
        class_sums = (self.class_loss(logits, classes) * query_weights).flatten(1).sum(1)

        num_layers = len(logits)
        # Float32 whatever the logits are: bfloat16 has no 1043.
        count = torch.tensor([num_targets], dtype=torch.float32, device=logits.device)
        normalisers = torch.cat([query_weights.flatten(1).sum(1), count])
        normalisers = average_over_processes(normalisers)
        # Of all processes together: official DETR takes 1 a process, and then learns less from few
        # objects the more processes there are.
        divisor = normalisers[-1].clamp(min=1 / comm.get_world_size())

        source, target = boxes[at].float(), target_boxes[matches.target]
        l1 = (source - target).abs().sum(-1)
        giou = 1 - generalized_box_iou(
            box_cxcywh_to_xyxy(source), box_cxcywh_to_xyxy(target), self.giou_eps
        )
        per_layer = torch.zeros(num_layers, 2, device=logits.device)
        per_layer = per_layer.index_add(0, matches.layer, torch.stack([l1, giou], dim=1))
        per_layer = per_layer / divisor

        ce = class_sums / (normalisers[:-1] if self.class_loss.weighted_mean else divisor)
        losses = {}
        for layer in range(num_layers):
            suffix = "" if layer == num_layers - 1 else f"_{layer}"
            losses[f"loss_ce{suffix}"] = ce[layer] * self.weights.classes
            losses[f"loss_bbox{suffix}"] = per_layer[layer, 0] * self.weights.box
            losses[f"loss_giou{suffix}"] = per_layer[layer, 1] * self.weights.giou
        return losses, divisor

    def mask_losses(
        self, mask_logits: Tensor, target_masks: Tensor, divisor: Tensor
    ) -> dict[str, Tensor]:
        """Weighted mask losses of the last layer.

        Args:
            mask_logits: (M', h, w), the masks of the matched queries at the head's resolution.
            target_masks: (M', H, W), bool or 0/1, at the (padded) input's resolution.
            divisor: scalar, from :meth:`forward`.

        Returns:
            "loss_mask" (focal) and "loss_dice".
        """
        upsampled = F.interpolate(
            mask_logits[:, None].float(), size=target_masks.shape[-2:], mode="bilinear"
        )
        flat, target = upsampled.flatten(1), target_masks.flatten(1).to(upsampled.dtype)
        focal = sigmoid_focal_loss(flat, target).mean(1).sum()
        return {
            "loss_mask": focal / divisor * self.weights.mask,
            "loss_dice": dice_loss(flat, target).sum() / divisor * self.weights.dice,
        }


@torch.no_grad()
def matching_metrics(
    logits: Tensor,
    matches: Matches,
    target_classes: Tensor,
    class_loss: ClassLoss | None = None,
    padding: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """What the official code logs besides its losses, for the last layer.

    Args:
        logits: (B, Q, K + 1), or (B, Q, K), of the last layer.
        matches: of the last layer.
        target_classes: (G,).
        class_loss: how logits are read; cross-entropy if None.
        padding: (B, Q) bool, True for queries that only pad the batch.

    Returns:
        class_error, in percent of the matched queries (100 if there are none), and the number of
        queries of each image that do not say "no object" (B,) float32.
    """
    says_object = (class_loss or CrossEntropy()).says_object(logits)
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
