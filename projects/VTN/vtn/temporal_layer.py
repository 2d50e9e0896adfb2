"""A layer of VTN's temporal encoder: the layer of Longformer with one global token.

Beltagy et al., 2020, section 3.1; Neimark et al., 2021, section 3.2.

Shapes: B: batch, N: tokens, CLS first, C: width, h: heads, D = C / h.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from d2video.projects.vtn.local_attention import local_attention
from torch import Tensor, nn


@dataclass
class RecordedTemporalAttention:
    """A call of :class:`TemporalAttention`; see :mod:`d2video.layers.recording`.

    Attributes:
        q: (B, h, N, D), CLS through its own projection; N is 1 where only CLS looks.
        k, cls_k: (B, h, N, D), keys as the frames and as CLS see them.
        radius: of the window.
        padding: (B, N) bool, or None.
    """

    q: Tensor
    k: Tensor
    cls_k: Tensor
    radius: int
    padding: Tensor | None

    def weights(self, rows: Tensor, item: int = 0) -> Tensor:
        """The attention weights of some tokens, (h, R, N) float32; each row sums to 1.

        Args:
            rows: (R,) int64 tokens, 0 is CLS.
            item: of the batch.
        """
        of_cls = (rows == 0)[:, None]
        q = self.q[item][:, rows].float() * self.q.shape[-1] ** -0.5
        scores = torch.where(of_cls, q @ self.cls_k[item].mT.float(), q @ self.k[item].mT.float())
        token = torch.arange(self.k.shape[2], device=rows.device)
        seen = of_cls | (token == 0) | ((rows[:, None] - token).abs() <= self.radius)
        if self.padding is not None:
            seen = seen & ~self.padding[item]
        return scores.masked_fill(~seen, -torch.inf).softmax(-1)


class TemporalAttention(nn.Module):
    """Frames attend to the frames near them and to CLS; CLS attends to all tokens.

    CLS looks through projections of its own (``*_global``), frames see CLS through theirs.

    Args:
        width: C, divisible by ``num_heads``.
        radius: frames on each side that a frame sees.
        dropout: probability on the attention weights, in training.
    """

    def __init__(self, width: int, num_heads: int, radius: int, dropout: float):
        super().__init__()
        assert width % num_heads == 0
        self.num_heads, self.radius, self.dropout = num_heads, radius, dropout
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.query_global = nn.Linear(width, width)
        self.key_global = nn.Linear(width, width)
        self.value_global = nn.Linear(width, width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor, padding: Tensor | None, cls_only: bool = False) -> Tensor:
        """x (B, N, C); padding (B, N) bool, True = no token, never CLS; returns (B, N, C), or, with
        ``cls_only``, (B, 1, C), for which no frame is projected."""
        attended = self.attend_from_cls(x, padding)
        if not cls_only:
            attended = torch.cat([attended, self.attend_from_frames(x, padding)], 1)
        return self.out(attended)

    def recorded(
        self, x: Tensor, padding: Tensor | None, cls_only: bool = False
    ) -> RecordedTemporalAttention:
        """What :meth:`forward` looks at."""
        q = self.query_global(x[:, :1])
        if not cls_only:
            q = torch.cat([q, self.query(x[:, 1:])], 1)
        q, k, cls_k = (self._split_heads(each) for each in (q, self.key(x), self.key_global(x)))
        return RecordedTemporalAttention(q, k, cls_k, self.radius, padding)

    def _split_heads(self, x: Tensor) -> Tensor:
        """(B, N, C) to (B, h, N, D)."""
        return x.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)

    def attend_from_frames(self, x: Tensor, padding: Tensor | None) -> Tensor:
        """(B, N, C) to (B, N - 1, C), before the output projection."""
        k, v = self._split_heads(self.key(x)), self._split_heads(self.value(x))
        attended = local_attention(
            self._split_heads(self.query(x[:, 1:])),
            k[:, :, 1:],
            v[:, :, 1:],
            radius=self.radius,
            global_k=k[:, :, :1],
            global_v=v[:, :, :1],
            padding=None if padding is None else padding[:, 1:],
            dropout=self.dropout if self.training else 0.0,
        )
        return attended.transpose(1, 2).flatten(2)

    def attend_from_cls(self, x: Tensor, padding: Tensor | None) -> Tensor:
        """(B, N, C) to (B, 1, C), before the output projection.

        With a single query per head no token needs projecting: q · (W x + b) = (W^T q) · x + q · b,
        and the weighted mean of W x + b is W (weighted mean of x) + b. That is exact, and costs h C
        per token and projection instead of C^2.
        """

        def per_head(x: Tensor) -> Tensor:
            return x.unflatten(0, (self.num_heads, -1))  # (C, ...) to (h, D, ...)

        q = self.query_global(x[:, 0]).unflatten(-1, (self.num_heads, -1))  # (B, h, D)
        q = q * q.shape[-1] ** -0.5
        folded = torch.einsum("bhd,hdc->bhc", q, per_head(self.key_global.weight))
        # The same for all tokens, so the softmax ignores it. It is there for the bias to have a
        # gradient (of zero): DistributedDataParallel waits for that of every parameter.
        offset = torch.einsum("bhd,hd->bh", q, per_head(self.key_global.bias))
        scores = torch.einsum("bhc,bnc->bhn", folded, x).float() + offset[..., None].float()
        if padding is not None:
            scores = scores.masked_fill(padding[:, None], -torch.inf)
        weights = F.dropout(scores.softmax(-1), self.dropout, self.training)
        mean = torch.einsum("bhn,bnc->bhc", weights.to(folded.dtype), x)
        attended = torch.einsum("bhc,hdc->bhd", mean, per_head(self.value_global.weight))
        # After dropout the weights no longer add up to 1.
        attended = attended + weights.sum(-1)[..., None] * per_head(self.value_global.bias)
        return attended.to(mean.dtype).flatten(1)[:, None]


class TemporalLayer(nn.Module):
    """Attention and feed-forward with GELU, normalised after each.

    Args:
        feedforward: hidden width of the feed-forward block.
        norm_eps: of both LayerNorms.

    The other arguments are those of :class:`TemporalAttention`. ``dropout`` also acts on what the two blocks
    add.
    """

    def __init__(
        self,
        width: int,
        num_heads: int,
        feedforward: int,
        radius: int,
        dropout: float,
        norm_eps: float,
    ):
        super().__init__()
        self.attention = TemporalAttention(width, num_heads, radius, dropout)
        self.norm1 = nn.LayerNorm(width, norm_eps)
        self.linear1 = nn.Linear(width, feedforward)
        self.linear2 = nn.Linear(feedforward, width)
        self.norm2 = nn.LayerNorm(width, norm_eps)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, padding: Tensor | None, cls_only: bool = False) -> Tensor:
        """x (B, N, C); padding (B, N) bool or None; returns (B, N, C), with ``cls_only`` (B, 1, C)."""
        attended = self.attention(x, padding, cls_only)
        x = self.norm1((x[:, :1] if cls_only else x) + self.dropout(attended))
        return self.norm2(x + self.dropout(self.linear2(F.gelu(self.linear1(x)))))
