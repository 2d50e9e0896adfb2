"""Attention of query networks as maps and points, against what their layers compute."""

import pytest
import torch
import torch.nn.functional as F
from detectron2.modeling import build_model

from d2video.inspection import inspect, sections
from d2video.inspection.query_networks import QueryRun, record_queries
from d2video.layers.recording import DenseAttention, SampledAttention
from d2video.modeling.predictions import Predictions
from d2video.utils.errors import UserError
from tests.helpers.looks import look_at, random_frames
from tests.projects.DETR.tiny import make_image, tiny_cfg

DEFORMABLE = ["MODEL.DETR.DEFORMABLE_ENCODER.ENABLED", True]


def run_of(*options):
    torch.manual_seed(0)
    model = build_model(tiny_cfg(*options)).eval()
    canvas, _ = model.batch([make_image()["image"][None]])
    # As pages run it; with gradients, images lie in another layout and sums end in other last bits.
    with torch.no_grad():
        run = record_queries(model.network, lambda: model.predict(canvas[:, 0], None))
    return run, model, canvas


def explicit(attention, query, key):
    """The softmax of all rows, (h, N, S), of a MultiheadAttention on inputs (N, C) and (S, C)."""
    weight, bias = attention.in_proj_weight.chunk(3), attention.in_proj_bias.chunk(3)
    q, k = (F.linear(x, weight[i], bias[i]) for i, x in enumerate((query, key)))
    q, k = (x.unflatten(-1, (attention.num_heads, -1)).transpose(0, 1) for x in (q, k))
    return (q @ k.transpose(1, 2) / q.shape[-1] ** 0.5).softmax(-1)


def test_maps_equal_explicit_softmax():
    run, model, canvas = run_of()
    network = model.network
    seen = {}

    def note(name):
        return lambda module, args: seen.update({name: args})

    last = network.transformer.decoder.layers[-1].multihead_attn
    first = network.transformer.encoder.layers[0].self_attn
    hooks = [last.register_forward_pre_hook(note("d")), first.register_forward_pre_hook(note("e"))]
    with torch.no_grad():
        model.predict(canvas[:, 0], None)
    for hook in hooks:
        hook.remove()
    height, width = run.sizes[0]
    for maps, attention, args, rows in (
        (run.decoder_attention([4, 1]), last, seen["d"], [4, 1]),
        # The pixel in row 1 and column 1 of the map.
        (run.encoder_attention([(1.5 / width, 1.5 / height)], 0), first, seen["e"], [width + 1]),
    ):
        with torch.no_grad():
            weights = explicit(attention, args[0][0], args[1][0])[:, rows].transpose(0, 1)
        assert maps.weights.shape == (len(rows), 4, 1, height, width)
        # Sums of 32 products in float32.
        torch.testing.assert_close(maps.weights.flatten(2), weights, rtol=0, atol=1e-6)
        torch.testing.assert_close(maps.by_frame(0), torch.ones(1))


def test_tokens_of_coarse_levels_are_spread_over_their_pixels():
    call = DenseAttention(torch.zeros(1, 1, 1, 2), torch.zeros(1, 1, 10, 2))
    run = QueryRun(Predictions(*torch.zeros(2, 1)), [], [call], [(2, 4), (1, 2)])
    # Ten keys of equal weight; each pixel has its own and a quarter of the one above it.
    expected = torch.full((1, 1, 1, 2, 4), 0.1 + 0.1 / 4)
    torch.testing.assert_close(run.decoder_attention([0]).weights, expected)


def test_a_deformable_encoder_shows_its_points():
    run, *_ = run_of(*DEFORMABLE)
    assert isinstance(run.encoder[-1], SampledAttention)
    attention = run.encoder_attention([(0.5, 0.5), (0.1, 0.9)])
    assert attention.locations.shape[:3] == (2, 4, 1)
    torch.testing.assert_close(attention.weights.sum((-1, -2)), torch.ones(2, 4))
    # At the start the points of a token lie around it.
    assert (attention.locations[0].mean((0, 1, 2)) - 0.5).abs().max() < 0.3
    maps = run.decoder_attention([0])
    torch.testing.assert_close(maps.by_frame(0), torch.ones(1))


@pytest.mark.parametrize("layers", [(0, 1), (2, 3)])
def test_a_call_for_each_layer(layers):
    run, *_ = run_of("MODEL.DETR.ENC_LAYERS", layers[0], "MODEL.DETR.DEC_LAYERS", layers[1])
    assert (len(run.encoder), len(run.decoder)) == layers


def test_points_without_an_encoder(tmp_path):
    model = build_model(tiny_cfg("MODEL.DETR.ENC_LAYERS", 0)).eval()
    look = look_at(model, random_frames(1, 32, 40), tmp_path, points=[(3, 4)])
    with pytest.raises(UserError, match="the encoder of this model has no layers to look at"):
        inspect(look)


def test_a_model_without_a_page():
    with pytest.raises(UserError, match="Linear has no inspection: register one in its project"):
        sections(torch.nn.Linear(1, 1), None)
