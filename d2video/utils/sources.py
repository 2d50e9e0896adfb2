"""What the name of a source says: a path, a pattern, an address or a camera."""

import glob
import os
import re
from collections.abc import Iterable
from numbers import Integral
from pathlib import Path

from d2video.utils.addresses import address_in, address_of, local_path, public_name, scheme_of
from d2video.utils.errors import UserError

# Of image files that can be read.
IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm"})

# Protocols by which cameras and servers send; FFmpeg speaks them.
STREAMS = frozenset({"rtmp", "rtmps", "rtp", "rtsp", "rtsps", "srt", "tcp", "udp"})
WEB = frozenset({"http", "https"})
_WANTED = (
    'a video, an image, a folder of images, a pattern ("videos/*.mp4"), a list (videos.txt), an address '
    "(https://, rtsp://) or camera:0"
)


def camera_number(source: object) -> int | None:
    """The number of a camera: 0, "0", "camera:0" or "/dev/video0"; ``None`` for other sources.

    Raises:
        UserError: "camera:" is followed by something else, or the number is out of range.
    """
    number = _camera_number(source)
    if number is not None and not 0 <= number < 1000:  # OpenCV would crash
        raise UserError(f"there is no camera {number}; cameras have numbers from 0 on")
    return number


def _camera_number(source: object) -> int | None:
    if isinstance(source, Integral) and not isinstance(source, bool):
        return int(source)
    if not isinstance(source, str | os.PathLike):
        return None
    name = str(source)
    if name.startswith("camera:"):
        number = name.removeprefix("camera:")
        if not number.isdecimal():
            raise UserError(f"'{name}' names no camera; give its number, as in camera:0")
        return int(number)
    found = re.fullmatch(r"(?:/dev/video)?([0-9]{1,3})", name)
    is_device = found is not None and (name.startswith("/dev/") or not os.path.exists(name))
    return int(found[1]) if found and is_device else None


def source_name(source: object) -> str:
    """What messages and results call a source; nothing secret is in it."""
    number = camera_number(source)
    if number is not None:
        return f"camera {number}"
    if not isinstance(source, str | os.PathLike):
        return "the array source"
    address = address_of(source)
    return str(source) if address is None else public_name(address)


def is_folder(source: object) -> bool:
    """Whether a source is a folder of this machine."""
    return (
        isinstance(source, str | os.PathLike)
        and str(source) != ""  # which would be the current folder
        and address_of(source) is None
        and os.path.isdir(local_path(source))
    )


def is_pattern(source: object) -> bool:
    """Whether a name holds ``*``, ``?`` or ``[`` and is neither a file nor an address."""
    return (
        isinstance(source, str | os.PathLike)
        and glob.has_magic(str(source))
        and address_in(source) is None
        and not os.path.exists(source)
    )


def expand_pattern(pattern: str) -> list[Path]:
    """The files and folders that match a pattern; ``**`` matches any folders.

    Raises:
        UserError: nothing fits.
    """
    paths = [Path(each) for each in glob.glob(pattern, recursive=True)]
    if not paths:
        raise UserError(f"no file fits the pattern {pattern}; give {_WANTED}")
    return paths


def is_list_file(source: object) -> bool:
    """Whether a source is a text file that lists videos, by its suffix."""
    return (
        isinstance(source, str | os.PathLike)
        and str(source).lower().endswith(".txt")
        and address_of(source) is None
        and os.path.isfile(local_path(source))
    )


def read_list_file(path: str | os.PathLike[str]) -> list[str]:
    """The paths and addresses of a text file, one a line; relative paths count from its folder.

    Lines that are empty or begin with # are left out. Nothing else is checked: there may be millions.

    Raises:
        UserError: the file cannot be read, or names nothing.
    """
    path = local_path(path)
    folder = os.path.dirname(path)
    try:
        # Names of files need not be text: such bytes are kept.
        with open(path, encoding="utf-8-sig", errors="surrogateescape") as file:
            lines = [line for each in file if (line := each.strip()) and line[0] != "#"]
    except OSError as error:
        raise UserError(f"cannot read the list {path}: {error.strerror}") from error
    if not lines:
        raise UserError(f"the list {path} is empty: write the path of a video into each line")
    return [line if address_in(line) else os.path.join(folder, line) for line in lines]


def check_source(source: str | os.PathLike[str]) -> None:
    """Check, without opening it, that there may be something to predict on.

    Raises:
        UserError: there is no such file, it is a pipe or a device, no file fits the pattern, or it is
            an address of a protocol that cannot be read.
    """
    if camera_number(source) is not None:
        return
    address = address_of(source)
    if address is not None:
        if scheme_of(address) not in STREAMS | WEB:
            known = ", ".join(f"{each}://" for each in sorted(STREAMS | WEB))
            raise UserError(
                f"{public_name(address)} cannot be opened; give a file, a folder, camera:0 or an address "
                f"with {known}"
            )
        public_name(address)
    elif is_pattern(source):
        expand_pattern(str(source))
    else:
        path = str(source) and local_path(source)  # the path of "" is this folder
        if not os.path.isfile(path) and not os.path.isdir(path):  # a pipe cannot be read twice
            fault = "is neither a file nor a folder" if os.path.exists(path) else "does not exist"
            raise UserError(f"{str(source) or repr(source)} {fault}; give {_WANTED}")


def check_not_input(paths: Iterable[str | os.PathLike[str]], sources: Iterable[object]) -> None:
    """
    Raises:
        UserError: one of the paths, to be written, is one of the sources or another of the paths.
    """
    written: dict[str, str | os.PathLike[str]] = {}
    for path in paths:
        if os.path.realpath(path) in written:
            raise UserError(f"cannot write {path} twice; give each file another name")
        written[os.path.realpath(path)] = path
    for source in sources:
        if not isinstance(source, str | os.PathLike) or address_of(source) is not None:
            continue
        if (place := os.path.realpath(local_path(source))) in written:
            raise UserError(
                f"cannot write {written[place]}: it is the input itself; give another name"
            )
