"""A frame's features merged with those of the frame before it: TrackFormer's ``merge_frame_features``.

Shapes: B: images, C: width, H_l×W_l: grid of level l.
"""

import torch
from torch import Tensor, nn

from d2video.layers.level_projections import LevelProjections


class FrameMerging(nn.ModuleList):
    """A 1×1 convolution for each level, over the projected channels of two frames.

    As in the official code, levels that are made from other levels (all beyond the first strided
    convolution) come from the merged ones, and their own convolutions are not used.

    Args:
        num_levels: L.
        num_maps: feature maps of the backbone.
        width: C.
    """

    def __init__(self, num_levels: int, num_maps: int, width: int):
        super().__init__(nn.Conv2d(2 * width, width, 1) for _ in range(num_levels))
        self.num_merged = num_maps + 1
        for unused in list(self)[self.num_merged :]:
            unused.requires_grad_(False)

    def forward(
        self, frame: list[Tensor], earlier: list[Tensor], projections: LevelProjections
    ) -> list[Tensor]:
        """
        Args:
            frame, earlier: projected levels [(B, C, H_l, W_l)], fine to coarse.
            projections: what projected them.

        Returns:
            the merged levels, as large.
        """
        merged: list[Tensor] = []
        for merge, projection, *levels in zip(self, projections, frame, earlier):
            if len(merged) < self.num_merged:
                merged.append(merge(torch.cat(levels, dim=1)))
            else:
                merged.append(projection(merged[-1]))
        return merged
