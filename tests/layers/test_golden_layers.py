"""Layers against arrays of the official implementations."""

import pytest
import torch
from torchvision.ops import deform_conv2d

from d2video.layers import SinePositionEncoding, Transformer, deform_conv2d_sampled
from d2video.structures.boxes import box_cxcywh_to_xyxy, box_iou, generalized_box_iou
from tests.helpers.golden_io import load


@pytest.mark.parametrize("norm", ["post", "pre"])
@torch.no_grad()
def test_transformer(norm):
    weights, data, config = load("detr_transformer_unit.npz", f"{norm}.")
    source = data["in.x"].flatten(2).transpose(1, 2)
    pos = data["in.pos"].flatten(2).transpose(1, 2)
    layers = {name.split(".")[0] + name.split(".")[2] for name in weights if ".layers." in name}
    transformer = Transformer(
        width=source.shape[-1],
        num_heads=config["nhead"],
        num_encoder_layers=sum(name.startswith("encoder") for name in layers),
        num_decoder_layers=sum(name.startswith("decoder") for name in layers),
        feedforward=len(weights["encoder.layers.0.linear1.weight"]),
        pre_norm=norm == "pre",
    ).eval()
    transformer.load_state_dict(weights)
    mask = data["in.mask"].flatten(1).bool()
    memory = transformer.encode(source, pos, mask)
    query_pos = data["in.query"].expand(len(source), -1, -1)
    outputs, _ = transformer.decode(torch.zeros_like(query_pos), query_pos, memory, pos, mask)
    torch.testing.assert_close(outputs, data["out.hs"], rtol=0, atol=2e-5)
    golden_memory = data["out.memory"].flatten(2).transpose(1, 2)
    torch.testing.assert_close(memory, golden_memory, rtol=0, atol=2e-5)


POSITION_CASES = ["nopad_h96", "pad_h96_b2", "varyframes_h24", "h384_t36", "allpadframe_h12"]


@pytest.mark.parametrize("case", POSITION_CASES)
def test_positions_in_three_dimensions(case):
    _, data, _ = load("vistr_pos3d.npz")
    golden = data[f"{case}.out"].permute(0, 1, 3, 4, 2)
    padding = data[f"{case}.mask"].view(golden.shape[:-1])
    encoding = SinePositionEncoding(golden.shape[-1], 3)
    # One float32 step of the angle, at most 36 frames or 2 pi.
    torch.testing.assert_close(encoding(padding), golden, rtol=0, atol=5e-6)


def test_box_overlaps():
    _, data, _ = load("vistr_box_ops.npz")
    a, b = box_cxcywh_to_xyxy(data["a_cxcywh"]), box_cxcywh_to_xyxy(data["b_cxcywh"])
    # Degenerate boxes have areas of 1e-7 and less, next to eps 1e-6: rounding of the areas shows.
    close = {"rtol": 1e-5, "atol": 1e-6}
    torch.testing.assert_close(box_iou(a, b, 1e-6)[0], data["multi_iou"], **close)
    torch.testing.assert_close(box_iou(a[:, None], b, 1e-6)[0], data["box_iou"], **close)
    torch.testing.assert_close(generalized_box_iou(a[:, None], b, 1e-6), data["giou"], **close)


def test_deformable_convolution():
    _, data, _ = load("vistr_dcn.npz")
    sampled = deform_conv2d_sampled(data["x"], data["offset"], data["weight"])
    torch.testing.assert_close(sampled, data["out"], rtol=0, atol=5e-6)
    torch.testing.assert_close(sampled.double(), data["out_naive64"], rtol=0, atol=5e-6)


@pytest.mark.parametrize("size", [(1, 1), (1, 5), (6, 1), (2, 3)], ids=str)
def test_deformable_convolution_on_small_maps_equals_torchvision(size):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 3, *size, generator=generator).double()
    # Offsets of up to a few pixels: many samples lie partly or wholly outside.
    offset = 1.5 * torch.randn(2, 18, *size, generator=generator).double()
    weight = torch.randn(4, 3, 3, 3, generator=generator).double()
    ours = deform_conv2d_sampled(x, offset, weight)
    torch.testing.assert_close(ours, deform_conv2d(x, offset, weight, padding=1))


def test_deformable_convolution_gradients_equal_torchvision():
    _, data, _ = load("vistr_dcn.npz")
    inputs = [data[name].double().requires_grad_() for name in ("x", "offset", "weight")]
    upstream = torch.randn(data["out"].shape, generator=torch.Generator().manual_seed(0)).double()
    ours = torch.autograd.grad(deform_conv2d_sampled(*inputs), inputs, upstream)
    theirs = torch.autograd.grad(deform_conv2d(*inputs, padding=1), inputs, upstream)
    for mine, other in zip(ours, theirs):
        torch.testing.assert_close(mine, other, rtol=1e-9, atol=1e-9)
