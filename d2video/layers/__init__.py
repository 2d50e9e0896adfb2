from .attention import MultiheadAttention
from .mlp import MLP
from .position_encoding import SinePositionEncoding
from .transformer import Transformer, TransformerDecoderLayer, TransformerEncoderLayer

__all__ = [
    "MLP",
    "MultiheadAttention",
    "SinePositionEncoding",
    "Transformer",
    "TransformerDecoderLayer",
    "TransformerEncoderLayer",
]
