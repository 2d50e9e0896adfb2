"""A process in which torch takes the pretended GPU for a real one."""

import logging
import sys
import warnings
from collections.abc import Callable
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any, TypeVar

import torch
import torch.utils.checkpoint

from tests.helpers.fresh_process import call_fresh
from tests.helpers.pretend_gpu.dispatch import autocast, pretending
from tests.helpers.pretend_gpu.waits import record

T = TypeVar("T")


def on_pretend_gpu(function: Callable[..., T], *args: Any) -> T:
    """``function(*args)`` in a process with a pretended GPU, one thread and kernels that every processor
    has.

    Args:
        function: of a module; its arguments and its result can be pickled.

    Raises:
        Exception: what the function raises.
    """
    return call_fresh(_inside, function, args)


def _inside(function: Callable[..., T], args: tuple) -> T:
    _pretend_in_this_process()
    with pretending():
        return function(*args)


def _pretend_in_this_process() -> None:
    """For good: some of it cannot be taken back."""
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    cuda = torch.cuda
    for name, answer in {
        "is_available": True,
        "is_initialized": True,
        "device_count": 1,
        "current_device": 0,
        "is_bf16_supported": True,
        "is_current_stream_capturing": False,
        "get_device_capability": (9, 0),
        "_lazy_init": None,
        "set_rng_state": None,
    }.items():
        setattr(cuda, name, _answering(answer))
    cuda.get_rng_state = lambda *_: torch.zeros(16, dtype=torch.uint8)
    cuda.current_stream = lambda *_: SimpleNamespace(synchronize=lambda: record("synchronize"))
    cuda.device = cuda.device_of = lambda *_: nullcontext()
    # Triton's kernels need a driver, so models take the forms without it.
    sys.modules["triton"] = None  # type: ignore[assignment]
    # Without kernels of its own cuDNN cannot be pretended; torch has others for the same operations.
    torch.backends.cudnn.enabled = False
    # The guard of a device that is always there. Its backward pass asks the accelerator for its streams;
    # as soon as there is one that was registered in Python, that is the accelerator, and has no devices.
    torch._C._ensureCUDADeviceGuardSet()
    torch.utils.rename_privateuse1_backend("none")
    torch._register_device_module("none", cuda)
    torch._C._acc.register_python_privateuseone_hook(_Hooks())
    torch._C._acc.register_python_privateuseone_device_guard(_Guard())
    # A module that moves to the device takes new parameters: its old ones are of another class.
    torch.__future__.set_overwrite_module_params_on_conversion(True)
    torch.autocast.__enter__ = _then_noted(torch.autocast.__enter__)
    torch.autocast.__exit__ = _then_noted(torch.autocast.__exit__)
    torch.utils.checkpoint.get_device_states = lambda *_: ([], [])
    torch.utils.checkpoint.set_device_states = lambda *_, **__: None


def _answering(answer: Any) -> Callable[..., Any]:
    return lambda *_, **__: answer


def _then_noted(method: Callable[..., T]) -> Callable[..., T]:
    """A method of ``torch.autocast``; then :data:`.dispatch.autocast` knows what is on."""

    def noted(*args: Any) -> T:
        answer = method(*args)
        autocast.enabled = torch.is_autocast_enabled("cuda")
        return answer

    return noted


class _Hooks(torch._C._acc.PrivateUse1Hooks):
    def is_available(self) -> bool:
        return False

    def is_built(self) -> bool:
        return True

    def has_primary_context(self, device: int) -> bool:
        return False


class _Guard(torch._C._acc.DeviceGuard):
    def type_(self) -> Any:
        return torch._C._autograd.DeviceType.PrivateUse1
