"""Writing checkpoints that are there whole or not at all, also after a crash or on a full disk."""

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
    """Write ``content`` with ``torch.save`` (which adds a checksum to each tensor) or, where the
    suffix is ``.safetensors``, in that format.

    A file of that name is replaced in one step when the new one is complete and on the disk.

    Args:
        content: for ``.safetensors`` parameters by name, else also plain values and containers.
        path: the file; its folder is created.
        class_names: by row of the class head, where they are known; see :func:`class_names_in`.
        about: what the file says of itself, see :mod:`d2video.checkpoint.about`; metadata of a
            ``.safetensors`` file.

    Raises:
        UserError: the disk is full or the file cannot be written, what was there before is
            unchanged; or ``content`` holds objects that a safe load would refuse.
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
            # Each parameter by itself: the format has no tensors that share memory.
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
    """Turn failures of the disk in the writing of ``path`` into a UserError of one line."""
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
