"""Multi-head attention on torch's fused kernel.

Shapes: B: batch, N: queries, S: keys, C: width, h: heads.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from d2video.layers.recording import DenseAttention


class MultiheadAttention(nn.Module):
    """Batch-first multi-head attention through ``scaled_dot_product_attention``.

    Never builds the N×S score matrix where torch has a fused kernel for the device (CUDA; CPU
    without dropout). Parameters carry the names and shapes of ``torch.nn.MultiheadAttention``, so
    that checkpoints written by it load as they are.

    Args:
        embed_dim: C, divisible by ``num_heads``.
        num_heads: h.
        dropout: probability on the attention weights, in training.
        bias: whether the projections have one.
    """

    def __init__(self, embed_dim: int, num_heads: int, dropout: float = 0.0, bias: bool = True):
        super().__init__()
        if embed_dim % num_heads:
            raise ValueError(f"width {embed_dim} is not divisible by {num_heads} heads")
        self.num_heads = num_heads
        self.dropout = dropout
        self.in_proj_weight = nn.Parameter(torch.empty(3 * embed_dim, embed_dim))
        self.in_proj_bias: nn.Parameter | None = None
        self.out_proj = nn.Linear(embed_dim, embed_dim, bias=bias)
        nn.init.xavier_uniform_(self.in_proj_weight)
        if bias:
            self.in_proj_bias = nn.Parameter(torch.zeros(3 * embed_dim))
            nn.init.zeros_(self.out_proj.bias)

    def _split_heads(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)

    def _project(self, inputs: tuple[Tensor, Tensor, Tensor]) -> list[Tensor]:
        """Query, key and value, each through its third of the projection; neighbours that are the
        same object go through theirs in one multiplication."""
        width = self.out_proj.in_features
        projected: list[Tensor] = []
        while (first := len(projected)) < 3:
            last = first + 1
            while last < 3 and inputs[last] is inputs[first]:
                last += 1
            rows = slice(first * width, last * width)
            bias = None if self.in_proj_bias is None else self.in_proj_bias[rows]
            joint = F.linear(inputs[first], self.in_proj_weight[rows], bias)
            projected += joint.chunk(last - first, dim=-1)
        return projected

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding: Tensor | None = None,
        hidden: Tensor | None = None,
    ) -> Tensor:
        """
        Args:
            query: (B, N, C).
            key, value: (B, S, C). Pass one object wherever two of the three are equal: they are then
                projected together.
            key_padding: (B, S) bool, True = left out; None when nothing is padded, which leaves
                torch the choice of its fastest kernels.
            hidden: (N, S) bool, True where a query does not see a key, in the whole batch; each query
                sees one at least.

        Returns:
            (B, N, C).
        """
        q, k, v = self._project((query, key, value))
        attended = F.scaled_dot_product_attention(
            self._split_heads(q),
            self._split_heads(k),
            self._split_heads(v),
            attn_mask=_seen(key_padding, hidden),
            dropout_p=self.dropout if self.training else 0.0,
        )
        return self.out_proj(attended.transpose(1, 2).flatten(2))

    def recorded(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding: Tensor | None = None,
        hidden: Tensor | None = None,
    ) -> DenseAttention:
        """What :meth:`forward` looks at; see :mod:`d2video.layers.recording`."""
        q, k, _ = self._project((query, key, value))
        return DenseAttention(
            self._split_heads(q), self._split_heads(k), _seen(key_padding, hidden)
        )


def _seen(key_padding: Tensor | None, hidden: Tensor | None) -> Tensor | None:
    """Which keys the queries see, bool, broadcastable to (B, h, N, S); None: all."""
    seen = None if key_padding is None else ~key_padding[:, None, None]
    if hidden is not None:
        seen = ~hidden[None, None] if seen is None else seen & ~hidden
    return seen
