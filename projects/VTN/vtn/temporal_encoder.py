"""VTN's temporal encoder: from features of frames to one feature of the video.

Neimark et al., Video Transformer Network, 2021, section 3.2.

Shapes: B: batch, F: frames, C: width, P: rows of the position table.

Parameters correspond one to one to those of transformers' Longformer::

    cls_token                                        (the official VTN's own)
    embeddings.{position, token_type, norm}          {position, token_type}_embeddings, LayerNorm
                                                     (no position, unless positions are learned)
    layers.<i>.attention.{query, ..., value_global}  attention.self.<same name>
    layers.<i>.attention.out, layers.<i>.norm1       attention.output.{dense, LayerNorm}
    layers.<i>.{linear1, linear2, norm2}             intermediate.dense, output.{dense, LayerNorm}
"""

from collections.abc import Callable

import torch
from d2video.projects.vtn.official import modulus_rows
from d2video.projects.vtn.temporal_layer import TemporalLayer
from torch import Tensor, nn

from d2video.layers.position_encoding import SinePositionEncoding
from d2video.utils.errors import UserError

NORM_EPS = 1e-12


def rescaled_rows(frame_index: Tensor, rows: int) -> Tensor:
    """Row of a position table for each frame.

    Numbers below ``rows`` are the row. In a clip with a greater one they are counted from its first
    frame and, where that is too many as well, scaled down by one factor, the greatest to the last row,
    and rounded down: order and evenness stay, as far as there are rows.

    Args:
        frame_index: (B, F) int64 >= 0, frame numbers in the video, ascending but for padding.
        rows: of the table.

    Returns:
        (B, F) int64 in 0..rows - 1.
    """
    first, last = frame_index[:, :1], frame_index.amax(1, keepdim=True)
    counted, span = (frame_index - first).clamp(min=0), last - first
    scaled = torch.where(span < rows, counted, counted * (rows - 1) // span.clamp(min=1))
    return torch.where(last < rows, frame_index, scaled)


POSITION_RULES: dict[str, Callable[[Tensor, int], Tensor]] = {
    "rescale": rescaled_rows,
    "modulus": modulus_rows,
}


def sine_table(rows: int, width: int) -> Tensor:
    """(rows, width), the waves of the transformer of Vaswani et al., 2017, by row.

    Raises:
        UserError: ``width`` is odd.
    """
    if width % 2:
        raise UserError(f"sine positions need an even width, not {width}: choose learned ones")
    return SinePositionEncoding(width, 1, scale=1.0).waves(torch.arange(rows))


class FixedPositions(nn.Module):
    """A table of positions that is neither trained nor in checkpoints, used like ``nn.Embedding``.

    Args:
        table: (P, C).
    """

    weight: Tensor

    def __init__(self, table: Tensor):
        super().__init__()
        self.register_buffer("weight", table, persistent=False)

    def forward(self, rows: Tensor) -> Tensor:
        """(...) int64 to (..., C)."""
        return self.weight[rows]


# Of P rows and C channels.
POSITIONS: dict[str, Callable[[int, int], nn.Embedding | FixedPositions]] = {
    "learned": nn.Embedding,
    "sine": lambda rows, width: FixedPositions(sine_table(rows, width)),
    "none": lambda rows, width: FixedPositions(torch.zeros(rows, width)),
}


def repeated_frames(frame_index: Tensor, padding: Tensor | None) -> Tensor:
    """(B, F) bool: frames with the number of the frame just before them, itself no padding."""
    repeated = frame_index[:, 1:] == frame_index[:, :-1]
    if padding is not None:
        repeated = repeated & ~padding[:, :-1]
    return nn.functional.pad(repeated, (1, 0))


class TokenEmbeddings(nn.Module):
    """Adds what a token is (CLS or frame) and where it stands, then LayerNorm and dropout.

    Args:
        width: C.
        max_positions: P; of its last two rows one is CLS' and one is for padding.
        positions: see :data:`POSITIONS`.
        position_rule: see :data:`POSITION_RULES`.
    """

    def __init__(
        self, width: int, max_positions: int, positions: str, position_rule: str, dropout: float
    ):
        super().__init__()
        self.position = POSITIONS[positions](max_positions, width)
        self.token_type = nn.Embedding(2, width)
        self.norm = nn.LayerNorm(width, NORM_EPS)
        self.dropout = nn.Dropout(dropout)
        self.rows_of = POSITION_RULES[position_rule]

    def forward(
        self, cls_token: Tensor, features: Tensor, frame_index: Tensor, padding: Tensor | None
    ) -> Tensor:
        """cls_token (1, 1, C), features (B, F, C), frame_index (B, F) int64, padding (B, F) bool or
        None; returns (B, F + 1, C), CLS first."""
        rows = len(self.position.weight) - 2
        if padding is not None:
            # Whatever stands there may not reach the others: neither a number nor a NaN.
            features = features.masked_fill(padding[..., None], 0)
            frame_index = frame_index.masked_fill(padding, 0)
        index = self.rows_of(frame_index, rows)
        if padding is not None:
            index = index.masked_fill(padding, rows + 1)
        frames = features + self.position(index) + self.token_type.weight[0]
        cls = cls_token + self.position.weight[rows] + self.token_type.weight[1]
        tokens = torch.cat([cls.expand(frames.shape[0], -1, -1), frames], 1)
        return self.dropout(self.norm(tokens))


class TemporalEncoder(nn.Module):
    """Longformer over the frames' features with a learned CLS token; linear in F.

    In the last layer only what CLS needs is computed, unless all tokens are asked for.

    Args:
        hidden_dim: C, the features' and the encoder's.
        num_heads: attention heads.
        num_layers: depth, at least 1.
        dim_feedforward: hidden width of the feed-forward blocks.
        window: even; a frame sees window / 2 frames on each side (transformers' way to count).
        max_positions: P, rows of the position table; P - 2 of them are for frames.
        dropout: probability, used on the embeddings, the attention weights and each block's output.
        positions: one of :data:`POSITIONS`; "learned" is official.
        position_rule: one of :data:`POSITION_RULES`; "modulus" is official.
        mask_repeats: a frame with the number of the one before it (a video shorter than its clip)
            counts as padding. The official code sees it as often as it is there: False.
        init_std, init_std_embeddings: standard deviation of the linear layers' weights and of the
            tables of positions and token types at the start.

    Raises:
        UserError: the sizes do not fit together, or there is no such rule.
    """

    def __init__(
        self,
        hidden_dim: int = 768,
        num_heads: int = 12,
        num_layers: int = 3,
        dim_feedforward: int = 3072,
        window: int = 18,
        max_positions: int = 288,
        dropout: float = 0.1,
        positions: str = "learned",
        position_rule: str = "rescale",
        mask_repeats: bool = True,
        init_std: float = 0.02,
        init_std_embeddings: float = 0.02,
    ):
        super().__init__()
        if num_heads < 1 or hidden_dim % num_heads:
            raise UserError(
                f"the temporal encoder's width {hidden_dim} cannot be split into {num_heads} heads: "
                "choose a number of heads that divides it"
            )
        if window < 0 or window % 2:
            raise UserError(f"the temporal encoder's window is {window}: set an even number")
        if num_layers < 1:
            raise UserError(f"the temporal encoder has {num_layers} layers: set 1 or more")
        if max_positions < 3:
            raise UserError(
                f"the temporal encoder's position table has {max_positions} rows: CLS and padding "
                "take two of them, set 3 or more"
            )
        if positions not in POSITIONS:
            raise UserError(f"positions are '{positions}': choose {' or '.join(POSITIONS)}")
        if position_rule not in POSITION_RULES:
            raise UserError(
                f"the rule of positions is '{position_rule}': choose {' or '.join(POSITION_RULES)}"
            )
        self.mask_repeats = mask_repeats
        self.cls_token = nn.Parameter(torch.randn(1, 1, hidden_dim))
        self.embeddings = TokenEmbeddings(
            hidden_dim, max_positions, positions, position_rule, dropout
        )
        self.layers = nn.ModuleList(
            TemporalLayer(hidden_dim, num_heads, dim_feedforward, window // 2, dropout, NORM_EPS)
            for _ in range(num_layers)
        )
        for module in self.modules():
            if isinstance(module, nn.Embedding):
                nn.init.normal_(module.weight, std=init_std_embeddings)
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=init_std)
                nn.init.zeros_(module.bias)
        # Of the last layer only CLS is read, and it never looks through these. They are kept for
        # official checkpoints and for `all_tokens`; as trained parameters they would be left without
        # a gradient, which DistributedDataParallel takes for an error.
        for name in ("query", "key", "value"):
            self.layers[-1].get_submodule(f"attention.{name}").requires_grad_(False)

    def forward(
        self,
        features: Tensor,
        frame_index: Tensor,
        padding: Tensor | None = None,
        all_tokens: bool = False,
    ) -> Tensor:
        """
        Args:
            features: (B, F, C), F >= 1.
            frame_index: (B, F) int64 >= 0, each frame's number in its video.
            padding: (B, F) bool, True = no frame, anywhere; None if all are frames.
            all_tokens: give every token's output. The last layer's local query, key and value are
                then used, but not trained.

        Returns:
            (B, C), CLS; with ``all_tokens`` (B, F + 1, C), CLS first, undefined where padding is.
        """
        assert features.shape[:2] == frame_index.shape
        assert features.shape[1] > 0
        if self.mask_repeats:
            repeated = repeated_frames(frame_index, padding)
            padding = repeated if padding is None else padding | repeated
        x = self.embeddings(self.cls_token, features, frame_index, padding)
        if padding is not None:
            padding = nn.functional.pad(padding, (1, 0))  # CLS is always there
        for layer in self.layers[:-1]:
            x = layer(x, padding)
        x = self.layers[-1](x, padding, cls_only=not all_tokens)
        return x if all_tokens else x[:, 0]
