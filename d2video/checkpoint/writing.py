"""Write checkpoints atomically: even after a crash or on a full disk, a file is complete or absent."""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import safetensors.torch
import torch

from d2video.checkpoint.about import CLASS_NAMES, to_metadata
from d2video.utils.errors import UserError
from d2video.utils.files import replace_on_success


def write_checkpoint(
    content: dict[str, Any],
    path: str | Path,
    class_names: Sequence[str] | None = None,
    about: Mapping[str, Any] | None = None,
) -> None:
    """Write ``content`` with ``torch.save`` or, if the suffix is ``.safetensors``, in that format.

    ``torch.save`` adds a checksum to each tensor. An existing file is replaced in one step, once the new file
    is complete and on the disk.

    Args:
        content: for ``.safetensors``, parameters by name; otherwise also plain values and containers.
        path: path of the file; its folder is created.
        class_names: class names by row of the class head, if known; see :func:`class_names_in`.
        about: metadata, see :mod:`d2video.checkpoint.about`.

    Raises:
        UserError: if the disk is full or the file cannot be written (an existing file stays unchanged), or if
            ``content`` contains objects that a safe load would reject.
    """
    path, known = Path(path), dict(about or {})
    if class_names is not None:
        known[CLASS_NAMES] = [*class_names]
    with (
        disk_errors(path),
        replace_on_success(path, durable=True) as partial,
        partial.open("wb") as file,
    ):
        if path.suffix == ".safetensors":
            # Clone each parameter, because the format does not allow tensors that share memory.
            state = {
                name: value.detach().cpu().clone(memory_format=torch.contiguous_format)
                for name, value in content.items()
            }
            file.write(safetensors.torch.save(state, {"format": "pt"} | to_metadata(known)))
        else:
            torch.save(content | known, file)
            file.flush()
            _check_loadable(partial, path)


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn disk errors while writing ``path`` into a one-line UserError."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        fault: BaseException | None = error
        while fault is not None and not isinstance(fault, OSError):  # torch wraps the disk's error
            fault = fault.__cause__ or fault.__context__
        if fault is None:
            raise
        raise UserError(
            f"cannot write {path}: {fault.strerror or fault}{_free(path.parent)}; earlier "
            "checkpoints are intact: make room or permissions, then go on with --resume"
        ) from error


def _check_loadable(partial: Path, path: Path) -> None:
    refused = torch.serialization.get_unsafe_globals_in_checkpoint(partial)
    if refused:
        raise UserError(
            f"checkpoint {path} is not written: it would hold {', '.join(sorted(refused)[:3])}, which "
            "a safe load refuses; let state_dict() of what is saved hold only tensors and plain values"
        )


def _free(folder: Path) -> str:
    try:
        return f" ({shutil.disk_usage(folder).free / 1e9:.1f} GB free in {folder})"
    except OSError:
        return ""
