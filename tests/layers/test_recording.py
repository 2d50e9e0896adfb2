"""Recorded attention against what the modules compute with it."""

import pytest
import torch

from d2video.layers import MultiheadAttention, Transformer
from d2video.layers.ms_deform_attn import MSDeformAttn, sample_and_sum
from d2video.layers.recording import record_attention
from d2video.utils.errors import UserError

# Softmax weights in float32, and sums of seven of them.
CLOSE = {"rtol": 0, "atol": 1e-6}


@pytest.mark.parametrize("masked", [False, True])
def test_weights_of_rows_are_those_of_the_kernel(masked):
    torch.manual_seed(0)
    attention = MultiheadAttention(16, 4).eval()
    query, memory = torch.randn(2, 7, 16), torch.randn(2, 9, 16)
    padding = torch.zeros(2, 9, dtype=torch.bool)
    padding[1, 6:] = True
    hidden = torch.rand(7, 9) < 0.3
    hidden[:, 0] = False
    masks = {"key_padding": padding, "hidden": hidden} if masked else {}
    with torch.no_grad(), record_attention(attention) as calls:
        output = attention(query, memory, memory, **masks)
    (call,) = calls[""]
    rows = torch.tensor([5, 2])
    value = attention._split_heads(attention._project((query, memory, memory))[2])
    for item in range(2):
        weights = call.weights(rows, item)
        assert weights.shape == (4, 2, 9)
        if masked:
            assert not weights[:, hidden[rows] | padding[item]].any()
        attended = (weights @ value[item]).transpose(0, 1).flatten(1)
        torch.testing.assert_close(attention.out_proj(attended), output[item, rows], **CLOSE)


@pytest.mark.parametrize("reference_size", [2, 4])
@pytest.mark.parametrize("seen", [None, torch.tensor([[0, 1], [1, 0]])])
def test_points_are_those_of_deformable_attention(seen, reference_size):
    torch.manual_seed(0)
    sizes = [(4, 5), (2, 3)]
    levels = 2 if seen is None else 4
    attention = MSDeformAttn(16, num_levels=levels, num_heads=4, num_points=3)
    torch.nn.init.normal_(attention.attention_weights.weight)
    query, tokens = torch.randn(2, 6, 16), torch.randn(2, 26, 16)
    reference = torch.rand(2, 6, levels, reference_size)
    with torch.no_grad(), record_attention(attention) as calls:
        output = attention(query, reference, tokens, sizes, None, seen)
    (call,) = calls[""]
    rows = torch.tensor([4, 0, 1])
    value = attention.value_proj(tokens).unflatten(-1, (4, -1))
    if seen is not None:
        value = value[seen].flatten(1, 2)
    for item in range(2):
        locations, weights = call.points(rows, item)
        assert locations.shape == (3, 4, levels, 3, 2)
        summed = sample_and_sum(value[item : item + 1], call.sizes, locations[None], weights[None])
        torch.testing.assert_close(attention.output_proj(summed)[0], output[item, rows], **CLOSE)


def test_records_by_name_and_leaves_nothing_behind():
    torch.manual_seed(0)
    transformer = Transformer(16, 2, 2, 3, 32, dropout=0.0).eval()
    source, pos, queries = torch.randn(1, 6, 16), torch.randn(1, 6, 16), torch.randn(1, 4, 16)
    for layer in transformer.decoder.layers:
        layer.compile(backend="eager")

    def run():
        memory = transformer.encode(source, pos, None)
        return transformer.decode(queries, queries, memory, pos, None)[0]

    with torch.no_grad():
        before = run()
        with record_attention(transformer, "decoder.layers.*.multihead_attn") as calls:
            run()
            recorded = run()
    assert list(calls) == [f"decoder.layers.{index}.multihead_attn" for index in range(3)]
    assert all(len(each) == 2 for each in calls.values())
    assert torch.equal(before, recorded)
    with torch.no_grad():
        run()
    assert all(len(each) == 2 for each in calls.values())
    with pytest.raises(ZeroDivisionError), record_attention(transformer):
        raise ZeroDivisionError
    assert not [m for m in transformer.modules() if m._forward_pre_hooks]


@pytest.mark.parametrize(
    ("model", "patterns", "message"),
    [
        (torch.nn.Linear(2, 2), (), "Linear has no attention: choose a model with a transformer"),
        (Transformer(8, 2, 1, 1, 8), ("x.*",), r"Transformer has no attention called x\.\*"),
    ],
)
def test_a_model_without_attention(model, patterns, message):
    with pytest.raises(UserError, match=message), record_attention(model, *patterns):
        pass
