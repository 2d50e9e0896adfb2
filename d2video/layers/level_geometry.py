"""Positions of the tokens of several feature maps in their image.

Shapes: B: images, L: levels, S: tokens of all levels, C: width, H_l×W_l: grid of level l.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from d2video.layers.ms_deform_attn import LevelSizes


@dataclass
class LevelGeometry:
    """Where the tokens of a frame lie.

    Attributes:
        sizes: (H_l, W_l) of the L levels.
        padding: (B, S) bool, or None where nothing is padded.
        valid: (B or 1, L, 2), the part of each level's width and height that is image.
        centres: (B or 1, S, 2), x and y of each token's cell; the image's own corners are 0 and 1.
    """

    sizes: LevelSizes
    padding: Tensor | None
    valid: Tensor
    centres: Tensor

    @classmethod
    def of(cls, levels: list[Tensor], paddings: list[Tensor] | None) -> "LevelGeometry":
        """From the maps (B, C, H_l, W_l) and their padding [(B, H_l, W_l) bool] or None."""
        device = levels[0].device
        sizes = [(level.shape[-2], level.shape[-1]) for level in levels]
        if paddings is None:
            valid = torch.ones(1, len(levels), 2, device=device)
        else:
            # Padding lies below and to the right, so that the first column and row tell the extent.
            ratios = [
                torch.stack([(~p[:, 0]).float().mean(1), (~p[:, :, 0]).float().mean(1)], dim=-1)
                for p in paddings
            ]
            valid = torch.stack(ratios, dim=1)
        centres = []
        for level, (height, width) in enumerate(sizes):
            y = (torch.arange(height, device=device) + 0.5) / height
            x = (torch.arange(width, device=device) + 0.5) / width
            grid = torch.stack(torch.meshgrid(y, x, indexing="ij")[::-1], dim=-1).flatten(0, 1)
            centres.append(grid / valid[:, level, None])
        padding = None if paddings is None else torch.cat([p.flatten(1) for p in paddings], dim=1)
        return cls(sizes, padding, valid, torch.cat(centres, dim=1))

    def of_tokens(self, rows: Tensor) -> Tensor:
        """A row for each level (..., L, C) to one for each token (..., S, C)."""
        lengths = [height * width for height, width in self.sizes]
        repeated = [
            row[..., None, :].expand(*row.shape[:-1], length, -1)
            for row, length in zip(rows.unbind(-2), lengths)
        ]
        return torch.cat(repeated, dim=-2)
