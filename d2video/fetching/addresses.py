"""Kinds of addresses, and the web links that are equivalent to them."""

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, quote, urlsplit

from d2video.utils.addresses import address_in, public_name
from d2video.utils.errors import UserError

# detectron2's own files lie in its cache without their host, where it finds them as well.
_DETECTRON2_HOST = "dl.fbaipublicfiles.com"
_LONGEST_NAME = 200  # file systems take 255 bytes
# Of a model on the Hub, the newer format first.
HUB_WEIGHTS = ("model.safetensors", "pytorch_model.bin")

_HUB_LINK = re.compile(
    r"https?://(?:www\.)?(?:huggingface\.co|hf\.co)/"
    r"(?!datasets/|spaces/|docs/|api/|models/)([^/@?#]+/[^/@?#]+)"
    r"(?:/(?:resolve|blob|raw|tree)/([^/?#]+)(?:/([^?#]+))?)?/?(?:[?#].*)?"
)
_HUB = re.compile(r"hf://([^/@]+/[^/@]+)(?:@([^/]+))?(?:/(.+?))?/?")
_DRIVE_LINK = re.compile(r"https?://(?:drive|docs|drive\.usercontent)\.google\.com/(.*)")
_DRIVE_FILE = re.compile(r"file/(?:u/\d+/)?d/([-\w]+)")
_DRIVE = re.compile(r"gdrive://([-\w]+)(?:/([^/]+))?")
_WEB = re.compile(r"https?://")
_BY_HAND = re.compile(r"by-hand://([^/]+)/([^/]+)")


def cache_folder() -> Path:
    """detectron2's cache: ``$FVCORE_CACHE``, else ``~/.torch/iopath_cache``."""
    return Path(os.getenv("FVCORE_CACHE") or "~/.torch/iopath_cache").expanduser().absolute()


@dataclass(frozen=True)
class WebFile:
    """A file with ``http://`` or ``https://``."""

    url: str

    def __str__(self) -> str:
        return self.url

    @property
    def page(self) -> str:
        return shown(self.url)

    @property
    def place(self) -> Path:
        """Where it is kept; a query that tells files apart becomes part of the name."""
        parts = urlsplit(self.url)
        *folders, name = _names(parts.path) or [""]
        stem, suffix = os.path.splitext(name)
        if parts.query or len(name.encode()) > _LONGEST_NAME:
            digest = hashlib.sha256(self.url.encode()).hexdigest()[:12]
            name = f"{stem[: _LONGEST_NAME // 4]}-{digest}{suffix[:20]}"
        host = f"{parts.hostname}_{parts.port}" if parts.port else f"{parts.hostname}"
        if host != _DETECTRON2_HOST:
            folders.insert(0, host)
        return cache_folder().joinpath(*(f[:_LONGEST_NAME] for f in folders), name)


@dataclass(frozen=True)
class Drive:
    """A file of Google Drive, ``gdrive://FILE_ID/name``; the name is that in the cache."""

    file_id: str
    name: str = ""

    def __str__(self) -> str:
        return f"gdrive://{self.file_id}" + (f"/{self.name}" if self.name else "")

    @property
    def page(self) -> str:
        return f"https://drive.google.com/file/d/{self.file_id}/view"

    @property
    def place(self) -> Path:
        return cache_folder() / "gdrive" / self.file_id / (self.name or "file")


@dataclass(frozen=True)
class HubFile:
    """A file of the Hugging Face Hub, ``hf://org/name[@revision][/file]``; no file: the weights."""

    repo: str
    revision: str = ""
    file: str = ""

    def __str__(self) -> str:
        revision = f"@{self.revision}" if self.revision else ""
        return f"hf://{self.repo}{revision}" + (f"/{self.file}" if self.file else "")

    @property
    def page(self) -> str:
        return f"https://huggingface.co/{self.repo}/tree/{self.revision or 'main'}"

    @property
    def place(self) -> Path:
        """Where a person may put it; the Hub's library keeps what it fetches in a cache of its own."""
        revision = f"@{self.revision}" if self.revision else ""
        names = _names(self.file or HUB_WEIGHTS[0])
        return (cache_folder() / "hf" / f"{self.repo}{revision}").joinpath(*names)


@dataclass(frozen=True)
class ByHand:
    """A file that no address gives, ``by-hand://folder/name``: a person puts it into the cache."""

    folder: str
    name: str

    def __str__(self) -> str:
        return f"by-hand://{self.folder}/{self.name}"

    @property
    def page(self) -> str:
        return "its authors"

    @property
    def place(self) -> Path:
        return cache_folder() / "by-hand" / self.folder / self.name


Address = WebFile | Drive | HubFile | ByHand


def parse(address: str) -> Address | None:
    """The address in one of the forms above; None: it is of another kind, or of none.

    A link to a page of Google Drive or of the Hub means the file that the page shows.
    """
    address = address_in(address) or address
    if match := _HUB_LINK.fullmatch(address) or _HUB.fullmatch(address):
        revision = match[2] if match[2] != "main" else ""
        return HubFile(match[1], revision or "", match[3] or "")
    if match := _DRIVE.fullmatch(address):
        return Drive(match[1], match[2] or "")
    if match := _DRIVE_LINK.fullmatch(address):
        in_path, query = _DRIVE_FILE.match(match[1]), parse_qs(urlsplit(address).query)
        file_id = in_path[1] if in_path else query.get("id", [""])[0]
        return Drive(file_id) if file_id else None
    if match := _BY_HAND.fullmatch(address):
        return ByHand(match[1], match[2])
    return WebFile(address.partition("#")[0]) if _is_of_a_web_file(address) else None


def _is_of_a_web_file(address: str) -> bool:
    if not _WEB.match(address):
        return False
    try:
        parts = urlsplit(address)
        parts.port  # noqa: B018  (reading it checks it)
    except ValueError:
        return False
    return bool(parts.hostname) and bool(_names(parts.path) or parts.query)


def _names(path: str) -> list[str]:
    """Of the folders and the file of an address."""
    return [name for name in path.split("/") if name not in ("", ".", "..")]


def escaped(url: str) -> str:
    """``url`` with what it must not hold, such as spaces, in its percent form."""
    return quote(url, safe="%/:=&?~#+!$,;'@()*[]")


def shown(address: str) -> str:
    """An address in messages: without the user, the password and the query of a web address."""
    whole = address_in(address) or address
    is_page = isinstance(parse(whole), Drive | HubFile)  # whose query names the file
    return public_name(whole) if _WEB.match(whole) and not is_page else address


def mirrored(url: str) -> str:
    """``url`` at the mirror that ``D2VIDEO_MIRROR`` names, unless it is on this machine.

    Raises:
        UserError: ``D2VIDEO_MIRROR`` is not an address.
    """
    mirror = os.getenv("D2VIDEO_MIRROR", "").rstrip("/")
    if mirror and not re.match(r"https?://[^/]", mirror):
        raise UserError(
            f"D2VIDEO_MIRROR is {mirror}: give an address such as http://mirror.local:8000"
        )
    parts = urlsplit(url)
    if not mirror or parts.hostname in ("localhost", "127.0.0.1", "::1"):
        return url
    if url.startswith(f"{mirror}/"):
        return url
    return f"{mirror}/{url.partition('://')[2]}"
