"""Whole images by a network that knows patches of one size only: the tiling on tensors.

Shapes: n patches at once, p pixels a side of a patch, s scale, (h,w) an image, (s·h,s·w) its answer.
"""

from collections.abc import Callable, Sequence

import torch
from d2video.projects.ipt.tiling import Tiling, restore_by_patches
from torch import Tensor

from d2video.utils.transfer import to_device


def restore(
    patch_model: Callable[[Tensor], Tensor],
    images: Sequence[Tensor],
    *,
    tiling: Tiling,
    scale: int,
    patches_at_once: int = 16,
) -> list[Tensor]:
    """:func:`.tiling.restore_by_patches` of tensors.

    Args:
        patch_model: float (n,3,p,p) → (n,3,s·p,s·p).
        images: (3,h,w) each, of any sizes, float, on the device of the model.

    Returns:
        float32 (3,s·h,s·w) for each image.
    """
    return restore_by_patches(
        lambda patches: patch_model(torch.stack(patches)),
        images,
        tiling=tiling,
        scale=scale,
        patches_at_once=patches_at_once,
        converted=lambda array: to_device(torch.from_numpy(array), images[0].device),
    )
