"""Max pooling on a CPU: torch's numbers, in the models that use it."""

import pytest
import torch
import torch.nn.functional as F
from detectron2.modeling.backbone.resnet import BasicStem
from torch import nn

from d2video.layers import max_pool
from d2video.layers.max_pool import max_pool2d, use_max_pool2d


def values_and_gradient(pool, x):
    x = x.clone().requires_grad_()
    pooled = pool(x, 3, 2, 1)
    pooled.backward(torch.randn(pooled.shape, generator=torch.Generator().manual_seed(1)))
    assert pooled.is_contiguous()
    assert x.grad.is_contiguous()
    return pooled.detach(), x.grad


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_numbers_are_those_of_torch(dtype):
    torch.manual_seed(0)
    x = torch.randn(2, 5, 9, 12).relu()  # most windows have several largest values, 0
    x[0, 0, 4, 4] = torch.nan
    found = values_and_gradient(max_pool2d, x.to(dtype))
    expected = values_and_gradient(F.max_pool2d, x.to(dtype))
    for own, theirs in zip(found, expected):
        torch.testing.assert_close(own, theirs, rtol=0, atol=0, equal_nan=True)


def test_models_use_it(monkeypatch):
    calls = []

    def counted(x, *sizes):
        calls.append(sizes)
        return F.max_pool2d(x, *sizes)

    model = nn.Sequential(
        BasicStem(3, 4), nn.MaxPool2d(2), nn.MaxPool2d(3, 1, 1), nn.MaxPool2d(2, ceil_mode=True)
    )
    x = torch.randn(1, 3, 36, 36)
    expected = model(x)
    use_max_pool2d(model)
    assert torch.equal(model(x), expected)
    monkeypatch.setattr(max_pool, "max_pool2d", counted)
    assert torch.equal(model(x), expected)
    assert calls == [(3, 2, 1), (2, 2, 0), (3, 1, 1)]
    assert isinstance(model[0], BasicStem)
