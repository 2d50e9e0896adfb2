"""Reading checkpoint files that may come from strangers: no code in them is ever run."""

import argparse
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import torch

from d2video.utils.errors import UserError

# What numpy arrays in detectron2 model-zoo files are made of.
_NUMPY_GLOBALS = {
    ("numpy", "dtype"),
    ("numpy", "ndarray"),
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy.core.multiarray", "scalar"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "scalar"),
    ("_codecs", "encode"),
    ("collections", "OrderedDict"),
}

# Single numbers of numpy, which torch files may hold among their statistics, whatever version wrote them.
_scalar = np.float64(0).__reduce__()[0]
_NUMPY_SCALARS: list[Any] = [
    *((_scalar, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")),
    np.dtype,
    *(type(np.dtype(kind)) for kind in ("f4", "f8", "i4", "i8", "?")),
]


class _ArrayUnpickler(pickle.Unpickler):
    """Unpickles containers of numpy arrays and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _NUMPY_GLOBALS:
            raise pickle.UnpicklingError(f"{module}.{name} is not allowed")
        return super().find_class(module, name)


def load_checkpoint_file(path: str | Path) -> dict[str, Any]:
    """Read a ``.pth`` (torch, ``weights_only``) or ``.pkl`` (detectron2 model zoo: numpy arrays) file.

    Besides tensors and plain containers, what the official DETR family stores is allowed:
    ``argparse.Namespace`` as its ``args``, and numpy numbers; they are data and run nothing.

    Returns:
        what the file holds, a dict.

    Raises:
        UserError: the file is missing, truncated, of another format, or holds other objects.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"checkpoint {path}: no such file; check MODEL.WEIGHTS or the path given")
    try:
        if path.suffix == ".pkl":
            with path.open("rb") as file:
                content = _ArrayUnpickler(file, encoding="latin1").load()
        else:
            with torch.serialization.safe_globals([argparse.Namespace, *_NUMPY_SCALARS]):
                content = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError, OSError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UserError(
            f"checkpoint {path}: not a readable checkpoint ({reason[:160]}); it may be truncated or "
            "hold objects other than tensors: fetch it again or re-save its state dict alone"
        ) from error
    if not isinstance(content, dict):
        raise UserError(
            f"checkpoint {path}: holds a {type(content).__name__}, not a dict of tensors"
        )
    return content


def state_dict_of(content: dict[str, Any], path: str | Path) -> dict[str, torch.Tensor]:
    """The tensors of a loaded file: those under "model" or, as in PySlowFast's files, "model_state"
    where it has such a key, else the file itself."""
    state = content.get("model", content.get("model_state", content))
    bad = [key for key, value in state.items() if not isinstance(value, torch.Tensor)]
    if bad:
        raise UserError(f"checkpoint {path}: '{bad[0]}' is no tensor, so this is no state dict")
    return state
