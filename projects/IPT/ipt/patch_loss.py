"""Losses between restored and clean patches.

Shapes: B patches, H x W pixels of an answer.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

# Added to the mean squared error of a patch, in squared grey levels: as much as that of a patch at
# 38 dB. Without it patches of one colour, which are restored almost exactly, would lead the training.
_SOFTENING = 10.0


def psnr_loss(output: Tensor, target: Tensor) -> Tensor:
    """Minus the mean PSNR of the patches, in dB, plus 10 log10(255²) (Chen et al., HINet, 2021).

    Args:
        output, target: float (B, 3, H, W), 0..255.

    Returns:
        a scalar, 10 or more.
    """
    error = (output - target).square().mean((1, 2, 3))
    return 10 * torch.log10(error + _SOFTENING).mean()


PATCH_LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "l1": F.l1_loss,
    "psnr": psnr_loss,
}
