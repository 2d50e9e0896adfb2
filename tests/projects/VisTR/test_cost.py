"""What a clip costs, counted on the meta device: no arithmetic is done, so figures are exact."""

import math

import pytest
import torch
import torch.nn.functional as F
from detectron2.modeling import build_model
from torch.utils.flop_counter import FlopCounterMode

from d2video.config import load_cfg
from d2video.layers import Transformer
from d2video.layers.level_geometry import LevelGeometry
from d2video.layers.multi_scale_encoder import MultiScaleEncoder
from d2video.modeling.losses import mask_loss_sums
from d2video.projects import register_all

R50 = "configs/VisTR/vistr_R50_ytvis2019.yaml"
CLIP = (36, 3, 300, 540)  # the official training size


def flash_attention(query, key, value, attn_mask=None, dropout_p=0.0):
    """The kernel that CUDA takes. On the meta device torch would take the one that holds all scores."""
    assert attn_mask is None, "an unpadded batch needs no mask"
    return torch.ops.aten._scaled_dot_product_efficient_attention(
        query, key, value, None, True, dropout_p
    )[0]


def deform_conv_flops(x, weight, *args, out_shape=None, **kwargs) -> int:
    """As the dense 3×3 convolution: 2 a multiply-add."""
    batch, _, height, width = x
    return 2 * batch * height * width * weight[0] * weight[1] * weight[2] * weight[3]


@pytest.fixture
def model(monkeypatch):
    register_all()
    monkeypatch.setattr(F, "scaled_dot_product_attention", flash_attention)
    return build_model(load_cfg(R50, ["MODEL.DEVICE", "meta"]))


def test_parameters_are_the_official_ones(model):
    # FrozenBatchNorm keeps its statistics as buffers (0.106 M).
    assert round(sum(p.numel() for p in model.parameters()) / 1e6, 3) == 57.116
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert round(trained / 1e6, 3) == 56.894


def test_forward_flops(model):
    """Official: 2174 GFLOP for 36 frames of 300×540. Ours computes all slots for at most 1970."""
    model.eval()
    network = model.network
    frames = torch.empty(1, *CLIP, device="meta")
    slots = torch.arange(10, device="meta")
    mapping = {torch.ops.torchvision.deform_conv2d: deform_conv_flops}
    with FlopCounterMode(display=False, custom_mapping=mapping) as counter:
        encoded = network(frames, None, all_layers=False).encoded
        network.masks(encoded, torch.zeros_like(slots), slots)
    gflop = counter.get_total_flops() / 1e9
    assert gflop <= 1970
    assert gflop > 1930  # the deformable convolutions (76) are among them


def saved_gigabytes(model) -> float:
    """Tensors kept for the backward pass of a training step with 5 instances, each storage once."""
    model.train()
    saved = {}

    def keep(tensor):
        if not isinstance(tensor, torch.nn.Parameter):
            saved[tensor.untyped_storage()._cdata] = tensor
        return tensor

    frames = torch.empty(1, *CLIP, device="meta")
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        encoded = model.network(frames, None).encoded
        slots = torch.arange(5, device="meta")
        masks = model.network.masks(encoded, torch.zeros_like(slots), slots)
        target = torch.empty(5 * CLIP[0], *CLIP[2:], dtype=torch.bool, device="meta")
        losses = mask_loss_sums(masks.flatten(0, 1), target)
    del losses
    return sum(t.untyped_storage().nbytes() for t in saved.values()) / 1e9


def test_memory_for_backward(model):
    """Official: 32.1 GB. Ours: at most 6 GB, before activation checkpointing."""
    assert saved_gigabytes(model) <= 6


def test_activation_checkpointing_keeps_less(model, monkeypatch):
    plain = saved_gigabytes(model)
    options = ["MODEL.DEVICE", "meta", "MODEL.ACTIVATION_CHECKPOINT", "True"]
    # 3.6 of 5.8 GB; what stays is the backbone's.
    assert saved_gigabytes(build_model(load_cfg(R50, options))) < 0.65 * plain


def grid_sample_flops(x, *args, out_shape=None, **kwargs) -> int:
    """Four pixels of two operations each, and the weighted sum over the points."""
    return 10 * math.prod(out_shape)


@pytest.mark.parametrize(
    ("sizes", "dense", "deformable"),
    [([(10, 17)], 504, 147), ([(19, 34), (10, 17)], 8715, 753)],
    ids=["res5", "res4_res5"],
)
def test_deformable_encoder_saves_what_dense_attention_pays_for_long_clips(
    sizes, dense, deformable, monkeypatch
):
    """GFLOP of six encoder layers, counted from one; each token looks at three frames."""
    monkeypatch.setattr(F, "scaled_dot_product_attention", flash_attention)
    num_tokens = sum(height * width for height, width in sizes)
    with torch.device("meta"):
        tokens = torch.empty(1, 36, num_tokens, 384)
        one = Transformer(384, 8, num_encoder_layers=1, num_decoder_layers=0).eval()
        other = MultiScaleEncoder(384, 8, 1, 2048, num_levels=len(sizes), num_frames=3).eval()
        geometry = LevelGeometry.of([torch.empty(1, 384, *size) for size in sizes], None)
    mapping = {torch.ops.aten.grid_sampler_2d: grid_sample_flops}
    counts = []
    for encode in (
        lambda: one.encode(tokens.flatten(1, 2), tokens.flatten(1, 2), None),
        lambda: other(tokens, tokens, geometry),
    ):
        with FlopCounterMode(display=False, custom_mapping=mapping) as counter:
            encode()
        counts.append(round(6 * counter.get_total_flops() / 1e9))
    assert counts == [dense, deformable]
