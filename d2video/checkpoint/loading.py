"""Read checkpoint files from untrusted sources without ever running code in them."""

import argparse
import logging
import os
import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import torch

from d2video.checkpoint.about import CLASS_NAMES, from_metadata
from d2video.checkpoint.numpy_pickles import NUMPY_SCALARS, load_numpy_pickle
from d2video.fetching import fetch, is_web_page
from d2video.utils.errors import BrokenCheckpoint, UserError

logger = logging.getLogger(__name__)

# Messages of torch and of the .pkl reader about objects that they reject.
_REFUSED = re.compile(r"GLOBAL ([\w.]+\.\w+)|^([\w.]+\.\w+) is not allowed$")

# Keys of the state dict in files of d2video, PySlowFast, PyTorch Lightning and many others.
STATE_KEYS = {"model", "model_state", "model_state_dict", "state_dict"}
# Prefixes of parameter names if a wrapped model was saved: by DistributedDataParallel, by torch.compile, or
# as the attribute "model" of a larger module.
_WRAPPERS = ("module.", "_orig_mod.", "model.")

# Types in official checkpoints besides tensors and plain containers. They are data and run no code.
_FOREIGN: list[Any] = [argparse.Namespace, *((made, name) for name, made in NUMPY_SCALARS.items())]


def load_checkpoint_file(path: str | Path, *, peek: bool = False) -> dict[str, Any]:
    """Read a checkpoint safely.

    The suffix selects the format: ``.safetensors``; ``.pkl`` (detectron2's model zoo: plain containers of
    numpy arrays); all others as written by ``torch.save``, read with ``weights_only``. Besides tensors and
    plain containers, ``argparse.Namespace`` and numpy numbers are allowed, because official checkpoints
    contain them.

    The checksums of a torch file (the CRC-32 that ``torch.save`` stores with each tensor) are verified before
    anything is read.

    Args:
        path: path of the file, or its URL (see :func:`d2video.fetching.fetch`).
        peek: read only metadata and the names and shapes of tensors. Checksums are not verified, and the
            tensors of a torch file are read only when they are used.

    Returns:
        The content of the file, a dict with strings as keys. For a ``.safetensors`` file of d2video these are
        "model" and the metadata; for another ``.safetensors`` file, its tensors.

    Raises:
        BrokenCheckpoint: if the file is missing, damaged, truncated, of another format, or contains other
            objects.
        UserError: if a URL cannot be fetched.
    """
    path = fetch(path)
    if not os.path.isfile(path):  # also False for names that no file can have
        raise BrokenCheckpoint(
            f"checkpoint {path}: no such file; check MODEL.WEIGHTS or the path given"
        )
    try:
        content = _read(path, peek)
    # An untrusted file can make the readers fail in any way (KeyError, IndexError, MemoryError …).
    except Exception as error:
        logger.debug("checkpoint %s", path, exc_info=True)
        raise BrokenCheckpoint(
            f"checkpoint {path}: not a readable checkpoint: {_reason(path, error)}"
        ) from error
    if not isinstance(content, dict):
        raise BrokenCheckpoint(
            f"checkpoint {path}: holds a {type(content).__name__}, not a dict of tensors: re-save it "
            "as a state dict"
        )
    strange = [key for key in content if not isinstance(key, str)]
    if strange:
        raise BrokenCheckpoint(
            f"checkpoint {path}: has the key {str(strange[0])[:40]!r}, which is not a name: re-save it "
            "as a state dict"
        )
    return content


def state_dict_of(
    content: dict[str, Any], path: str | Path, arrays: bool = False
) -> dict[str, torch.Tensor]:
    """Return the tensors of a loaded file: those under one of :data:`STATE_KEYS`, else the whole content.

    Prefixes of :data:`_WRAPPERS` common to all names are removed, as are torch.compile's marks within names.

    Args:
        content: content as returned by :func:`load_checkpoint_file`.
        path: path of the file, for messages.
        arrays: whether to accept numpy arrays, too.

    Raises:
        BrokenCheckpoint: if there are other values, or a tensor is not dense.
    """
    keys = sorted(STATE_KEYS & content.keys())  # of a file with two, "model" comes first
    state = content[keys[0]] if keys else content
    items = state.items() if isinstance(state, dict) else [(state, None)]
    for key, value in items:
        is_array = arrays and isinstance(value, np.ndarray)
        if not isinstance(key, str) or not (is_array or _is_dense_tensor(value)):
            raise BrokenCheckpoint(
                f"checkpoint {path}: '{str(key)[:60]}' is not a tensor; expected a state dict"
            )
    # Compiling a part of a model with torch.compile leaves a mark within names.
    state = {key.replace("._orig_mod.", "."): value for key, value in state.items()}
    while found := [each for each in _WRAPPERS if state and all(k.startswith(each) for k in state)]:
        state = {key.removeprefix(found[0]): value for key, value in state.items()}
    return state


def class_names_in(content: dict[str, Any], path: str | Path) -> list[str] | None:
    """Return the class names in a loaded file by row of the class head; None if there are none.

    They are stored under "class_names"; "" is a row without a name.

    Raises:
        BrokenCheckpoint: if the entry has another form.
    """
    names = content.get(CLASS_NAMES)
    if names is None:
        return None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise BrokenCheckpoint(
            f"checkpoint {path}: its class_names are not a list of names: re-save it without them"
        )
    return names


def holds_nan(value: torch.Tensor | np.ndarray) -> bool:
    """Whether a parameter of :func:`state_dict_of` contains NaN."""
    array = torch.as_tensor(value)
    return array.is_floating_point() and bool(array.isnan().any())


def _is_dense_tensor(value: Any) -> bool:
    """Whether a value is a dense tensor; a sparse one, or one without data, can claim any size."""
    return (
        isinstance(value, torch.Tensor)
        and value.layout is torch.strided
        and not value.is_quantized
        and value.device.type == "cpu"
    )


def _read(path: Path, peek: bool) -> Any:
    if path.suffix == ".pkl":
        return load_numpy_pickle(path)
    if path.suffix == ".safetensors":
        with safetensors.safe_open(path, "pt") as file:
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            known = from_metadata(file.metadata() or {})
        return {"model": state, **known} if known else state
    is_archive = zipfile.is_zipfile(path)
    if is_archive:
        _check_kind(path)
    if is_archive and not peek:
        _check_archive(path)
    with torch.serialization.safe_globals(_FOREIGN):
        return torch.load(path, map_location="cpu", weights_only=True, mmap=peek and is_archive)


def _check_kind(path: Path) -> None:
    """Check that a zip archive was written by ``torch.save``.

    Raises:
        UserError: if it was not.
        zipfile.BadZipFile: if the archive's directory is damaged.
    """
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
    if not any(name.endswith("/data.pkl") for name in names):
        files = [name for name in names if not name.endswith("/")]
        # The first checkpoint, else the first file.
        member = min(files, key=lambda name: not name.endswith(".pth"), default="")
        is_named = path.suffix in (".zip", ".whl") and member
        how = f"name it as {path}!/{member}" if is_named else "unpack it"
        raise UserError(f"it is a zip archive; if a checkpoint is in it, {how}")
    if any(name.endswith("/constants.pkl") for name in names):
        raise UserError("it is TorchScript, code, which is never loaded: save its state dict")


def _check_archive(path: Path) -> None:
    """Verify the checksums of a ``torch.save`` file, a zip archive, because torch does not.

    Raises:
        UserError: if a checksum is wrong, or a record is compressed. ``torch.save`` compresses nothing, and a
            small compressed file could become too large for the memory.
        zipfile.BadZipFile: if the archive's directory is damaged.
    """
    with zipfile.ZipFile(path) as archive:
        records = archive.infolist()
        packed = [r.filename for r in records if r.compress_type != zipfile.ZIP_STORED]
        if packed or sum(r.file_size for r in records) > path.stat().st_size:
            raise UserError(
                "its records are compressed or overlap, which torch.save does not do: re-save it with it"
            )
        damaged = archive.testzip()
    if damaged is not None:
        raise UserError(
            f"it is damaged, the checksum of its record {damaged} is wrong: fetch it again"
        )


def _reason(path: Path, error: Exception) -> str:
    """Describe briefly what is wrong with an unreadable file, and what to do."""
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, PermissionError):
        return "no permission to read it"
    if path.stat().st_size == 0:
        return "it is empty: fetch it again"
    with path.open("rb") as file:
        beginning = file.read(1000)
    if is_web_page(beginning):
        return "it is a web page, saved in place of the file: fetch the file itself"
    if beginning.startswith(b"version https://git-lfs"):
        return "it is a pointer of Git LFS, not the file: fetch it with 'git lfs pull'"
    text = " ".join(str(error).split())
    refused = _REFUSED.search(text)
    if refused:
        return (
            f"it holds {refused[1] or refused[2]}, code or objects, which are never loaded: "
            "re-save only its state dict"
        )
    # torch's message explains how to load the file unsafely.
    detail = "" if "weights_only" in text or text.isdigit() else f" ({text[:120]})"
    return f"it is truncated or no checkpoint at all: fetch it again{detail}"
