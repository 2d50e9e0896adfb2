"""Multi-head attention on torch's fused kernel.

Shapes: B: batch, N: queries, S: keys, C: width, h: heads.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class MultiheadAttention(nn.Module):
    """Batch-first multi-head attention through ``scaled_dot_product_attention``.

    Never builds the N×S score matrix where torch has a fused kernel for the device (CUDA; CPU
    without dropout). Parameters carry the names and shapes of ``torch.nn.MultiheadAttention``, so
    that checkpoints written by it load as they are.

    Args:
        embed_dim: C, divisible by ``num_heads``.
        num_heads: h.
        dropout: probability on the attention weights, in training.
    """

    def __init__(self, embed_dim: int, num_heads: int, dropout: float = 0.0):
        super().__init__()
        if embed_dim % num_heads:
            raise ValueError(f"width {embed_dim} is not divisible by {num_heads} heads")
        self.num_heads = num_heads
        self.dropout = dropout
        self.in_proj_weight = nn.Parameter(torch.empty(3 * embed_dim, embed_dim))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * embed_dim))
        self.out_proj = nn.Linear(embed_dim, embed_dim)
        nn.init.xavier_uniform_(self.in_proj_weight)
        nn.init.zeros_(self.out_proj.bias)

    def _split_heads(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, key_padding: Tensor | None = None
    ) -> Tensor:
        """
        Args:
            query: (B, N, C). Pass the same object as ``key`` for self-attention: one projection.
            key, value: (B, S, C).
            key_padding: (B, S) bool, True = left out; None when nothing is padded, which leaves
                torch the choice of its fastest kernels.

        Returns:
            (B, N, C).
        """
        weight_q, weight_k, weight_v = self.in_proj_weight.chunk(3)
        bias_q, bias_k, bias_v = self.in_proj_bias.chunk(3)
        if query is key:
            width = 2 * query.shape[-1]
            q, k = F.linear(query, self.in_proj_weight[:width], self.in_proj_bias[:width]).chunk(
                2, dim=-1
            )
        else:
            q, k = F.linear(query, weight_q, bias_q), F.linear(key, weight_k, bias_k)
        v = F.linear(value, weight_v, bias_v)
        attended = F.scaled_dot_product_attention(
            self._split_heads(q),
            self._split_heads(k),
            self._split_heads(v),
            attn_mask=None if key_padding is None else ~key_padding[:, None, None],
            dropout_p=self.dropout if self.training else 0.0,
        )
        return self.out_proj(attended.transpose(1, 2).flatten(2))
