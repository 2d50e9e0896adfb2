"""Clips of different sizes in one tensor.

Shapes: B clips, T frames, C channels, H×W the canvas (the largest height and width in the batch).
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def pad_clips(clips: list[Tensor]) -> tuple[Tensor, Tensor | None]:
    """Put clips into one tensor, padded with 0 at the bottom and on the right.

    Args:
        clips: B tensors (T, C, h_i, w_i), already normalised, all with the same T.

    Returns:
        frames (B, T, C, H, W) and padding (B, H, W), bool, True where a pixel is padding, None if all
        clips have one size. A clip has one size, so that one mask serves all its frames.
    """
    if len({clip.shape for clip in clips}) == 1:
        return torch.stack(clips), None
    height = max(clip.shape[-2] for clip in clips)
    width = max(clip.shape[-1] for clip in clips)
    padding = torch.ones(len(clips), height, width, dtype=torch.bool, device=clips[0].device)
    padded = []
    for clip, mask in zip(clips, padding):
        h, w = clip.shape[-2:]
        mask[:h, :w] = False
        padded.append(F.pad(clip, (0, width - w, 0, height - h)))
    return torch.stack(padded), padding


def resize_padding(padding: Tensor, features: Tensor) -> Tensor:
    """The padding mask (N, H, W) at the size of features (..., h, w), by nearest sampling: (N, h, w).

    A feature is padding where the pixel at (floor(i·H/h), floor(j·W/w)) is; this is the official
    rule of DETR and VisTR. On a canvas that is not a multiple of the stride it differs from rounding
    the valid size up.
    """
    return F.interpolate(padding[:, None].float(), size=features.shape[-2:]).bool()[:, 0]


def resize_paddings(padding: Tensor | None, levels: list[Tensor]) -> list[Tensor] | None:
    """:func:`resize_padding` for each of several levels; None remains None."""
    return None if padding is None else [resize_padding(padding, level) for level in levels]
