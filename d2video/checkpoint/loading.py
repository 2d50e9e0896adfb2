"""Reading checkpoint files that may come from strangers: no code in them is ever run."""

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

# What torch and the reader of .pkl say of things that they refuse.
_REFUSED = re.compile(r"GLOBAL ([\w.]+\.\w+)|^([\w.]+\.\w+) is not allowed$")

# Where files hold a state dict: ours, PySlowFast's, and those of PyTorch Lightning and many others.
STATE_KEYS = {"model", "model_state", "model_state_dict", "state_dict"}
# What a state dict's names begin with if a wrapped model was saved: by DistributedDataParallel, by
# torch.compile, and as the attribute "model" of a larger module.
_WRAPPERS = ("module.", "_orig_mod.", "model.")

# What official checkpoints hold besides tensors and plain containers; data, which run nothing.
_FOREIGN: list[Any] = [argparse.Namespace, *((made, name) for name, made in NUMPY_SCALARS.items())]


def load_checkpoint_file(path: str | Path, *, peek: bool = False) -> dict[str, Any]:
    """Read a checkpoint, by its suffix: ``.safetensors``, ``.pkl`` (detectron2's model zoo: plain
    containers of numpy arrays), or else of ``torch.save``, read with ``weights_only``. Besides tensors
    and plain containers official checkpoints hold ``argparse.Namespace`` and numbers of numpy.

    A torch file's checksums (the CRC-32 that ``torch.save`` stores with each tensor) are compared
    before anything is read.

    Args:
        path: the file, or its address (see :func:`d2video.fetching.fetch`).
        peek: for what stands beside the tensors, and their names and shapes: checksums are not
            compared, and a torch file's tensors stay in it until they are used.

    Returns:
        what the file holds, a dict with strings as keys. Of a ``.safetensors`` file of this library
        these are "model" and what stands in its metadata, of another its tensors.

    Raises:
        BrokenCheckpoint: the file is missing, damaged, truncated, of another format, or holds
            other objects.
        UserError: an address cannot be fetched.
    """
    path = fetch(path)
    if not os.path.isfile(path):  # False as well for names that no file can have
        raise BrokenCheckpoint(
            f"checkpoint {path}: no such file; check MODEL.WEIGHTS or the path given"
        )
    try:
        content = _read(path, peek)
    # A file of a stranger can make the readers fail in any way (KeyError, IndexError, MemoryError …).
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
    """The tensors of a loaded file: those under one of :data:`STATE_KEYS`, else the file itself. Prefixes
    of :data:`_WRAPPERS` that all their names have are taken off, as are torch.compile's within names.

    Args:
        content: of :func:`load_checkpoint_file`.
        path: of the file, for messages.
        arrays: whether arrays of numpy will do, too.

    Raises:
        BrokenCheckpoint: there is something else among them, or a tensor is not a dense one.
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
    # torch.compile of a part leaves its mark within names.
    state = {key.replace("._orig_mod.", "."): value for key, value in state.items()}
    while found := [each for each in _WRAPPERS if state and all(k.startswith(each) for k in state)]:
        state = {key.removeprefix(found[0]): value for key, value in state.items()}
    return state


def class_names_in(content: dict[str, Any], path: str | Path) -> list[str] | None:
    """The names of the classes that a loaded file holds under "class_names", by row of the class head
    ("": a row without a name); None if it has none.

    Raises:
        BrokenCheckpoint: there is something else.
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
    """Whether a parameter of :func:`state_dict_of` is not a number somewhere."""
    array = torch.as_tensor(value)
    return array.is_floating_point() and bool(array.isnan().any())


def _is_dense_tensor(value: Any) -> bool:
    """A sparse tensor, or one without data, can pretend to be of any size."""
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
    """
    Raises:
        UserError: a zip archive is not of ``torch.save``.
        zipfile.BadZipFile: the archive's directory is damaged.
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
    """Compare the checksums of a file of ``torch.save``, which is a zip archive; torch does not.

    Raises:
        UserError: one differs, or something is packed, as by ``torch.save`` nothing is: a small
            file could become too large for the memory.
        zipfile.BadZipFile: the archive's directory is damaged.
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
    """What is wrong with an unreadable file, and what to do, in a few words."""
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
    # torch's text is about how to load the file all the same.
    detail = "" if "weights_only" in text or text.isdigit() else f" ({text[:120]})"
    return f"it is truncated or no checkpoint at all: fetch it again{detail}"
