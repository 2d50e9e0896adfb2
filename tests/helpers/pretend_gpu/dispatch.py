"""What happens to an operation: on which device it runs, whether it may, and for what it waits."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

from tests.helpers.pretend_gpu import waits
from tests.helpers.pretend_gpu.tensor import DEVICE, PretendTensor

# Beside those that torch tags as pointwise: they take a CPU tensor without axes as a number.
_TAKE_NUMBERS = {
    *("where", "masked_fill", "masked_fill_", "fill", "fill_", "lerp", "lerp_"),
    *("index_put", "index_put_", "_index_put_impl_"),
}
_INDEXING = ("index", "index_put", "index_put_", "_index_put_impl_", "_unsafe_index")
# Softmax and its backward pass change types on the way on a GPU only.
_SOFTMAX = {"_softmax": torch.softmax, "_log_softmax": torch.log_softmax}
_SOFTMAX_BACKWARD = ("_softmax_backward_data", "_log_softmax_backward_data")

# What raises under torch.use_deterministic_algorithms, of what models use; and torchvision's operator, which
# adds in any order without saying so.
_IN_ANY_ORDER = {
    *("grid_sampler_2d_backward", "upsample_bilinear2d_backward", "upsample_bicubic2d_backward"),
    *("_adaptive_avg_pool2d_backward", "reflection_pad2d_backward", "replication_pad2d_backward"),
    *("put_", "histc", "median", "_deform_conv2d_backward"),
}

# Host memory that is pinned, by its address; kept alive, so that no address is used again.
_pinned: dict[int, Tensor] = {}


def told_device() -> torch.device:
    """The device that C++ code is told of.

    Autocast must see CUDA. Where it is off, nothing needs to, and the backward pass does without a device.
    """
    return DEVICE if autocast.enabled else torch.device("meta")


class _Autocast(threading.local):
    """Of each thread, whether autocast for CUDA is on. Within an operation's own rule torch says no."""

    enabled = False


autocast = _Autocast()


class _AllOperations(TorchDispatchMode):
    """Also of operations that take no tensor on the device, such as those that make one."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return dispatch(func, args, kwargs or {})


@contextmanager
def pretending() -> Iterator[None]:
    """The device is there; see :mod:`.process` for what the process needs before."""
    before = torch._C._only_lift_cpu_tensors()
    torch._C._set_only_lift_cpu_tensors(True)  # torch.tensor(..., device="cuda") arrives here
    try:
        with _AllOperations():
            yield
    finally:
        torch._C._set_only_lift_cpu_tensors(before)


def dispatch(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """Run an operation.

    Raises:
        RuntimeError: it mixes devices as CUDA does not allow, or is not deterministic though it should be.
    """
    if func is torch.ops.prim.device.default:
        return told_device()
    name, overload = func._schema.name.partition("::")[2], func._overloadname
    tensors = [each for each in tree_flatten((args, kwargs))[0] if isinstance(each, Tensor)]
    ours = [tensor for tensor in tensors if isinstance(tensor, PretendTensor)]
    if name in ("_to_copy", "copy_"):
        return _transfer(func, args, kwargs, name)
    if name == "_pin_memory":
        pinned = args[0].clone()
        _pinned[pinned.data_ptr()] = pinned
        return pinned
    if name == "is_pinned":
        return _is_pinned(args[0])
    device = kwargs.get("device")
    # C++ code makes tensors like those it has on what it takes for their device.
    makes_ours = device is not None and torch.device(device).type in ("cuda", "meta")
    on_device = makes_ours or (bool(ours) and device is None)
    if not on_device and not ours:
        return func(*args, **kwargs)
    _check_devices(func, name, args, [t for t in tensors if not isinstance(t, PretendTensor)])
    if name in _IN_ANY_ORDER and torch.are_deterministic_algorithms_enabled():
        raise RuntimeError(f"{name}_cuda does not have a deterministic implementation")
    if what := waits.of_operation(name, overload, args, kwargs):
        waits.record(what)
    if device is not None:
        kwargs = {**kwargs, "device": torch.device("cpu"), "pin_memory": False}
    real_args, real_kwargs = tree_map(_real, (args, kwargs))
    if name in _SOFTMAX and args[2]:
        found = _SOFTMAX[name](real_args[0].float(), args[1])
    elif name in _SOFTMAX_BACKWARD and args[3] != args[0].dtype:
        gradient, output, axis, dtype = real_args
        found = func(gradient.float(), output.float(), axis, torch.float32).to(dtype)
    else:
        found = func(*real_args, **real_kwargs)
    if not on_device:
        return found
    # What an operation changes, it gives back itself.
    known = {id(tensor.on_cpu): tensor for tensor in ours}
    return tree_map(lambda each: _pretended(each, known), found)


def _real(value: Any) -> Any:
    return value.on_cpu if isinstance(value, PretendTensor) else value


def _pretended(value: Any, known: dict[int, PretendTensor]) -> Any:
    if not isinstance(value, Tensor) or isinstance(value, PretendTensor):
        return value
    if id(value) not in known:
        return PretendTensor(value)
    tensor = known[id(value)]
    if tensor.shape != value.shape:
        raise NotImplementedError("an operation that changes a tensor's shape in place")
    return tensor


def _check_devices(func: Any, name: str, args: Any, on_host: list[Tensor]) -> None:
    """Of an operation on the device, with its tensors in host memory."""
    takes_numbers = torch.Tag.pointwise in func.tags or name in _TAKE_NUMBERS
    if name in _INDEXING and isinstance(args[0], PretendTensor):
        for index in args[1]:
            if isinstance(index, Tensor) and not isinstance(index, PretendTensor):
                waits.record("upload of an index")
        indices = {id(index) for index in args[1]}
        on_host = [tensor for tensor in on_host if id(tensor) not in indices]
    for tensor in on_host:
        # The optimizers keep the number of their steps on the host.
        if tensor.dim() or not (takes_numbers or name.startswith("_foreach")):
            raise RuntimeError(
                "Expected all tensors to be on the same device, but found at least two devices, cuda:0 "
                f"and cpu: {name} of a CPU tensor {tuple(tensor.shape)} ({waits.line()})"
            )


def _transfer(func: Any, args: Any, kwargs: dict[str, Any], name: str) -> Any:
    """A copy, perhaps to another device."""
    if name == "copy_":
        target, source = args[:2]
        to_device = isinstance(target, PretendTensor)
        non_blocking = len(args) > 2 and args[2]
    else:
        source, device = args[0], kwargs.get("device")
        non_blocking = kwargs.get("non_blocking", False)
        to_device = isinstance(source, PretendTensor)
        if device is not None:
            to_device = torch.device(device).type != "cpu"
    from_device = isinstance(source, PretendTensor)
    if to_device != from_device and source.numel():
        if from_device:
            if not non_blocking:  # what the host reads before it has waited is not noticed here
                waits.record("download")
        elif not _is_pinned(source):
            waits.record("upload of memory that is not pinned")
        elif not non_blocking:
            waits.record("upload that blocks")
    if name == "copy_":
        func(_real(target), _real(source))
        return target
    options = {k: v for k, v in kwargs.items() if k not in ("device", "non_blocking", "pin_memory")}
    copied = func(_real(source), **options)
    return PretendTensor(copied) if to_device else copied


def _is_pinned(tensor: Tensor) -> bool:
    return not isinstance(tensor, PretendTensor) and tensor.untyped_storage().data_ptr() in _pinned
