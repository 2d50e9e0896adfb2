"""One member of a zip archive as a file."""

import hashlib
import lzma
import struct
import zipfile
import zlib
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from d2video.fetching.addresses import cache_folder
from d2video.fetching.cache import FetchFault, fill
from d2video.fetching.known_files import KnownFile
from d2video.utils.near_names import near_names

_CHUNK = 1 << 20
# What reading a damaged archive raises. RuntimeError: it is encrypted, or, as NotImplementedError, packed in
# a way that Python does not know.
DAMAGE = (
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error),
    *(EOFError, RuntimeError, ValueError),
)


def folder_of(archive: Path) -> Path:
    """Where what is in an archive is kept, by its path and time."""
    status = archive.stat()
    stamp = f"{archive.resolve()} {status.st_mtime_ns} {status.st_size}"
    digest = hashlib.sha256(stamp.encode()).hexdigest()[:12]
    return cache_folder() / "zip" / f"{archive.name}-{digest}"


def member_place(archive: Path, member: str) -> Path:
    """Where a member is kept: beside an archive of the cache, else in :func:`folder_of` the archive."""
    is_cached = archive.is_relative_to(cache_folder())
    folder = archive.with_name(f"{archive.name}.members") if is_cached else folder_of(archive)
    parts = [part for part in PurePosixPath(member).parts if part not in ("/", "..", ".")]
    return folder.joinpath(*parts)


def extract(archive: Path, member: str, known: KnownFile) -> Path:
    """The member as a file in the cache.

    Args:
        archive: a zip file.
        member: its name there; or the end of the only name that ends so.
        known: of the member.

    Raises:
        FetchFault: the archive is damaged or has no such member, or the disk refuses.
    """

    def write(file: BinaryIO) -> None:
        try:
            with zipfile.ZipFile(archive) as opened:
                name = _find(opened, member, archive)
                with opened.open(name) as source:
                    while chunk := source.read(_CHUNK):
                        file.write(chunk)
        except DAMAGE as error:
            raise FetchFault(
                f"{archive} is damaged or no zip archive ({error}): remove it and fetch it again"
            ) from error

    return fill(member_place(archive, member), known, write)


def _find(opened: zipfile.ZipFile, member: str, archive: Path) -> str:
    names = [name for name in opened.namelist() if not name.endswith("/")]
    if member in names:
        return member
    ends = [name for name in names if name.endswith(f"/{member}")]
    if len(ends) == 1:
        return ends[0]
    near = near_names(member, names) or names[:3]
    listed = f"it has {', '.join(near)}" if near else "it is empty"
    more = f" and {len(names) - len(near)} more" if len(names) > len(near) else ""
    raise FetchFault(f"{archive} has no member {member}; {listed}{more}", elsewhere=True)
