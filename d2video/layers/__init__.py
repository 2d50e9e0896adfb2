"""nn.Modules without a task."""

from d2video.layers.attention import MultiheadAttention
from d2video.layers.deform_conv import DeformConv, deform_conv2d_sampled
from d2video.layers.position_encoding import (
    LearnedPositionEncoding,
    NoPositionEncoding,
    SinePositionEncoding,
)
from d2video.layers.transformer import (
    FeedForwardLayer,
    Transformer,
    TransformerDecoderLayer,
    TransformerEncoderLayer,
)

__all__ = [
    "DeformConv",
    "FeedForwardLayer",
    "LearnedPositionEncoding",
    "MultiheadAttention",
    "NoPositionEncoding",
    "SinePositionEncoding",
    "Transformer",
    "TransformerDecoderLayer",
    "TransformerEncoderLayer",
    "deform_conv2d_sampled",
]
