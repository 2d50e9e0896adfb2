"""Files in the cache: written by one process, whole or not at all, and checked."""

import hashlib
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import BinaryIO

import portalocker

from d2video.fetching.known_files import KnownFile

logger = logging.getLogger(__name__)


class FetchFault(Exception):
    """Why a file could not be fetched, in a few words.

    Attributes:
        elsewhere: another address may have the file, since this one has not, or cannot give it.
    """

    def __init__(self, reason: str, elsewhere: bool = False):
        super().__init__(reason)
        self.elsewhere = elsewhere


def fault_of(path: Path, known: KnownFile) -> str:
    """What tells that a file is not the one that is known; "": nothing does."""
    if not path.stat().st_size:
        return "is empty"
    if known.sha256 and os.getenv("D2VIDEO_CHECK_SHA256") != "0":
        found = sha256_of(path)
        if not found.startswith(known.sha256):
            return f"has the sha256 {found[: max(16, len(known.sha256))]} instead of {known.sha256}"
    return ""


def sha256_of(path: Path) -> str:
    """The hash of a file, computed once in a process while the file stays the same."""
    status = path.stat()
    return _sha256(path, status.st_mtime_ns, status.st_size)


@cache
def _sha256(path: Path, changed: int, size: int) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def fill(path: Path, known: KnownFile, write: Callable[[BinaryIO], None]) -> Path:
    """Let ``write`` fill a file, unless another process has done so in the meantime.

    Args:
        path: of the file.
        known: what it must be.
        write: gets the open file; raises :class:`FetchFault`.

    Raises:
        FetchFault: as ``write``, or the file is not what is known, or cannot be written. Nothing is left.
    """
    try:
        with locked(path) as (file, partial):
            if path.is_file() and not fault_of(path, known):
                return path
            file.truncate(0)
            write(file)
            file.flush()
            if fault := fault_of(partial, known):
                raise FetchFault(f"what came {fault}")
            os.fsync(file.fileno())
            os.replace(partial, path)
    except OSError as error:
        raise FetchFault(
            f"cannot write {path}: {error.strerror or error}; make room or permissions, or set "
            "FVCORE_CACHE to another folder"
        ) from error
    return path


@contextmanager
def locked(path: Path) -> Iterator[tuple[BinaryIO, Path]]:
    """The file under its temporary name, locked against other processes; removed at the end.

    For a folder, which is written elsewhere, it is only a lock.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    while True:
        with partial.open("ab") as file:
            try:
                portalocker.lock(file, portalocker.LOCK_EX | portalocker.LOCK_NB)
            except portalocker.AlreadyLocked:
                logger.info("Another process is fetching %s: waiting for it", path.name)
                portalocker.lock(file, portalocker.LOCK_EX)
            if not _is_file(file, partial):  # whoever had the lock has renamed or removed it
                continue
            try:
                yield file, partial
            finally:
                if _is_file(file, partial):
                    partial.unlink()
            return


def _is_file(file: BinaryIO, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False
