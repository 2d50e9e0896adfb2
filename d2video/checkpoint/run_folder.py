"""The checkpoints in the folder of a run, and the newest readable one among them.

Names are those of detectron2: ``model_0004999.pth``, ``model_final.pth``, and ``last_checkpoint``, which
contains the name of the file to resume from.
"""

import logging
import os
import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from d2video.checkpoint.writing import disk_errors
from d2video.fetching import HUB_WEIGHTS
from d2video.utils.errors import BrokenCheckpoint, UserError
from d2video.utils.files import replace_on_success

logger = logging.getLogger(__name__)

POINTER = "last_checkpoint"
BEST = "model_best.pth"
_NAMES = re.compile(r"model_(\d+|final)\.pth")


def checkpoints_in(folder: Path) -> list[Path]:
    """Return the checkpoints of a run, the last written first (with equal times: the highest number)."""
    found = []
    for path in folder.iterdir() if folder.is_dir() else ():
        match = _NAMES.fullmatch(path.name)
        if match and path.is_file():
            number = float("inf") if match[1] == "final" else int(match[1])
            found.append((path.stat().st_mtime_ns, number, path))
    return [path for *_, path in sorted(found, reverse=True)]


def write_pointer(folder: Path, name: str) -> None:
    """Make the file ``name`` the one to resume from, in one step that survives a crash."""
    path = folder / POINTER
    with disk_errors(path), replace_on_success(path, durable=True) as partial:
        partial.write_text(name)


class Newest(NamedTuple):
    """A checkpoint to resume from.

    Attributes:
        path: path of the file.
        content: content of the file.
        damaged: newer files that could not be read.
    """

    path: Path
    content: dict[str, Any]
    damaged: frozenset[Path]


def read_newest(folder: Path, read: Callable[[str], dict[str, Any]]) -> Newest | None:
    """Read the checkpoint to resume from; None if no run has saved one yet.

    It is the file named in ``last_checkpoint``. If that cannot be read, the last written readable file is
    used, with a warning.

    Args:
        folder: folder of the run.
        read: function from a file's name to its content; it raises BrokenCheckpoint for an unreadable file.

    Raises:
        UserError: if there are checkpoints, but none can be read.
    """
    files = checkpoints_in(folder)
    if not files and not (folder / POINTER).exists():
        return None
    faults = []
    try:
        named = _pointed_to(folder)
        files = [named, *(path for path in files if path != named)]
    except BrokenCheckpoint as fault:
        logger.warning("%s", fault)
        faults.append(str(fault))
    damaged = set()
    for path in files:
        try:
            content = read(str(path))
        except BrokenCheckpoint as fault:
            damaged.add(path)
            logger.warning("%s; looking for an earlier one", fault)
            faults.append(str(fault))
        else:
            if faults:
                logger.warning("resuming from %s, the newest good checkpoint", path)
            return Newest(path, content, frozenset(damaged))
    raise UserError(
        f"no checkpoint in {folder} can be resumed from: {faults[0]}; put one there, or empty the "
        "folder to start again"
    )


def _pointed_to(folder: Path) -> Path:
    pointer = folder / POINTER
    try:
        with pointer.open(errors="replace") as file:
            name = file.read(1000).strip()
    except OSError as error:
        raise BrokenCheckpoint(f"{pointer}: cannot be read ({error.strerror})") from error
    if not name or name != os.path.basename(name) or not name.isprintable() or name in (".", ".."):
        shown = f"names {name[:60]!r}, no file of its folder" if name else "is empty"
        raise BrokenCheckpoint(f"{pointer}: {shown}")
    return folder / name


def model_in(folder: Path) -> Path:
    """Return the checkpoint that a folder given as a model refers to.

    In the folder of a run it is the best one or, if none is kept, the one to resume from; in a folder from
    the Hugging Face Hub, its weights.

    Raises:
        UserError: if there is none.
    """
    candidates = [folder / BEST]
    if (folder / POINTER).exists():
        with suppress(BrokenCheckpoint):
            candidates.append(_pointed_to(folder))
    candidates += [*checkpoints_in(folder), *(folder / name for name in HUB_WEIGHTS)]
    for path in candidates:
        if path.is_file():
            return path
    raise UserError(
        f"folder {folder} holds no checkpoint ({BEST}, model_final.pth, model.safetensors …): name the file"
    )


def remove_partial(folder: Path) -> None:
    """Remove incomplete files of a killed process."""
    for pattern in (".model_*.partial.pth", f".{POINTER}.*.partial"):
        for path in folder.glob(pattern):
            with disk_errors(path):
                path.unlink(missing_ok=True)


def remove_old(folder: Path, keep: int, newest: Path, damaged: frozenset[Path]) -> None:
    """Remove all numbered checkpoints except the ``keep`` last written ones and ``newest``.

    Files known to be damaged are not counted and stay. Files that cannot be removed stay, with a warning.
    """
    numbered = [path for path in checkpoints_in(folder) if path.name != "model_final.pth"]
    numbered = [path for path in numbered if path not in damaged]
    for path in numbered[keep:]:
        if path == newest:
            continue
        try:
            path.unlink()
        except OSError as error:
            logger.warning("old checkpoint %s cannot be removed: %s", path, error.strerror)
