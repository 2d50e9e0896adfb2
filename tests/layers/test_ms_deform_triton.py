"""The Triton kernels of deformable attention: in Triton's interpreter, compiled, and on a GPU.

``python -m tests.layers.test_ms_deform_triton`` compares in the interpreter; TRITON_INTERPRET must be set.
"""

import importlib.util
import logging
import os
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch

from d2video.layers import ms_deform_attn
from d2video.utils import triton_support
from tests.helpers import ROOT

needs_triton = pytest.mark.skipif(not importlib.util.find_spec("triton"), reason="no Triton")
# One pixel, one row and one column among the levels; 19 queries fill one program of a kernel, not two;
# heads of a width that is no power of 2.
LEVELS = [(3, 7), (1, 1), (1, 5), (4, 1), (2, 3)]
BATCH, QUERIES, HEADS, CHANNELS, POINTS = 2, 19, 2, 5, 2


def compare(device: str, spread: float) -> None:
    """Outputs and gradients of both forms; with a spread above 1 some points lie beyond the borders."""
    from d2video.layers import ms_deform_triton

    generator = torch.Generator().manual_seed(2)
    tokens = sum(height * width for height, width in LEVELS)
    shape = (BATCH, QUERIES, HEADS, len(LEVELS), POINTS)
    value = torch.randn(BATCH, tokens, HEADS, CHANNELS, generator=generator)
    locations = (torch.rand(*shape, 2, generator=generator) - 0.5) * spread + 0.5
    weights = torch.rand(shape, generator=generator)
    grad = torch.randn(BATCH, QUERIES, HEADS * CHANNELS, generator=generator).to(device)
    found = []
    for form in (ms_deform_triton.sample_and_sum, ms_deform_attn._sum_of_grid_samples):
        inputs = [x.to(device).requires_grad_() for x in (value, locations, weights)]
        out = form(inputs[0], LEVELS, *inputs[1:])
        found.append([out.detach(), *torch.autograd.grad(out, inputs, grad)])
    for name, kernel, plain in zip(("output", "value", "locations", "weights"), *found):
        assert plain.any(), name
        # Sums of up to 40 products in another order; gradients of locations are times the width, up to 7.
        torch.testing.assert_close(
            kernel, plain, rtol=1e-5, atol=1e-5, msg=lambda text, name=name: f"{name}: {text}"
        )


@needs_triton
def test_kernels_equal_the_plain_form():
    """In a process of its own, since Triton reads the variable when it is imported."""
    program = [sys.executable, "-m", "tests.layers.test_ms_deform_triton"]
    env = {**os.environ, "TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(program, cwd=ROOT, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "equal\n"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_kernels_on_a_gpu():
    compare("cuda", 1.5)


@needs_triton
@pytest.mark.parametrize("capability", [80, 90])
def test_kernels_compile_for_gpus(capability):
    """Down to machine code, which takes no GPU."""
    import triton
    from triton.backends.compiler import GPUTarget

    from d2video.layers import ms_deform_triton

    for kernel in (ms_deform_triton._forward, ms_deform_triton._backward):
        pointers = kernel.arg_names.index("tokens")
        signature = dict.fromkeys(kernel.arg_names[:pointers], "*fp32")
        signature |= {"levels": "*i32"}
        signature |= dict.fromkeys(("tokens", "queries", "heads", "width_of_head"), "i32")
        constants = {"LEVELS": 4, "POINTS": 4, "QUERIES": ms_deform_triton._QUERIES, "CHANNELS": 64}
        signature |= dict.fromkeys(constants, "constexpr")
        source = triton.compiler.ASTSource(kernel, signature, constants)
        assert triton.compile(source, target=GPUTarget("cuda", capability, 32)).asm["cubin"]


@pytest.fixture
def gpu(monkeypatch):
    """A GPU of capability 9.0, as far as `runs_on` asks."""
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    triton_support.runs_on.cache_clear()
    yield torch.device("cuda:0")
    triton_support.runs_on.cache_clear()


@needs_triton
def test_a_machine_that_cannot_compile_takes_the_plain_form(gpu, monkeypatch, caplog):
    import triton

    def fail():
        raise RuntimeError("Failed to find C compiler")

    driver = SimpleNamespace(active=SimpleNamespace(get_current_target=fail))
    monkeypatch.setattr(triton.runtime, "driver", driver)
    with caplog.at_level(logging.WARNING):
        assert not triton_support.runs_on(gpu)
    assert "Triton cannot compile here (Failed to find C compiler)" in caplog.text
    assert "gcc, python3-dev" in caplog.text


def test_without_triton(gpu, monkeypatch):
    monkeypatch.setitem(sys.modules, "triton", None)
    assert not triton_support.runs_on(gpu)


def test_old_gpus_and_other_devices(gpu, monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (6, 1))
    assert not triton_support.runs_on(gpu)
    assert not triton_support.runs_on(torch.device("cpu"))


@pytest.mark.parametrize("state", ["plain", "deterministic", "compiling"])
def test_when_the_kernels_are_chosen(state, monkeypatch):
    monkeypatch.setattr(triton_support, "runs_on", lambda device: True)
    if state == "deterministic":
        monkeypatch.setattr(torch, "are_deterministic_algorithms_enabled", lambda: True)
    if state == "compiling":
        monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    assert ms_deform_attn._has_kernel(torch.zeros(1)) == (state == "plain")


if __name__ == "__main__":
    compare("cpu", 1.5)  # some points lie beyond the borders
    print("equal")
