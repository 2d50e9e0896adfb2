"""Class and mask losses of set prediction.

Shapes: Q: queries, K: classes, M: masks, P: pixels.
"""

from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
import torch.utils.checkpoint
from torch import Tensor

# Of the focal loss: the weight of the positives (1 - alpha of the negatives), and the exponent that fades
# out easy pixels or classes.
FOCAL_ALPHA, FOCAL_GAMMA = 0.25, 2.0


def sigmoid_focal_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Focal loss (Lin et al., 2017, eq. 5), element-wise.

    Args:
        logits: any shape.
        targets: same shape, 0 or 1.
    """
    cross_entropy = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    # exp(-cross_entropy) is the probability of the right answer, without a second sigmoid.
    modulation = (1 - torch.exp(-cross_entropy)) ** FOCAL_GAMMA
    return cross_entropy * modulation * torch.where(targets > 0, FOCAL_ALPHA, 1 - FOCAL_ALPHA)


def dice_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """1 - Dice coefficient with 1 added above and below (Milletari et al., 2016).

    Args:
        logits: (M, P).
        targets: (M, P), 0 or 1.

    Returns:
        (M,) in [0, 1).
    """
    probability = logits.sigmoid()
    overlap = 2 * (probability * targets).sum(1)
    return 1 - (overlap + 1) / (probability.sum(1) + targets.sum(1) + 1)


def mask_loss_sums(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Focal loss (mean over pixels) and Dice loss, summed over the masks.

    The backward pass computes them again: they keep eight tensors of the targets' size otherwise, 0.9 GB for
    5 instances in 36 frames of 300×540.

    Args:
        logits: (M, h, w), at the head's resolution; they are upsampled to the targets'.
        targets: (M, H, W), bool or 0/1, at the (padded) input's resolution.

    Returns:
        two scalars, float32.
    """
    return torch.utils.checkpoint.checkpoint(
        _mask_loss_sums, logits, targets, use_reentrant=False, preserve_rng_state=False
    )


def _mask_loss_sums(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    size = (targets.shape[-2], targets.shape[-1])
    upsampled = F.interpolate(logits[:, None].float(), size=size, mode="bilinear")
    flat, wanted = upsampled.flatten(1), targets.flatten(1).to(upsampled.dtype)
    return sigmoid_focal_loss(flat, wanted).mean(1).sum(), dice_loss(flat, wanted).sum()


class ClassLoss(Protocol):
    """How the class logits of a query are read and judged.

    Attributes:
        no_object_weight: weight of a query without an object; one with an object has 1.
        weighted_mean: the loss is the mean over the queries, by their weights; otherwise their
            weighted sum is divided by the number of objects.
    """

    @property
    def no_object_weight(self) -> float: ...

    @property
    def weighted_mean(self) -> bool: ...

    def __call__(self, logits: Tensor, classes: Tensor) -> Tensor:
        """
        Args:
            logits: (..., Q, K) or (..., Q, K + 1), see the class.
            classes: (..., Q) int64 in [0, K], K for "no object".

        Returns:
            (..., Q) float32, not weighted.
        """

    def says_object(self, logits: Tensor) -> Tensor:
        """(..., Q) bool: whether the most likely answer of each query is an object."""

    def probabilities(self, logits: Tensor) -> Tensor:
        """(..., Q, K) float32 in [0, 1], of the classes."""


@dataclass(frozen=True)
class CrossEntropy:
    """K + 1 logits, the last for "no object" (DETR, sec. 3.1)."""

    no_object_weight: float = 0.1
    weighted_mean: bool = True

    def __call__(self, logits: Tensor, classes: Tensor) -> Tensor:
        flat = F.cross_entropy(logits.float().flatten(0, -2), classes.flatten(), reduction="none")
        return flat.view(classes.shape)

    def says_object(self, logits: Tensor) -> Tensor:
        return logits.argmax(-1) != logits.shape[-1] - 1

    def probabilities(self, logits: Tensor) -> Tensor:
        return logits.float().softmax(-1)[..., :-1]


@dataclass(frozen=True)
class Focal:
    """K logits, each a binary question; none is true of a query without an object
    (Deformable DETR, sec. A.4)."""

    no_object_weight: float = 1.0
    weighted_mean: bool = False

    def __call__(self, logits: Tensor, classes: Tensor) -> Tensor:
        answers = classes[..., None] == torch.arange(logits.shape[-1], device=logits.device)
        logits = logits.float()
        return sigmoid_focal_loss(logits, answers.to(logits.dtype)).sum(-1)

    def says_object(self, logits: Tensor) -> Tensor:
        return (logits > 0).any(-1)

    def probabilities(self, logits: Tensor) -> Tensor:
        return logits.float().sigmoid()
