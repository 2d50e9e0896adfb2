"""Feature maps of a backbone as levels of one width (Zhu et al., Deformable DETR, ICLR 2021, A.2).

Shapes: B: images, C: width, c_i×H_i×W_i: feature map i, H_l×W_l: grid of level l.
"""

from torch import Tensor, nn

from d2video.layers.group_norm import GroupNorm

NORM_GROUPS = 32  # of the norms of the levels: the width is divisible by it


class LevelProjections(nn.ModuleList):
    """1×1 convolutions of the feature maps, strided 3×3 ones for more levels, each with a norm.

    Args:
        in_channels: of the feature maps, fine to coarse.
        num_levels: L; those beyond the feature maps are made from the coarsest.
        width: C, a multiple of ``NORM_GROUPS``.

    Raises:
        ValueError: more feature maps than levels.
    """

    def __init__(self, in_channels: list[int], num_levels: int, width: int):
        if len(in_channels) > num_levels:
            raise ValueError(f"{len(in_channels)} backbone features for {num_levels} levels")
        self.num_maps = len(in_channels)
        convs = [nn.Conv2d(channels, width, 1) for channels in in_channels]
        channels = in_channels[-1]
        while len(convs) < num_levels:
            convs.append(nn.Conv2d(channels, width, 3, stride=2, padding=1))
            channels = width
        for conv in convs:
            nn.init.xavier_uniform_(conv.weight)
            assert conv.bias is not None
            nn.init.zeros_(conv.bias)
        super().__init__(nn.Sequential(conv, GroupNorm(NORM_GROUPS, width)) for conv in convs)

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        """[(B, c_i, H_i, W_i)] to [(B, C, H_l, W_l)], fine to coarse."""
        assert len(maps) == self.num_maps, (len(maps), self.num_maps)
        levels: list[Tensor] = []
        for index, projection in enumerate(self):
            if index < len(maps):
                source = maps[index]
            else:  # the first extra level comes from the backbone's, the others from one another
                source = maps[-1] if index == len(maps) else levels[-1]
            levels.append(projection(source))
        return levels
