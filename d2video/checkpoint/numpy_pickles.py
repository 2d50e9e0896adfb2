"""Read numpy numbers and arrays from pickles, without numpy's own unpickling.

numpy trusts what a pickle says about a dtype, including the flag for Python objects, so a crafted file can
make it treat bytes as pointers. The replacements here know only plain numeric types and check sizes. The
result is always numbers or an ``UnpicklingError``.
"""

import io
import math
import pickle
import re
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np

_CODES = re.compile(r"[fiu][1248]|b1")


class _Dtype:
    """In place of ``numpy.dtype``: floats, integers and booleans, in either byte order."""

    def __init__(self, code: str, align: bool = False, copy: bool = False):
        if not isinstance(code, str) or not _CODES.fullmatch(code):
            raise pickle.UnpicklingError(f"numpy type {str(code)[:20]!r} is not allowed")
        self.numpy = np.dtype(code)

    def __setstate__(self, state: tuple) -> None:
        if state[1] not in ("<", ">", "|", "="):
            raise pickle.UnpicklingError("a numpy type has an unknown byte order")
        self.numpy = self.numpy.newbyteorder(state[1])


def _array(data: Any, dtype: Any, shape: Any, fortran: bool) -> np.ndarray:
    if isinstance(data, str):  # of Python 2
        data = data.encode("latin1")
    if not isinstance(dtype, _Dtype) or not isinstance(data, bytes | bytearray):
        raise pickle.UnpicklingError("a numpy array is not made of numbers")
    if math.prod(shape) * dtype.numpy.itemsize != len(data) or min(shape, default=0) < 0:
        raise pickle.UnpicklingError("a numpy array has another size than its data")
    array = np.frombuffer(data, dtype.numpy).reshape(shape, order="F" if fortran else "C")
    return array.astype(dtype.numpy.newbyteorder("="))  # a copy, which can be written


class _Array:
    """In place of ``numpy.ndarray``; ``value`` is the array."""

    value: np.ndarray | None = None

    def __setstate__(self, state: tuple) -> None:
        _, shape, dtype, fortran, data = state
        self.value = _array(data, dtype, shape, fortran)


def _reconstruct(kind: Any, shape: Any, code: Any) -> _Array:
    return _Array()


def _frombuffer(data: Any, dtype: Any, shape: Any, order: str) -> np.ndarray:
    return _array(data, dtype, shape, order == "F")


def _scalar(dtype: Any, data: Any) -> np.generic:
    return _array(data, dtype, (1,), False)[0]


def _encode(text: str, encoding: str) -> bytes:
    """In place of ``_codecs.encode``, by which old pickle protocols store bytes."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"encoding {str(encoding)[:20]!r} is not allowed")
    return text.encode("latin1")


# By full names, those of numpy 1 (core) and 2 (_core).
NUMPY_SCALARS: dict[str, Any] = {
    "numpy.core.multiarray.scalar": _scalar,
    "numpy._core.multiarray.scalar": _scalar,
    "numpy.dtype": _Dtype,
    "_codecs.encode": _encode,
}
_NUMPY: dict[str, Any] = NUMPY_SCALARS | {
    "numpy.ndarray": _Array,
    "numpy.core.multiarray._reconstruct": _reconstruct,
    "numpy._core.multiarray._reconstruct": _reconstruct,
    "numpy.core.numeric._frombuffer": _frombuffer,
    "numpy._core.numeric._frombuffer": _frombuffer,
    "collections.OrderedDict": OrderedDict,
}


# Python's own unpickler, slower than the C version, which allocates as many objects as a file claims.
class _ArrayUnpickler(pickle._Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if f"{module}.{name}" not in _NUMPY:
            raise pickle.UnpicklingError(f"{module}.{name} is not allowed")
        return _NUMPY[f"{module}.{name}"]


def load_numpy_pickle(path: Path) -> Any:
    """Load a pickle of plain containers, numbers, strings and numeric arrays.

    Raises:
        Exception: of any kind, if the file is damaged or contains anything else.
    """
    return _arrays(_ArrayUnpickler(io.BytesIO(path.read_bytes()), encoding="latin1").load())


def _arrays(content: Any) -> Any:
    """``content`` with arrays in place of the stand-ins, in (nested) dicts and at the top."""
    if isinstance(content, dict):
        return {key: _arrays(value) for key, value in content.items()}
    return content.value if isinstance(content, _Array) else content
