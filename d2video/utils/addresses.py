"""Addresses such as ``https://host/a.mp4``, as opposed to local paths."""

import os
import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

from d2video.utils.errors import UserError

_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^:\[\]]*)(:\d*)?")


def address_in(path: str | os.PathLike[str]) -> str | None:
    """The whole address, such as ``rtsp://host/1``, that was given as a path; ``None`` for a path.

    A Path of an address has lost a slash. The protocol is given in lower case, and blanks around the
    address go.
    """
    found = re.fullmatch(r"([A-Za-z][A-Za-z0-9+.-]+:)/(?:/)?(.*)", str(path).strip(), re.DOTALL)
    if found is None or os.path.isdir(found[1]):
        return None
    return f"{found[1].lower()}//{found[2]}"


def scheme_of(address: str) -> str:
    """The protocol of an address, in lower case."""
    return address.partition(":")[0].lower()


def public_name(address: str) -> str:
    """An address without the user, the password and what follows "?", which may be secret.

    Raises:
        UserError: the host cannot be separated from the rest.
    """
    scheme, _, rest = address.partition("://")
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    host = authority.rpartition("@")[2]
    if not _HOST.fullmatch(host):
        raise UserError(
            f"an address {scheme}://... has no host that can be read; write special characters of its "
            "password as %2F (/), %40 (@), %3A (:), %3F (?) or %23 (#)"
        )
    path, mark, _ = rest[len(authority) :].partition("#")[0].partition("?")
    return f"{scheme}://{host}{path}{mark and '?...'}"


def address_of(source: str | os.PathLike[str]) -> str | None:
    """The address, if a source has one that is not a file of this machine."""
    address = address_in(source)
    return None if address is None or scheme_of(address) == "file" else address


def local_path(source: str | os.PathLike[str]) -> Path:
    """The path of a source that is not an address; ``file://`` is taken off."""
    address = address_in(source)
    return Path(source if address is None else unquote(urlsplit(address).path))
