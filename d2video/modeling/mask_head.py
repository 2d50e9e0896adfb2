"""The mask branch of DETR and VisTR: attention maps of the queries, refined by a small FPN.

Shapes: N: images or frames, Q: queries of each, P: queries whose masks are wanted, h: heads, C: width,
H×W: the memory's grid, H_i×W_i: the i-th lateral's grid (finer with i).
"""

import math
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from fvcore.nn.weight_init import c2_xavier_fill
from torch import Tensor, nn

from d2video.layers import DeformConv
from d2video.layers.group_norm import GroupNorm
from d2video.layers.one_channel_conv import OneChannelConv2d
from d2video.layers.transformer import run
from d2video.layers.upsampled_conv import conv_of_upsampled
from d2video.modeling.pixels import channels_last, rows_at_once
from d2video.modeling.predictions import Encoded
from d2video.utils.transfer import to_device


class MHAttentionMap(nn.Module):
    """Attention weights of queries over a feature map, without values (DETR, sec. 4.2).

    One softmax runs over heads and pixels *jointly*, as in the official code.

    Args:
        use_positions: add the positions to what the queries look at, so that a query can tell its
            object from its neighbours by place. The official code leaves them out, and place
            reaches the masks only through what the encoder has made of it.
        query_masks: the maps are the products of queries and pixels as they are, without a softmax,
            and their sum over the heads is a mask logit, to which a head adds what it finds in finer
            features (MaskFormer, Cheng et al., 2021, sec. 3.2). After a softmax over all heads and
            pixels the maps are so small beside the memory that a head needs thousands of steps to
            notice them.
    """

    def __init__(self, width: int, num_heads: int, use_positions: bool, query_masks: bool = False):
        super().__init__()
        self.num_heads = num_heads
        self.use_positions = use_positions
        self.q_linear = nn.Linear(width, width)
        self.k_linear = nn.Linear(width, width)
        for linear in (self.q_linear, self.k_linear):
            nn.init.xavier_uniform_(linear.weight)
            nn.init.zeros_(linear.bias)
        self.scale = (width / num_heads) ** -0.5
        # Most pixels are not of the object: at first a probability of 0.12.
        self.bias = nn.Parameter(torch.tensor(-2.0)) if query_masks else None

    @property
    def query_masks(self) -> bool:
        return self.bias is not None

    def forward(
        self,
        queries: Tensor,
        memory: Tensor,
        padding: Tensor | None = None,
        positions: Tensor | None = None,
    ) -> Tensor:
        """
        Args:
            queries: (N, Q, C).
            memory: (N, H, W, C).
            padding: (N, H, W) bool, True = padding, or None.
            positions: (N, H, W, C); read only with ``use_positions``.

        Returns:
            (N, Q, h, H, W); each query's weights sum to 1, unless they are ``query_masks``.
        """
        q = self.q_linear(queries).unflatten(-1, (self.num_heads, -1)) * self.scale
        if self.use_positions:
            assert positions is not None
            memory = memory + positions
        k = self.k_linear(memory).unflatten(-1, (self.num_heads, -1))
        scores = torch.einsum("nqhc,nyxhc->nqhyx", q, k)
        if self.bias is not None:
            return scores
        if padding is not None:
            scores = scores.masked_fill(padding[:, None, None], -math.inf)
        return scores.flatten(2).softmax(-1).view_as(scores)

    def mask_logits(self, maps: Tensor) -> Tensor:
        """Of ``query_masks``, (..., h, H, W), the logits (..., H, W)."""
        assert self.bias is not None
        return maps.sum(-3) + self.bias

    def refined(self, maps: Tensor, changes: Tensor) -> Tensor:
        """Mask logits (P, H_n, W_n): what a head makes of the maps (P, h, H, W); with
        ``query_masks`` it changes their own logits, upsampled bilinearly."""
        if self.bias is None:
            return changes
        own = self.mask_logits(maps)[:, None]
        size = (changes.shape[-2], changes.shape[-1])
        return F.interpolate(own, size=size, mode="bilinear")[:, 0] + changes


class QueryChannels(nn.Module):
    """In place of :class:`MHAttentionMap`, for a mask head that does not see where a query attends:
    numbers of the query, the same at every pixel.

    Args:
        width: C.
        num_heads: numbers of a query.
    """

    def __init__(self, width: int, num_heads: int):
        super().__init__()
        self.linear = nn.Linear(width, num_heads)

    def forward(
        self,
        queries: Tensor,
        memory: Tensor,
        padding: Tensor | None = None,
        positions: Tensor | None = None,
    ) -> Tensor:
        """(N, Q, C) to (N, Q, h, H, W); see :meth:`MHAttentionMap.forward`."""
        channels = self.linear(queries)[..., None, None]
        return channels.expand(-1, -1, -1, memory.shape[1], memory.shape[2])

    def refined(self, maps: Tensor, changes: Tensor) -> Tensor:
        """See :meth:`MHAttentionMap.refined`."""
        return changes


def _group_norm(channels: int) -> GroupNorm:
    """8 groups as in the official heads, fewer where a width is not divisible by 8."""
    return GroupNorm(math.gcd(8, channels), channels)


def _conv(in_channels: int, out_channels: int, kernel_size: int) -> nn.Conv2d:
    conv = nn.Conv2d(in_channels, out_channels, kernel_size, padding=kernel_size // 2)
    c2_xavier_fill(conv)
    return conv


class MaskHeadSmallConv(nn.Module):
    """FPN-style head from attention maps to mask features (DETR, fig. 8; VisTR, sec. 3.3).

    The first convolution reads the memory, which the queries of a frame share, and the attention of
    each query. A convolution is linear, so it is computed as one part a frame plus one part a query.
    Each further step upsamples (nearest) to the next lateral, adds it and convolves: a part a frame, of
    the lateral, plus a part a query. The official DETR ends with one more convolution to a mask logit,
    which is the caller's.

    Args:
        width: channels of the memory.
        num_heads: attention channels.
        lateral_channels: channels of the backbone features, coarse to fine.
        context_width: the steps have a half, a quarter, … of this many channels (``context_dim`` of
            the official head); ``width`` if None, as in the official models.
        deformable: the last convolution is a deformable one (VisTR) or a plain one (DETR).
        activation_checkpoint: recompute each step in the backward pass.

    Attributes:
        out_channels: context_width / 2^(laterals + 1): 24 for 384 and three laterals.
    """

    def __init__(
        self,
        width: int,
        num_heads: int,
        lateral_channels: list[int],
        context_width: int | None,
        activation_checkpoint: bool,
        deformable: bool = True,
    ):
        super().__init__()
        context = width if context_width is None else context_width
        steps = [context // 2 ** (i + 1) for i in range(len(lateral_channels) + 1)]
        if steps[-1] < 1:
            raise ValueError(f"width {context} is too small for {len(lateral_channels)} laterals")
        self.width = width
        self.activation_checkpoint = activation_checkpoint
        self.out_channels = steps[-1]
        first = width + num_heads
        convs = [_conv(first, first, 3), _conv(first, steps[0], 3)]
        convs += [_conv(a, b, 3) for a, b in pairwise(steps[:-1])]
        self.convs = nn.ModuleList(convs)
        self.adapters = nn.ModuleList(
            _conv(channels, step, 1) for channels, step in zip(lateral_channels, steps)
        )
        # Two names, because their parameters are different ones in checkpoints.
        self.deformable = deformable
        if deformable:
            self.deform_conv = DeformConv(steps[-2], steps[-1])
        else:
            self.last_conv = _conv(steps[-2], steps[-1], 3)
        self.norms = nn.ModuleList(_group_norm(c) for c in [first, *steps])

    def _after_lateral(self, index: int) -> nn.Module:
        """The convolution that reads the sum with a lateral."""
        if index + 2 < len(self.convs):
            return self.convs[index + 2]
        return self.deform_conv if self.deformable else self.last_conv

    def laterals(self, features: list[Tensor]) -> list[Tensor]:
        """What the queries of a frame share of the later steps.

        Args:
            features: of the backbone, fine to coarse, [(N, C_i, H_i, W_i)].

        Returns:
            coarse to fine, [(N, c_i, H_i, W_i)]: the laterals' part of the convolution that reads them, or,
            before a deformable one, the lateral itself.
        """
        found = []
        for index, (adapter, feature) in enumerate(zip(self.adapters, reversed(features))):
            lateral, conv = adapter(feature), self._after_lateral(index)
            # In the layout of the queries' part.
            found.append(conv(lateral).contiguous() if isinstance(conv, nn.Conv2d) else lateral)
        return found

    def shared(self, memory: Tensor) -> Tensor:
        """The memory's part of the first convolution: (N, C, H, W) to (N, C + h, H, W)."""
        conv: Any = self.convs[0]
        return F.conv2d(memory, conv.weight[:, : self.width], conv.bias, padding=1)

    def _first(self, shared: Tensor, attention: Tensor, rows: Tensor) -> Tensor:
        weight: Any = self.convs[0].weight
        own = F.conv2d(attention, weight[:, self.width :], padding=1)
        return F.relu(self.norms[0](shared.to(own.dtype)[rows] + own), inplace=True)

    def _second(self, x: Tensor) -> Tensor:
        return F.relu(self.norms[1](self.convs[1](x)), inplace=True)

    def _step(self, index: int, x: Tensor, lateral: Tensor, rows: Tensor) -> Tensor:
        """Up to the lateral's size, the sum with it, convolution, norm and ReLU."""
        # Under autocast in the type of x, so that the sum is not of float32.
        of_rows = lateral.to(x.dtype)[rows]
        size = (lateral.shape[-2], lateral.shape[-1])
        conv: Any = self._after_lateral(index)
        if isinstance(conv, nn.Conv2d):
            x = conv_of_upsampled(x, size, conv.weight).add_(of_rows)
        else:
            x = conv(F.interpolate(channels_last(x), size=size, mode="nearest").add_(of_rows))
        return F.relu(self.norms[index + 2](x), inplace=True)

    def forward(
        self, shared: Tensor, attention: Tensor, rows: Tensor, laterals: list[Tensor]
    ) -> Tensor:
        """
        Args:
            shared: from :meth:`shared`, (N, C + h, H, W).
            attention: (P, h, H, W), of P queries.
            rows: (P,) int64, the image of each query, in [0, N).
            laterals: from :meth:`laterals`, [(N, c_i, H_i, W_i)] coarse to fine.

        Returns:
            (P, out_channels, H_n, W_n), at the size of the last lateral.
        """
        recompute = self.activation_checkpoint and self.training
        x = run(self._first, shared, attention, rows, recompute=recompute)
        x = run(self._second, x, recompute=recompute)
        *before, last = enumerate(laterals)
        for index, lateral in before:
            x = run(self._step, index, x, lateral, rows, recompute=recompute)
        # Outside of the loop, which a compiler could not break at the deformable convolution. In training
        # that one would keep the upsampled sum, the largest tensor of the head.
        again = recompute or (self.deformable and self.training)
        return run(self._step, last[0], x, last[1], rows, recompute=again)


class MaskBranch(nn.Module):
    """Attention maps of the queries, the convolutional head and its mask logits (DETR, fig. 8).

    Args:
        width, num_heads: of the transformer.
        lateral_channels: of the backbone's features, coarse to fine.
        mask_width: see :class:`MaskHeadSmallConv`; the transformer's width if None.
        activation_checkpoint: recompute the head in the backward pass.
        use_positions, query_masks: see :class:`MHAttentionMap`.
    """

    def __init__(
        self,
        width: int,
        num_heads: int,
        lateral_channels: list[int],
        mask_width: int | None,
        activation_checkpoint: bool,
        use_positions: bool = False,
        query_masks: bool = False,
    ):
        super().__init__()
        self.bbox_attention = MHAttentionMap(width, num_heads, use_positions, query_masks)
        self.mask_head = MaskHeadSmallConv(
            width,
            num_heads,
            lateral_channels,
            mask_width,
            activation_checkpoint,
            deformable=False,
        )
        self.out_conv = OneChannelConv2d(self.mask_head.out_channels)
        c2_xavier_fill(self.out_conv)
        if query_masks:
            start_without_changes(self.out_conv)

    def forward(self, encoded: Encoded, images: Tensor, queries: Tensor) -> Tensor:
        """Mask logits of some queries; they do not depend on which others are computed.

        Args:
            images: (P,) int64, the image of each wanted query, in [0, N); on any device.
            queries: (P,) int64, in [0, Q); on any device.

        Returns:
            (P, H_n, W_n), at the size of the last lateral.
        """
        finest = encoded.laterals[-1]
        if not len(queries):
            return finest.new_zeros(0, *finest.shape[-2:])
        images, queries = (to_device(index, finest.device) for index in (images, queries))
        parts = len(images)
        if not self.training:
            largest = 2 * self.mask_head.out_channels * finest.shape[-2:].numel()
            parts = rows_at_once(largest, images.device)
        return self._in_parts(encoded, images, queries, parts)

    def at_once(self, encoded: Encoded, images: Tensor, queries: Tensor) -> Tensor:
        """As :meth:`forward`, of one query or more and without a bound of the memory: for graphs, whose
        sizes are not known when they are made."""
        return self._in_parts(encoded, images, queries, None)

    def _in_parts(
        self, encoded: Encoded, images: Tensor, queries: Tensor, parts: int | None
    ) -> Tensor:
        attention = self.bbox_attention(
            encoded.queries, encoded.memory, encoded.padding, encoded.positions
        )[images, queries]
        # What the queries of an image share is computed once: the first convolution of its features.
        shared = self.mask_head.shared(encoded.source)

        def changes(attention: Tensor, images: Tensor) -> Tensor:
            features = self.mask_head(shared, attention, images, encoded.laterals)
            return self.out_conv(features)[:, 0]

        if parts is None:
            masks = changes(attention, images)
        else:
            masks = torch.cat([*map(changes, attention.split(parts), images.split(parts))])
        return self.bbox_attention.refined(attention, masks)


def start_without_changes(last: nn.Module) -> None:
    """Let a head that changes masks begin with the masks as they are: zero in its last convolution."""
    for parameter in last.parameters():
        nn.init.zeros_(parameter)


def coarse_masks(attention: MHAttentionMap, outputs: Tensor, encoded: Encoded) -> Tensor:
    """The ``query_masks`` of all layers, before any head, for their losses.

    Args:
        outputs: (L, B, T·q, C), of the decoder's layers, those of a clip frame by frame.
        encoded: of N = B·T images.

    Returns:
        (L, B, T·q, H_f, W_f) logits.
    """
    layers, batch = outputs.shape[:2]
    frames = len(encoded.memory) // batch
    # (N, L·q, C): of each frame its own queries, those of all layers.
    queries = outputs.unflatten(2, (frames, -1)).permute(1, 2, 0, 3, 4).flatten(0, 1).flatten(1, 2)
    maps = attention(queries, encoded.memory, encoded.padding, encoded.positions)
    masks = attention.mask_logits(maps).unflatten(1, (layers, -1)).unflatten(0, (batch, frames))
    return masks.permute(2, 0, 1, 3, 4, 5).flatten(2, 3)
