from .attention import MultiheadAttention
from .deform_conv import DeformConv, deform_conv2d_sampled
from .mlp import MLP
from .position_encoding import LearnedPositionEncoding, SinePositionEncoding
from .transformer import (
    FeedForwardMixin,
    Transformer,
    TransformerDecoderLayer,
    TransformerEncoderLayer,
)

__all__ = [
    "MLP",
    "DeformConv",
    "FeedForwardMixin",
    "LearnedPositionEncoding",
    "MultiheadAttention",
    "SinePositionEncoding",
    "Transformer",
    "TransformerDecoderLayer",
    "TransformerEncoderLayer",
    "deform_conv2d_sampled",
]
