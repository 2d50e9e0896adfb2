"""What the mask losses compare: masks of matched queries and of their targets.

Shapes: B: batch, G: targets of the whole batch, M': those matched in the last layer, H×W: the padded
canvas.
"""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from d2video.modeling.criterion import Matches


def matched_target_masks(
    masks: Sequence[Tensor | None], matches: Matches, canvas: tuple[int, int]
) -> Tensor:
    """Masks of the matched targets on the padded canvas, False where padded.

    Args:
        masks: B tensors (G_b, h_b, w_b), or (G_b, T, h_b, w_b) where each frame of an object is a
            target of its own, bool, numbered over the batch as ``matches.target`` is.
        matches: of the last layer.
        canvas: (H, W).

    Returns:
        (M', H, W) bool, in the order of ``matches``.
    """
    padded = []
    for mask in masks:
        assert mask is not None
        height, width = mask.shape[-2:]
        padded.append(F.pad(mask.flatten(0, -3), (0, canvas[1] - width, 0, canvas[0] - height)))
    return torch.cat(padded)[matches.target]


def run_branch(branch: Callable[[Tensor, Tensor], Tensor], batch: Tensor, rows: Tensor) -> Tensor:
    """A network branch on some queries; without any, one query (0 of image 0) runs through it all the
    same, so that in training every parameter has a gradient.

    Args:
        branch: called as ``branch(batch, rows)``; returns (n, ...).
        batch, rows: (n,) int64, where the queries are.

    Returns:
        (n, ...), empty for n = 0.
    """
    count = len(rows)
    if count == 0:
        batch = rows = rows.new_zeros(1)
    return branch(batch, rows)[:count]
