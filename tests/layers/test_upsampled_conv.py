"""A convolution of an upsampled map, against its definition."""

import pytest
import torch
import torch.nn.functional as F

from d2video.layers.upsampled_conv import conv_of_upsampled

# Doubled, cut at the bottom, at the right or both, one pixel; and sizes that are not the double.
SIZES = [
    ((3, 4), (6, 8)),
    ((3, 4), (5, 8)),
    ((3, 4), (6, 7)),
    ((3, 4), (5, 7)),
    ((2, 2), (3, 3)),
    ((1, 1), (2, 2)),
    ((1, 3), (1, 6)),
    ((3, 1), (6, 1)),
    ((3, 4), (3, 4)),
    ((3, 4), (8, 9)),
]


@pytest.mark.parametrize(("size", "wanted"), SIZES)
def test_equals_its_definition(size, wanted):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 3, *size, generator=generator).double().requires_grad_()
    weight = torch.randn(5, 3, 3, 3, generator=generator).double().requires_grad_()
    expected = F.conv2d(F.interpolate(x, size=wanted, mode="nearest"), weight, padding=1)
    found = conv_of_upsampled(x, wanted, weight)
    torch.testing.assert_close(found, expected)
    upstream = torch.randn(expected.shape, generator=generator).double()
    for ours, theirs in zip(
        torch.autograd.grad(found, (x, weight), upstream),
        torch.autograd.grad(expected, (x, weight), upstream),
    ):
        torch.testing.assert_close(ours, theirs)


def test_doubling_makes_no_upsampled_map(monkeypatch):
    monkeypatch.setattr(F, "interpolate", None)
    x, weight = torch.randn(1, 3, 4, 4), torch.randn(5, 3, 3, 3)
    assert conv_of_upsampled(x, (7, 8), weight).shape == (1, 5, 7, 8)
