"""Batch norms within the weights of convolutions, and layouts of maps."""

import copy

import pytest
import torch
from detectron2.layers import Conv2d, FrozenBatchNorm2d
from detectron2.modeling.backbone.resnet import BasicBlock
from torch import nn

from d2video.layers.group_norm import GroupNorm
from d2video.modeling.folded_norm import FoldedConv2d, fold_norms
from d2video.modeling.pixels import channels_last


def conv(norm: str, **options) -> Conv2d:
    """With statistics and weights that make a difference, in float64."""
    torch.manual_seed(0)
    block = BasicBlock(8, 8, norm=norm, **options).double().eval()
    found = block.conv1
    for tensor in (*found.norm.parameters(), *found.norm.buffers()):
        if tensor.is_floating_point():
            tensor.data.uniform_(0.5, 2.0)
    return found


def folded(plain: Conv2d) -> Conv2d:
    other = copy.deepcopy(plain)
    fold_norms(nn.Sequential(other))
    assert type(other) is FoldedConv2d
    assert other.state_dict().keys() == plain.state_dict().keys()
    return other


def batch_norms(monkeypatch) -> list:
    """A list that grows with each batch norm that runs by itself."""
    ran = []
    for kind in (FrozenBatchNorm2d, nn.BatchNorm2d):
        forward = kind.forward
        monkeypatch.setattr(
            kind, "forward", lambda self, x, forward=forward: ran.append(x) or forward(self, x)
        )
    return ran


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("norm", ["FrozenBN", "BN"])
def test_equals_the_norm_after_the_convolution(norm, stride, monkeypatch):
    plain = conv(norm, stride=stride)
    ours = folded(plain)
    ran = batch_norms(monkeypatch)
    inputs = torch.randn(2, 8, 24, 20).double()
    outputs = {}
    for each in (plain, ours):
        x = inputs.clone().requires_grad_()
        outputs[each] = each(x)
        outputs[each].square().sum().backward()
        outputs[each, "x"] = x.grad
    assert len(ran) == 1, "the folded one must not run its norm"
    torch.testing.assert_close(outputs[ours], outputs[plain])
    torch.testing.assert_close(outputs[ours, "x"], outputs[plain, "x"])
    torch.testing.assert_close(ours.weight.grad, plain.weight.grad)
    for parameter, other in zip(ours.norm.parameters(), plain.norm.parameters()):
        torch.testing.assert_close(parameter.grad, other.grad)


def test_statistics_that_learn_and_small_maps_keep_their_norm(monkeypatch):
    ours = folded(conv("BN")).train()
    ran = batch_norms(monkeypatch)
    before = ours.norm.running_mean.clone()
    ours(torch.randn(2, 8, 24, 20).double())
    assert len(ran) == 1
    assert not torch.equal(ours.norm.running_mean, before)
    ours.eval()
    ours(torch.randn(1, 8, 9, 8).double())  # as many positions as weights of a channel
    assert len(ran) == 2
    ours(torch.randn(1, 8, 9, 9).double())
    assert len(ran) == 2


def test_new_weights_and_statistics_count_at_once():
    """Also those that are written past torch's counters of changes."""
    ours = folded(conv("FrozenBN"))
    x = torch.randn(1, 8, 24, 20).double()
    first = ours(x)
    ours.weight.data.mul_(2)
    ours.norm.bias.data.zero_()
    ours.norm.running_mean.data.zero_()
    shift = ours.norm.weight * 0
    assert not torch.allclose(ours(x), first)
    torch.testing.assert_close(
        ours(x), ours.norm(torch.conv2d(x, ours.weight, padding=1)) + shift[0]
    )


def test_group_norm_of_channels_last():
    """Torch's own is off by 0.003 there."""
    torch.manual_seed(0)
    x = torch.randn(2, 8, 16, 16) + 100
    ours = GroupNorm(4, 8)(x.contiguous(memory_format=torch.channels_last))
    expected = nn.GroupNorm(4, 8).double()(x.double())
    torch.testing.assert_close(ours.double(), expected, rtol=0, atol=1e-4)


def test_images_are_laid_out_for_inference_on_a_cpu():
    images = torch.randn(2, 3, 300, 300)
    assert channels_last(images) is images
    with torch.no_grad():
        small = images[:1, :, :200]
        assert channels_last(small) is small
        assert channels_last(images).is_contiguous(memory_format=torch.channels_last)
        clips = channels_last(images[:, :, None])
        assert clips.is_contiguous(memory_format=torch.channels_last_3d)
        assert channels_last(images.to("meta")).is_contiguous()
