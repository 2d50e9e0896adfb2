"""Output files that appear whole or not at all."""

import errno
import json
import math
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from d2video.utils.addresses import address_in
from d2video.utils.errors import UserError


def data_set_folder(parent: str | os.PathLike[str], dataset_name: str) -> Path:
    """The place of a dataset below ``parent``: by its name, which may be a path from anywhere."""
    return Path(parent, *(part for part in dataset_name.split("/") if part not in ("", "..")))


def partial_path(path: str | os.PathLike[str]) -> Path:
    """The temporary name under which a file or folder is written until it is complete.

    It is hidden, in the same folder (for ``os.replace``), keeps the suffix (for libraries that guess
    the format from it) and differs between processes. The folder is created.

    Raises:
        UserError: the folder cannot be created or written, or the path is an address or has a NUL.
    """
    if "\0" in str(path):
        raise UserError(f"cannot write {str(path)!r}: a file name has no NUL character")
    address = address_in(path)
    if address is not None:
        raise UserError(f"cannot write {address}: it is an address; give a path on this machine")
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot create the folder {path.parent}: {error.strerror}") from error
    if not os.access(path.parent, os.W_OK):
        raise UserError(f"cannot write {path}: no permission to write in {path.parent}")
    return path.with_name(f".{path.stem}.{os.getpid()}.partial{path.suffix}")


@contextmanager
def replace_on_success(path: str | os.PathLike[str], durable: bool = False) -> Iterator[Path]:
    """Yield a temporary name to write; it becomes ``path`` at the end, or goes on an exception.

    Args:
        path: the file.
        durable: wait until file and name are on the disk, so that they survive a power cut.

    Raises:
        UserError: ``path`` is a folder, or as :func:`partial_path`.
    """
    if os.path.isdir(path):
        raise UserError(f"cannot write {path}: it is a folder; give a file name")
    partial = partial_path(path)
    try:
        yield partial
        if durable:
            _flush_to_disk(partial)
        os.replace(partial, path)
        if durable:
            _flush_to_disk(Path(path).parent)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def new_folder(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a folder to fill; it becomes ``path`` at the end, or goes on an exception.

    Raises:
        UserError: ``path`` is a file or a folder that is not empty, as :func:`partial_path`, or the disk
            refuses.
    """
    path = Path(path)
    if path.is_file() or (path.is_dir() and any(path.iterdir())):
        raise UserError(f"cannot write the folder {path}: it exists; give a new or empty folder")
    partial = partial_path(path)
    try:
        partial.mkdir()
        yield partial
        if path.is_dir():
            path.rmdir()  # empty, as was seen
        os.replace(partial, path)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


@contextmanager
def open_text(path: str | os.PathLike[str]) -> Iterator[Callable[[str], None]]:
    """Yield a function that appends lines to a text file, which has its name at the end.

    Raises:
        UserError: as :func:`replace_on_success`, or the disk refuses.
    """

    def guarded(call: Callable[..., object], *args: str) -> None:
        try:
            call(*args)
        except OSError as error:
            raise UserError(f"cannot write {path}: {error.strerror}") from error

    with replace_on_success(path) as partial:
        file = open(partial, "w", encoding="utf-8", buffering=1)  # noqa: SIM115
        try:
            yield lambda lines: guarded(file.write, lines)
        except BaseException:
            with suppress(OSError):  # what the full disk left in the buffer
                file.close()
            raise
        guarded(file.close)


def write_json(path: str | os.PathLike[str], content: Any) -> None:
    """Write ``content`` as indented JSON; NaN and infinities, which JSON lacks, become null.

    Raises:
        UserError: as :func:`open_text`.
    """
    with open_text(path) as put:
        put(json.dumps(finite(content), indent=2, allow_nan=False) + "\n")


def finite(value: Any) -> Any:
    """Nested values with None for NaN and infinities, which JSON lacks; tuples become lists."""
    if isinstance(value, dict):
        return {key: finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _flush_to_disk(path: Path) -> None:
    """fsync of a file or, for the names in it, a folder."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some network file systems cannot do this to a folder.
        if error.errno != errno.EINVAL or not path.is_dir():
            raise
    finally:
        os.close(descriptor)
