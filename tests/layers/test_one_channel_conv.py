"""The convolution to one channel against the one of torch."""

import pytest
import torch
import torch.nn.functional as F

from d2video.layers.one_channel_conv import OneChannelConv2d


@pytest.mark.parametrize("size", [(5, 7), (1, 1), (1, 4)])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_outputs_and_gradients(size, layout):
    torch.manual_seed(0)
    conv = OneChannelConv2d(6).double()
    x = torch.randn(3, 6, *size, dtype=torch.float64).contiguous(memory_format=layout)
    x.requires_grad_()
    found, expected = conv(x), F.conv2d(x, conv.weight, conv.bias, padding=1)
    torch.testing.assert_close(found, expected)
    grad = torch.randn_like(expected)
    inputs = (x, conv.weight, conv.bias)
    for a, b in zip(
        torch.autograd.grad(found, inputs, grad), torch.autograd.grad(expected, inputs, grad)
    ):
        torch.testing.assert_close(a, b)


def test_bfloat16_under_autocast():
    conv = OneChannelConv2d(6)
    x = torch.randn(2, 6, 4, 5)
    with torch.autocast("cpu", torch.bfloat16):
        found = conv(x)
    # bfloat16 has 8 bits.
    torch.testing.assert_close(found.float(), conv(x), rtol=0, atol=0.03)
