"""Multi-head attention against torch's own, with its parameters."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from d2video.layers import MultiheadAttention, TransformerEncoderLayer


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("which", ["qqq", "qqv", "qkk", "qkv", "qkq"])
def test_equals_torch(which, bias, monkeypatch):
    """Whichever of query, key and value are one object; those that are neighbours share a product."""
    torch.manual_seed(0)
    theirs = nn.MultiheadAttention(16, 4, bias=bias, batch_first=True)
    ours = MultiheadAttention(16, 4, bias=bias)
    for name, parameter in theirs.named_parameters():
        if name.endswith("bias"):
            nn.init.normal_(parameter)
    ours.load_state_dict(theirs.state_dict())
    tensors = {name: torch.randn(2, 7, 16) for name in "qkv"}
    inputs = [tensors[name] for name in which]
    expected = theirs(*inputs, need_weights=False)[0]
    calls = []
    linear = F.linear
    monkeypatch.setattr(F, "linear", lambda *args: calls.append(args) or linear(*args))
    # Of order 1 in float32.
    torch.testing.assert_close(ours(*inputs), expected, rtol=0, atol=1e-6)
    products = {"qqq": 1, "qqv": 2, "qkk": 2, "qkv": 3, "qkq": 3}[which]
    assert len(calls) == products + 1  # and that of the output


def test_encoder_layer_without_positions():
    torch.manual_seed(0)
    for pre_norm in (False, True):
        layer = TransformerEncoderLayer(16, 4, 32, 0.0, pre_norm, attention_bias=False)
        assert not [name for name, _ in layer.named_parameters() if "in_proj_bias" in name]
        x = torch.randn(2, 5, 16)
        zeros = torch.zeros_like(x)
        # One product of three in place of two: other sums in another order.
        torch.testing.assert_close(layer(x, None, None), layer(x, zeros, None), rtol=0, atol=1e-6)
