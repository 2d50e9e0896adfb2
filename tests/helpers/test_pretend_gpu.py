"""The pretended GPU finds faults that are planted, each with its line."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch.utils.checkpoint import checkpoint

from tests.helpers.pretend_gpu import on_pretend_gpu, recorded

HERE = "tests/helpers/test_pretend_gpu.py:"


def on_device(*shape):
    return torch.ones(*shape, device="cuda")


def found(function):
    """The waits of a function, and whether they are of its lines."""
    on_device(1)
    recorded.clear()
    function()
    first = function.__code__.co_firstlineno
    lines = range(first, first + 4)
    assert all(wait.line in {f"{HERE}{line}" for line in lines} for wait in recorded), recorded
    return [wait.what for wait in recorded]


def raised(function):
    try:
        function()
    except (RuntimeError, TypeError) as error:
        return f"{type(error).__name__}: {error}"
    return ""


def cat_of_both():
    return torch.cat([on_device(2), torch.ones(2)])


def linear_without_moving():
    return torch.nn.Linear(3, 3)(on_device(2, 3))


def index_on_the_device():
    return torch.ones(3)[torch.zeros(1, dtype=torch.int64, device="cuda")]


def to_numpy():
    return on_device(2).numpy()


def numpy_of_it():
    return np.asarray(on_device(2))


def numbers_of_the_host():
    """What CUDA allows: numbers without axes, and copies."""
    number = torch.tensor(2.0)
    values = on_device(3) * number + torch.where(on_device(3) > 0, number, 0.0)
    values[0] = number
    values.copy_(torch.ones(3))
    return values.cpu().numpy()


FAULTS = [cat_of_both, linear_without_moving, index_on_the_device, to_numpy, numpy_of_it]


def all_faults():
    return [raised(fault) for fault in [*FAULTS, numbers_of_the_host]]


def test_devices_that_meet():
    *errors, allowed = on_pretend_gpu(all_faults)
    assert allowed == ""
    for fault, error in zip(FAULTS, errors, strict=True):
        words = "TypeError: can't convert cuda:0" if "numpy" in fault.__name__ else "same device"
        assert words in error, (fault.__name__, error)
        assert f"{HERE}{fault.__code__.co_firstlineno + 1}" in error, (fault.__name__, error)


def hidden_item():
    if (on_device(2) > 0).all():
        return


def by_a_mask():
    values = on_device(3)
    return values[values > 0]


def sizes_unknown():
    return on_device(3).nonzero(), on_device(2).long().repeat_interleave(on_device(2).long())


def downloads():
    return on_device(2).tolist(), on_device(2).cpu(), on_device(2).max().item()


def uploads():
    device = on_device(1).device
    return torch.tensor([1, 2], device=device), torch.ones(2).to(device), on_device(3)[[0, 2]]


def blocking_upload():
    return torch.ones(2).pin_memory().to("cuda")


def several_downloads():
    on_device(2).to("cpu", non_blocking=True)
    on_device(2).to("cpu", non_blocking=True)
    torch.cuda.current_stream().synchronize()


def without_waiting():
    pinned = torch.ones(2).pin_memory()[:1]
    values = pinned.to("cuda", non_blocking=True).repeat(3)
    values[values > 0] = 2.0
    return values.repeat_interleave(on_device(3).long(), output_size=3).sum()


_UNPINNED = "upload of memory that is not pinned"
WAITING = [
    hidden_item,
    by_a_mask,
    sizes_unknown,
    downloads,
    uploads,
    blocking_upload,
    several_downloads,
    without_waiting,
]


def all_waits():
    return [found(function) for function in WAITING]


def test_waits():
    assert on_pretend_gpu(all_waits) == [
        ["_local_scalar_dense"],
        ["index by a mask"],
        ["nonzero", "repeat_interleave without output_size"],
        ["tolist", "download", "_local_scalar_dense"],
        [_UNPINNED, _UNPINNED, "upload of an index"],
        ["upload that blocks"],
        ["synchronize"],
        [],
    ]


def mixed_precision_step():
    """As on the CPU in float32: a recomputed layer, autocast's types, the gradient and an update."""
    torch.manual_seed(0)
    layer = torch.nn.Linear(4, 4).to("cuda")
    with torch.autocast("cuda", torch.bfloat16):
        hidden = checkpoint(layer, on_device(2, 4), use_reentrant=False)
        attended = F.scaled_dot_product_attention(hidden[None], hidden[None], hidden[None])
        output = F.layer_norm(attended, (4,)).softmax(-1)
    output[..., 0].sum().backward()
    before = layer.weight.detach().clone()
    torch.optim.AdamW(layer.parameters(), 0.1).step()
    changed = (before - layer.weight).abs().max()
    return hidden.dtype, output.dtype, str(layer.weight.grad.device), changed.item()


def test_autocast_and_backward_pass():
    hidden, output, device, changed = on_pretend_gpu(mixed_precision_step)
    assert (hidden, output) == (torch.bfloat16, torch.float32)
    assert device == "cuda:0"
    assert changed == pytest.approx(0.1, rel=0.1)
