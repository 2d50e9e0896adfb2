"""Output files that appear whole or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from d2video.utils.errors import UserError


def partial_path(path: str | os.PathLike[str]) -> Path:
    """The temporary name under which a file or folder is written until it is complete.

    It lies in the same folder, so that ``os.replace`` puts it in place in one step, is hidden,
    keeps the suffix (from which libraries guess the format) and differs between processes. The
    folder is created.

    Raises:
        UserError: the folder cannot be created or written.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot create the folder {path.parent}: {error.strerror}") from error
    if not os.access(path.parent, os.W_OK):
        raise UserError(f"cannot write {path}: no permission to write in {path.parent}")
    return path.with_name(f".{path.stem}.{os.getpid()}.partial{path.suffix}")


@contextmanager
def replace_on_success(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary name to write; it becomes ``path`` at the end, or goes on an exception.

    Raises:
        UserError: ``path`` is a folder, or as :func:`partial_path`.
    """
    if Path(path).is_dir():
        raise UserError(f"cannot write {path}: it is a folder; give a file name")
    partial = partial_path(path)
    try:
        yield partial
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
