"""Mask losses.

Shapes: M: masks, P: pixels.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def sigmoid_focal_loss(
    logits: Tensor, targets: Tensor, alpha: float = 0.25, gamma: float = 2.0
) -> Tensor:
    """Focal loss (Lin et al., 2017, eq. 5), element-wise.

    Args:
        logits: any shape.
        targets: same shape, 0 or 1.
        alpha: weight of the positives; 1 - alpha of the negatives.
        gamma: exponent that fades out easy pixels.
    """
    cross_entropy = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    # exp(-cross_entropy) is the probability of the right answer, without a second sigmoid.
    modulation = (1 - torch.exp(-cross_entropy)) ** gamma
    return cross_entropy * modulation * torch.where(targets > 0, alpha, 1 - alpha)


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
