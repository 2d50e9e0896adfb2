"""Queries that are boxes: a query looks near its anchor, which every decoder layer corrects (DAB-DETR,
Liu et al., ICLR 2022; look forward twice: DINO, Zhang et al., ICLR 2023, sec. 3.5).

Shapes: B: images, Q: queries, C: width.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from d2video.layers import SinePositionEncoding

# Anchors and boxes stay this far from 0 and 1, where their logits are infinite.
_MARGIN = 1e-3


class AnchorQueries(nn.Module):
    """Learned anchors and their encoding for the decoder.

    The encoding is that of the centre, as the encoder's tokens have it, so that a query and the tokens
    near it are alike from the first step on, plus a learned function of centre and size.

    Args:
        encoding: of the encoder's tokens, over two axes, of C channels.
        num_queries: Q.
    """

    def __init__(self, encoding: SinePositionEncoding, num_queries: int):
        super().__init__()
        self.encoding = encoding
        channels = encoding.channels_per_axis
        width = encoding.num_axes * channels
        # Centres all over the image, sides of about a third of it.
        centres = 3 * torch.rand(num_queries, 2) - 1.5
        self.logits = nn.Parameter(torch.cat([centres, torch.full((num_queries, 2), -0.6)], dim=1))
        self.linear1 = nn.Linear(4 * channels, width)
        self.linear2 = nn.Linear(width, width)

    def embed(self, boxes: Tensor) -> Tensor:
        """(B, Q, 4) cxcywh in [0, 1] to (B, Q, C)."""
        x, y, width, height = (self.encoding.waves(each) for each in boxes.unbind(-1))
        centre = torch.cat([y, x], dim=-1)
        hidden = F.relu(self.linear1(torch.cat([centre, width, height], dim=-1)))
        return centre + self.linear2(hidden)


class MovingAnchors:
    """The anchors of one forward pass.

    Args:
        queries: that encode them.
        logits: (B, Q, 4), where they start.
        box_head: from the decoder's outputs (B, Q, C) to changes of the logits (B, Q, 4).
        look_twice: a layer also learns from the boxes of the next one, which start from its own. The
            positions of the queries have no gradient behind the first layer either way.

    Attributes:
        boxes: of each layer so far, (B, Q, 4) cxcywh in [0, 1].
    """

    def __init__(
        self, queries: AnchorQueries, logits: Tensor, box_head: nn.Module, look_twice: bool
    ):
        self.boxes: list[Tensor] = []
        self._queries = queries
        self._box_head = box_head
        self._look_twice = look_twice
        self._anchors = logits
        # What the next layer's boxes are relative to: with the gradient of the last change, or none.
        self._base = logits

    def before_layer(self) -> Tensor:
        return self._queries.embed(self._anchors.sigmoid())

    def after_layer(self, output: Tensor) -> None:
        change = self._box_head(output).float()
        self.boxes.append((self._base + change).sigmoid())
        moved = self._anchors + change
        self._anchors = torch.logit(moved.sigmoid(), _MARGIN).detach()
        self._base = moved if self._look_twice else self._anchors
