"""What is known of addresses before they are fetched: hash, page, other addresses."""

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from d2video.fetching.addresses import Drive, WebFile, parse

# Hosts that end the names of their files in the beginning of the file's sha256 (torch hub's convention).
_HASH_IN_NAME = ("dl.fbaipublicfiles.com", "download.pytorch.org")
_NAME_WITH_HASH = re.compile(r"-((?=[0-9]*[a-f])[0-9a-f]{8,64})\.\w+$")  # of digits only: a date


@dataclass(frozen=True)
class KnownFile:
    """
    Attributes:
        sha256: in hexadecimal digits, or their beginning; "": unknown.
        page: where a person finds the file.
        file_name: as on that page.
        fallbacks: other addresses, tried in turn where the main one has no such file or, on
            Google Drive, does not give it.
        note: what a person should know if it cannot be fetched.
    """

    sha256: str = ""
    page: str = ""
    file_name: str = ""
    fallbacks: tuple[str, ...] = ()
    note: str = ""


_FILES: dict[str, KnownFile] = {}


def register_file(address: str, known: KnownFile) -> None:
    """Make known what there is to know of an address."""
    _FILES[address_key(address)] = known


def known_file(address: str) -> KnownFile:
    """What is known of an address, be it only by the hash in its name."""
    found = _FILES.get(address_key(address))
    if found is not None:
        return found
    parsed = parse(address)
    if isinstance(parsed, WebFile) and urlsplit(parsed.url).hostname in _HASH_IN_NAME:
        match = _NAME_WITH_HASH.search(urlsplit(parsed.url).path)
        return KnownFile(sha256=match[1] if match else "")
    return KnownFile()


def address_key(address: str) -> str:
    """The same for all ways of writing an address, such as a link to its page; a path stays."""
    parsed = parse(address)
    return f"gdrive://{parsed.file_id}" if isinstance(parsed, Drive) else str(parsed or address)
