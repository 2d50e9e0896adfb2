"""Where the host waits for the device.

The rules are those of torch's CUDA backend, as ``torch.cuda.set_sync_debug_mode`` names them.
"""

import sys
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from tests.helpers import ROOT

_OURS = (str(ROOT / "d2video"), str(ROOT / "projects"))
# Their results, or the sizes of their results, are numbers that the host must know.
_ALWAYS = {
    *("_local_scalar_dense", "nonzero", "masked_select", "equal", "bincount", "is_nonzero"),
    *("_unique", "_unique2", "unique_dim", "unique_consecutive", "unique_dim_consecutive", "nms"),
}


@dataclass(frozen=True)
class Wait:
    """One wait for the device.

    Attributes:
        what: the operation.
        line: "d2video/modeling/matcher.py:87", the innermost one of the repository; "" outside of it.
    """

    what: str
    line: str

    def __str__(self) -> str:
        return f"{self.what} at {self.line}"


# All so far; tests clear it.
recorded: list[Wait] = []


def record(what: str) -> None:
    """A wait here."""
    recorded.append(Wait(what, line()))


def line() -> str:
    """The innermost line of d2video or of a project that is being run; else of the caller's tests."""
    frame, outside = sys._getframe(1), ""
    while frame is not None:
        path = frame.f_code.co_filename
        place = f"{path.removeprefix(f'{ROOT}/')}:{frame.f_lineno}"
        if path.startswith(_OURS):
            return place
        in_tests = path.startswith(str(ROOT / "tests")) and "/pretend_gpu/" not in path
        if not outside and in_tests:
            outside = place
        frame = frame.f_back
    return outside


def of_operation(name: str, overload: str, args: Any, kwargs: dict[str, Any]) -> str | None:
    """What an operation on the device waits for, other than a transfer; None: for nothing.

    Args:
        name: without its namespace.
    """
    if name in _ALWAYS:
        return name
    if name == "repeat_interleave" and overload == "Tensor" and kwargs.get("output_size") is None:
        return "repeat_interleave without output_size"
    if name in ("index", "index_put", "index_put_", "_index_put_impl_"):
        by_mask = any(_is_mask(index) for index in args[1])
        # A number for all of them is filled in without counting them.
        fills = name != "index" and args[2].numel() == 1 and not args[2].is_cuda
        if by_mask and not fills:
            return f"{name} by a mask"
    return None


def _is_mask(index: Tensor | None) -> bool:
    return index is not None and index.dtype in (torch.bool, torch.uint8)
