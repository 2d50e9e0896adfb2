"""The DETR transformer (Carion et al., 2020, appendix A.3), shared by all query-based systems.

Shapes: B: batch, S: source tokens, Q: queries, C: width, L: decoder layers.
"""

from collections.abc import Callable
from typing import Any, Protocol

import torch
import torch.nn.functional as F
import torch.utils.checkpoint
from torch import Tensor, nn

from d2video.layers.attention import MultiheadAttention

# Of the feed-forward block that a CPU computes at once: 2 MB in float32.
_HIDDEN_ELEMENTS = 2**19


def run(function: Callable[..., Tensor], *args: Any, recompute: bool) -> Tensor:
    """Call a layer or a function; with ``recompute`` its activations are computed again in the
    backward pass instead of being kept."""
    if recompute:
        return torch.utils.checkpoint.checkpoint(function, *args, use_reentrant=False)
    return function(*args)


def with_positions(x: Tensor, pos: Tensor | None) -> Tensor:
    """x + pos; without positions x itself, the same object."""
    return x if pos is None else x + pos


class FeedForwardLayer(nn.Module):
    """Base of transformer layers: their feed-forward block, under the names of official checkpoints.

    A layer of hidden width 0 has none, nor the norm beside it (DETR, sec. 4.2, "Importance of FFN").
    """

    @staticmethod
    def _feed_forward_norm(width: int, hidden: int) -> nn.LayerNorm | None:
        return nn.LayerNorm(width) if hidden else None

    def _init_feed_forward(self, width: int, hidden: int, dropout: float) -> None:
        if hidden:
            self.linear1 = nn.Linear(width, hidden)
            self.linear2 = nn.Linear(hidden, width)
        self.dropout = nn.Dropout(dropout)

    def _feed_forward(self, x: Tensor) -> Tensor:
        if x.device.type != "cpu" or torch.is_grad_enabled() or torch.compiler.is_compiling():
            return self._feed_forward_rows(x)
        # A CPU's caches hold the hidden values of some rows, not of all.
        rows = x.flatten(0, -2)
        parts = rows.split(max(1, _HIDDEN_ELEMENTS // self.linear1.out_features))
        return torch.cat([self._feed_forward_rows(part) for part in parts]).view_as(x)

    def _feed_forward_rows(self, x: Tensor) -> Tensor:
        # Dropout first: one tensor then serves the backward passes of both and of linear2. The values are
        # the same, because dropout sets to zero or scales by a positive number.
        return self.linear2(F.relu(self.dropout(self.linear1(x)), inplace=True))

    def _last_block(self, x: Tensor, norm: nn.LayerNorm | None, pre_norm: bool = False) -> Tensor:
        """The feed-forward block with its residual connection and the norm of
        :meth:`_feed_forward_norm`; x itself where there is none."""
        if norm is None:
            return x
        if pre_norm:
            return x + self.dropout(self._feed_forward(norm(x)))
        return norm(x + self.dropout(self._feed_forward(x)))


class TransformerEncoderLayer(FeedForwardLayer):
    """Self-attention and feed-forward; positions are added to queries and keys, not to values.

    Args:
        pre_norm: normalise before each block instead of after it.
        attention_bias: whether the projections of the attention have one.
    """

    def __init__(
        self,
        width: int,
        num_heads: int,
        feedforward: int,
        dropout: float = 0.1,
        pre_norm: bool = False,
        attention_bias: bool = True,
    ):
        super().__init__()
        self.self_attn = MultiheadAttention(width, num_heads, dropout, attention_bias)
        self.norm1 = nn.LayerNorm(width)
        self.norm2 = self._feed_forward_norm(width, feedforward)
        self.pre_norm = pre_norm
        self._init_feed_forward(width, feedforward, dropout)

    def forward(self, x: Tensor, pos: Tensor | None, padding: Tensor | None) -> Tensor:
        """x (B, S, C); pos (B, S, C) or None; padding (B, S) bool or None; returns (B, S, C)."""
        normed = self.norm1(x) if self.pre_norm else x
        with_pos = with_positions(normed, pos)
        x = x + self.dropout(self.self_attn(with_pos, with_pos, normed, padding))
        x = x if self.pre_norm else self.norm1(x)
        return self._last_block(x, self.norm2, self.pre_norm)


class TransformerDecoderLayer(FeedForwardLayer):
    """Self-attention among the queries, cross-attention to the memory, feed-forward."""

    def __init__(
        self,
        width: int,
        num_heads: int,
        feedforward: int,
        dropout: float = 0.1,
        pre_norm: bool = False,
        attention_bias: bool = True,
    ):
        super().__init__()
        self.self_attn = MultiheadAttention(width, num_heads, dropout, attention_bias)
        self.multihead_attn = MultiheadAttention(width, num_heads, dropout, attention_bias)
        self.norm1 = nn.LayerNorm(width)
        self.norm2 = nn.LayerNorm(width)
        self.norm3 = self._feed_forward_norm(width, feedforward)
        self.pre_norm = pre_norm
        self._init_feed_forward(width, feedforward, dropout)

    def forward(
        self,
        x: Tensor,
        query_pos: Tensor | None,
        memory: Tensor,
        memory_with_pos: Tensor,
        memory_padding: Tensor | None,
        query_padding: Tensor | None = None,
        hidden: Tensor | None = None,
    ) -> Tensor:
        """x, query_pos (B, Q, C), the latter (1, Q, C) where it is the same for all, or None; memory,
        memory_with_pos (B, S, C), one object if there are no positions; query_padding (B, Q) bool,
        True where a row is padding; hidden (Q, Q) bool, True where a query (row) does not see another;
        None for either: all are seen. Returns (B, Q, C)."""
        normed = self.norm1(x) if self.pre_norm else x
        with_pos = with_positions(normed, query_pos)
        attended = self.self_attn(with_pos, with_pos, normed, query_padding, hidden)
        x = x + self.dropout(attended)
        x = x if self.pre_norm else self.norm1(x)

        normed = self.norm2(x) if self.pre_norm else x
        queries = with_positions(normed, query_pos)
        cross = self.multihead_attn(queries, memory_with_pos, memory, memory_padding)
        x = x + self.dropout(cross)
        x = x if self.pre_norm else self.norm2(x)

        return self._last_block(x, self.norm3, self.pre_norm)


class _Stack(nn.Module):
    """Layers and an optional closing norm, under the names of the official checkpoints."""

    def __init__(self, layers: list[nn.Module], norm: nn.Module | None):
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.norm: Any = norm


class MovingPositions(Protocol):
    """Positions of queries that each decoder layer corrects."""

    def before_layer(self) -> Tensor:
        """What is added to the queries in the next layer, (B, Q, C)."""

    def after_layer(self, output: Tensor) -> None:
        """Move by what a layer has found, its normalised output (B, Q, C)."""


class Transformer(nn.Module):
    """Encoder–decoder with learned queries.

    Positions of tokens and queries, where they are given, enter every layer again. The decoder's one
    closing norm is applied to every layer's output (for the auxiliary losses).

    Args:
        width: C.
        num_heads: attention heads.
        num_encoder_layers, num_decoder_layers: depths.
        feedforward: hidden width of the feed-forward blocks; 0: layers without them.
        dropout: probability, used after attention, on its weights and in the feed-forward.
        pre_norm: normalise before each block; the encoder then closes with a norm of its own.
        activation_checkpoint: recompute each layer in the backward pass instead of keeping its
            activations.
    """

    def __init__(
        self,
        width: int = 256,
        num_heads: int = 8,
        num_encoder_layers: int = 6,
        num_decoder_layers: int = 6,
        feedforward: int = 2048,
        dropout: float = 0.1,
        pre_norm: bool = False,
        activation_checkpoint: bool = False,
    ):
        super().__init__()
        self.width = width
        self.num_heads = num_heads
        self.activation_checkpoint = activation_checkpoint
        self.layer_sizes = (width, num_heads, feedforward, dropout)
        sizes = (*self.layer_sizes, pre_norm)
        self.encoder = _Stack(
            [TransformerEncoderLayer(*sizes) for _ in range(num_encoder_layers)],
            nn.LayerNorm(width) if pre_norm else None,
        )
        self.decoder = _Stack(
            [TransformerDecoderLayer(*sizes) for _ in range(num_decoder_layers)],
            nn.LayerNorm(width),
        )
        for parameter in self.parameters():
            if parameter.dim() > 1:
                nn.init.xavier_uniform_(parameter)

    def run(self, layer: nn.Module, *args: Tensor | None) -> Tensor:
        """Call a layer, recomputed in the backward pass if that is asked for."""
        return run(layer, *args, recompute=self.activation_checkpoint and self.training)

    def encode(self, source: Tensor, pos: Tensor | None, padding: Tensor | None) -> Tensor:
        """source, pos (B, S, C), pos may be None; padding (B, S) bool or None; returns the memory
        (B, S, C)."""
        for layer in self.encoder.layers:
            source = self.run(layer, source, pos, padding)
        if self.encoder.norm is not None:
            source = self.encoder.norm(source)
        return source

    def decode(
        self,
        x: Tensor,
        query_pos: "Tensor | MovingPositions | None",
        memory: Tensor,
        pos: Tensor | None,
        padding: Tensor | None,
        query_padding: Tensor | None = None,
        before_layer: Callable[[int, Tensor], Tensor] = lambda index, x: x,
        hidden: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """
        Args:
            x, query_pos: (B, Q, C); the latter may move from layer to layer, or be None.
            memory, pos: (B, S, C); pos may be None.
            padding: (B, S) bool or None.
            query_padding: (B, Q) bool, True where there is no query, or None.
            before_layer: called with a layer's number and its input x; returns what replaces x.
            hidden: (Q, Q) bool, True where a query (row) does not see another, or None.

        Returns:
            all layers' outputs (L, B, Q, C), and the last one's before the closing norm (B, Q, C).
        """
        memory_with_pos = with_positions(memory, pos)
        outputs = []
        for index, layer in enumerate(self.decoder.layers):
            x = before_layer(index, x)
            at = query_pos if isinstance(query_pos, Tensor | None) else query_pos.before_layer()
            x = self.run(layer, x, at, memory, memory_with_pos, padding, query_padding, hidden)
            outputs.append(self.decoder.norm(x))
            if not isinstance(query_pos, Tensor | None):
                query_pos.after_layer(outputs[-1])
        return torch.stack(outputs), x
