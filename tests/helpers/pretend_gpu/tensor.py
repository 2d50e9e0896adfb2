"""A tensor that says that it lies on the device."""

from typing import Any

import torch
from torch import Tensor

from tests.helpers.pretend_gpu import waits

DEVICE = torch.device("cuda", 0)
_NO_NUMPY = (
    "can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() to copy the tensor to host "
    "memory first."
)


class PretendTensor(Tensor):
    """Numbers of a CPU tensor under the name of another device.

    To torch's C++ code it is a tensor of the meta device, whose backward pass needs no device and no
    threads, with the dispatch keys of CUDA; see :func:`.dispatch.told_device`.

    Attributes:
        on_cpu: the CPU tensor, never a pretended one. Views share its memory as views do.
    """

    on_cpu: Tensor

    @staticmethod
    def __new__(cls, real: Tensor) -> "PretendTensor":
        assert not isinstance(real, PretendTensor)
        assert real.device.type == "cpu", real.device
        shape = torch.empty_strided(real.shape, real.stride(), dtype=real.dtype, device="meta")
        self: Any = torch.Tensor._make_subclass(
            cls, shape, False, dispatch_device=True, device_for_backend_keys=DEVICE
        )
        self.on_cpu = real
        return self

    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        from tests.helpers.pretend_gpu.dispatch import dispatch

        return dispatch(func, args, kwargs or {})

    @property
    def device(self) -> torch.device:  # type: ignore[override]
        return DEVICE

    @property
    def is_cuda(self) -> bool:  # type: ignore[override]
        return True

    @property
    def is_cpu(self) -> bool:  # type: ignore[override]
        return False

    @property
    def is_meta(self) -> bool:  # type: ignore[override]
        return False

    def get_device(self) -> int:
        return 0

    def __repr__(self, **_: Any) -> str:
        return f"on the pretended GPU: {self.on_cpu!r}"

    def __format__(self, spec: str) -> str:
        return format(self.item() if self.dim() == 0 else repr(self), spec)

    def __deepcopy__(self, memo: dict[int, Any]) -> "PretendTensor":
        copied: Any = self.detach().clone().requires_grad_(self.requires_grad)
        if isinstance(self, torch.nn.Parameter):
            copied = torch.nn.Parameter(copied, self.requires_grad)
        memo[id(self)] = copied
        return copied

    def to(self, *args: Any, **kwargs: Any) -> Tensor:
        device, dtype, non_blocking, memory_format = torch._C._nn._parse_to(
            *args, **{key: value for key, value in kwargs.items() if key != "copy"}
        )
        copies = kwargs.get("copy", False)
        stays = device is None or device.type == "cuda"
        if stays and not copies and dtype in (None, self.dtype) and memory_format is None:
            return self
        own = DEVICE if stays else device
        return super().to(own, dtype or self.dtype, non_blocking, copies)

    def __setitem__(self, index: Any, value: Any) -> None:
        if not isinstance(value, Tensor):  # of CUDA, torch keeps a number on the host
            value = torch.tensor(value, dtype=self.dtype)
        super().__setitem__(index, value)

    def cuda(self, *_: Any, **__: Any) -> "PretendTensor":
        return self

    def tolist(self) -> Any:
        waits.record("tolist")
        return self.on_cpu.tolist()

    def new_tensor(self, data: Any, dtype: torch.dtype | None = None, **_: Any) -> "PretendTensor":
        waits.record("new_tensor")
        return PretendTensor(torch.tensor(data, dtype=dtype or self.dtype))

    def numpy(self, **_: Any) -> Any:
        raise TypeError(f"{_NO_NUMPY} ({waits.line()})")

    def __array__(self, *_: Any) -> Any:
        raise TypeError(f"{_NO_NUMPY} ({waits.line()})")

    def pin_memory(self, *_: Any) -> Any:
        raise RuntimeError(f"cannot pin 'torch.cuda.FloatTensor' ({waits.line()})")
