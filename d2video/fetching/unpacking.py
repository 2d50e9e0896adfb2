"""All of a zip archive as a folder in the cache."""

import logging
import os
import shutil
import stat
import zipfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from d2video.fetching.archive import DAMAGE, folder_of
from d2video.fetching.cache import FetchFault, locked
from d2video.utils.errors import UserError
from d2video.utils.shown_paths import show_as

logger = logging.getLogger(__name__)

# Labels and images never shrink so much; what does is made to fill the disk.
_LARGE, _MOST_SHRUNK = 1 << 30, 500
_MOST_MEMBERS = 5_000_000

_archives: dict[Path, Path] = {}  # by the folder in which theirs is


def unpack(archive: str | os.PathLike[str]) -> Path:
    """The folder of the members of a zip archive; unpacked once, by one process, whole or not at all.

    It has the archive's name without suffix. Messages call it as the archive.

    Raises:
        UserError: the archive is damaged, encrypted or would fill the disk, or a member lies outside it.
    """
    archive = Path(archive)
    try:
        place = folder_of(archive)
        whole = place.with_name(f"{place.name}.all")
        with locked(whole):
            if not whole.is_dir():
                _unpack_into(archive, whole)
    except FetchFault as fault:
        raise UserError(f"{archive}: {fault}") from fault
    except OSError as error:
        raise UserError(
            f"{archive} cannot be unpacked ({error.strerror or error}): make room or permissions, or set "
            "FVCORE_CACHE to another folder"
        ) from error
    folder = whole / archive.stem
    for each in (folder, whole):
        show_as(str(each), str(archive))
    _archives[whole] = archive
    return folder


def around(folder: str | os.PathLike[str]) -> list[str]:
    """Where what belongs to a folder may be: itself, and, if it is of an archive, also beside that.

    Of ``a/job.zip`` and its folder ``in`` these are ``a/job/in``, ``a/in`` and ``a``.
    """
    path = Path(folder).absolute()
    for unpacked in (path, *path.parents):
        if unpacked in _archives:
            beside, inner = _archives[unpacked].parent, path.relative_to(unpacked).parts
            alike = map(str, (folder, beside.joinpath(*inner), beside.joinpath(*inner[1:])))
            return [*dict.fromkeys([*alike, *around(beside)])]
    return [str(folder)]


def _unpack_into(archive: Path, folder: Path) -> None:
    partial = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(partial, ignore_errors=True)  # of a process that was killed
    try:
        with zipfile.ZipFile(archive) as opened:
            members = [e for e in opened.infolist() if not e.filename.startswith("__MACOSX/")]
            for each in members:  # as some programs on Windows write them
                each.filename = each.filename.replace("\\", "/")
            _check(members, archive, partial.parent)
            logger.info("Unpacking %s to %s", archive, folder)
            (partial / archive.stem).mkdir(parents=True)
            opened.extractall(partial / archive.stem, members)
        os.replace(partial, folder)
    except NotImplementedError as error:
        raise FetchFault(f"{error}: unpack it, and give the folder") from error
    except DAMAGE as error:
        raise FetchFault(
            f"it is damaged or no zip archive ({error}); fetch or export it again"
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _check(members: Sequence[zipfile.ZipInfo], archive: Path, target: Path) -> None:
    """Refuse an archive before anything of it is written."""
    names = Counter(each.filename for each in members if not each.is_dir())
    for each in members:
        path = PurePosixPath(each.filename)
        leaves = path.is_absolute() or ".." in path.parts
        if leaves or stat.S_ISLNK(each.external_attr >> 16):
            raise FetchFault(
                f"its member '{each.filename}' leads out of the archive; do not trust it"
            )
        if each.flag_bits & 1:
            raise FetchFault("it is encrypted: unpack it with its password, and give the folder")
        if names[each.filename] > 1:
            raise FetchFault(
                f"it has two members '{each.filename}'; unpack it, and give the folder"
            )
    size, packed = sum(each.file_size for each in members), archive.stat().st_size
    if len(members) > _MOST_MEMBERS or size > max(_LARGE, _MOST_SHRUNK * packed):
        raise FetchFault(
            f"{packed / 1e6:.3g} MB hold {size / 1e9:.3g} GB in {len(members)} files, as if made to fill "
            "the disk; if it is meant, unpack it, and give the folder"
        )
    free = shutil.disk_usage(target).free
    if size > free:
        raise FetchFault(
            f"unpacked it takes {size / 1e9:.3g} GB, and {target} has {free / 1e9:.3g}; make room, or set "
            "FVCORE_CACHE to another folder"
        )
