"""An address to a file on this machine."""

import logging
import os
import re
from pathlib import Path
from typing import Any

from detectron2.checkpoint import catalog  # noqa: F401  (registers catalog://)
from detectron2.utils.file_io import PathManager
from iopath.common.file_io import HTTPURLHandler

from d2video.fetching.addresses import Address, ByHand, Drive, HubFile, WebFile, parse, shown
from d2video.fetching.archive import extract, member_place
from d2video.fetching.cache import FetchFault, fault_of, fill
from d2video.fetching.download import download, download_from_drive
from d2video.fetching.hub import cached_from_hub, fetch_from_hub
from d2video.fetching.known_files import KnownFile, known_file
from d2video.utils.addresses import address_in, address_of, local_path
from d2video.utils.errors import UserError

logger = logging.getLogger(__name__)

# A wheel of Python's package index is a zip archive.
_MEMBER = re.compile(r"(.*?\.(?:zip|whl))!/(.*)", re.DOTALL)


def is_address(text: str | os.PathLike[str]) -> bool:
    """Whether :func:`fetch` has something to do: an address, or a member of a zip archive."""
    return address_in(text) is not None or _MEMBER.fullmatch(str(text)) is not None


def fetch(address: str | os.PathLike[str]) -> Path:
    """The file at an address, in the cache; a path is returned as it is.

    Addresses are ``https://…``, ``http://…``, ``gdrive://FILE_ID/file_name``, ``hf://org/name`` (its
    weights), ``hf://org/name/file`` (each with ``@revision`` after the name, if need be), links to pages of
    Google Drive and of the Hub, what detectron2 knows (``detectron2://…``, ``catalog://…``) and
    ``….zip!/member`` or ``….whl!/member`` of an address or a path. A file that is in its place in the
    cache, be it by hand, is taken without network, if it has the known hash. ``file://`` is taken off a
    path. One process fetches, others wait for it.

    Raises:
        UserError: it cannot be fetched; the line says what to do by hand. Nothing is left in the cache.
    """
    text = address_in(address) or str(address)
    if found := _MEMBER.fullmatch(text):
        return _fetch_member(text, found[1], found[2])
    if address_of(text) is None:
        return local_path(address)
    try:
        local = PathManager.get_local_path(text)
    # Of other handlers than this module's: detectron2's catalogue, those that a user has registered.
    except (OSError, RuntimeError, KeyError) as error:
        raise UserError(f"{text}: cannot be fetched ({error}); check the address") from error
    if address_in(local) is not None:
        raise UserError(
            f"{text}: addresses of this kind cannot be fetched; give a file, or an address with "
            "https://, hf:// or gdrive://"
        )
    return Path(local)


def place(address: str) -> Path:
    """Where the file of an address is kept, or may be put by hand.

    Raises:
        UserError: such addresses have no place.
    """
    if found := _MEMBER.fullmatch(address):
        return member_place(place(found[1]), found[2])
    parsed = parse(address)
    if parsed is None:
        raise UserError(f"{address}: no address that is kept in the cache")
    return _place(parsed, known_file(address))


def web_page(address: str) -> str:
    """A link for people: to the file, or to the page that shows it."""
    parsed = parse(address.partition("!/")[0])
    assert parsed is not None, address
    return parsed.page


def cached(address: str) -> Path | None:
    """The file of an address or of an alternative to it, if it is available offline."""
    for each in (address, *known_file(address).fallbacks):
        if (file := _cached(each)) is not None:
            return file
    return None


def _place(parsed: Address, known: KnownFile) -> Path:
    if isinstance(parsed, Drive) and not parsed.name:
        parsed = Drive(parsed.file_id, known.file_name)
    return parsed.place


def _cached(address: str) -> Path | None:
    file = place(address)
    if file.is_file():
        fault = fault_of(file, known_file(address))
        if not fault:
            return file
        logger.warning("%s %s: it is not used", file, fault)
    parsed = parse(address)
    return cached_from_hub(parsed) if isinstance(parsed, HubFile) else None


def _fetch_member(text: str, archive: str, member: str) -> Path:
    if not member.strip("/"):
        raise UserError(f"{shown(text)}: name a file of the archive after '!/'")
    if address_of(archive) is not None:
        if (file := cached(text)) is not None:
            return file
    elif not local_path(archive).is_file():
        raise UserError(f"{text}: there is no file {archive}; check the path")
    try:
        return extract(fetch(archive), member, known_file(text))
    except FetchFault as fault:
        raise UserError(f"{shown(text)}: {fault}") from fault


def _fetch_first(address: str) -> Path:
    """From the address, or from the first of its alternatives that has the file."""
    if (file := cached(address)) is not None:
        return file
    faults = []
    for each in (address, *known_file(address).fallbacks):
        try:
            return _retrieve(each)
        except FetchFault as fault:
            faults.append((each, fault))
            if not fault.elsewhere:
                break
            logger.warning("%s: %s", shown(each), fault)
    reason = "; ".join(
        f"{fault}" if each == address else f"{shown(each)}: {fault}" for each, fault in faults
    )
    raise UserError(f"{shown(address)}: cannot be fetched: {reason}; {_by_hand(address)}")


def _retrieve(address: str) -> Path:
    parsed, known = parse(address), known_file(address)
    assert parsed is not None, address
    if isinstance(parsed, HubFile):
        return fetch_from_hub(parsed)
    if isinstance(parsed, ByHand):
        raise FetchFault("no address of this file is known")
    target = _place(parsed, known)
    logger.info("Fetching %s to %s", shown(address), target)
    if isinstance(parsed, WebFile):
        return fill(target, known, lambda file: download(parsed.url, file, target.name))
    return fill(target, known, lambda file: download_from_drive(parsed.file_id, file, target.name))


def _by_hand(address: str) -> str:
    """What a person can do, with all that is known of the file."""
    known, target, parsed = known_file(address), place(address), parse(address)
    assert parsed is not None, address
    facts = []
    if known.sha256:
        facts.append(f"sha256 {known.sha256}{'…' if len(known.sha256) < 64 else ''}")
    facts += [known.note] if known.note else []
    described = f" ({'; '.join(facts)})" if facts else ""
    name = known.file_name or target.name
    renamed = f" as {target.name}" if name != target.name else ""
    return (
        f"get {name}{described} by hand from {known.page or parsed.page} and put it into "
        f"{target.parent}{renamed}"
    )


class FetchingHandler(HTTPURLHandler):
    """In place of iopath's handler of HTTP, which checks no hash, waits for ever for a dead server and
    mistakes files of one name on two hosts for each other."""

    def _get_supported_prefixes(self) -> list[str]:
        return ["http://", "https://", "hf://", "gdrive://", "by-hand://"]

    def _get_local_path(self, path: str, force: bool = False, **kwargs: Any) -> str:
        self._check_kwargs(kwargs)
        if _MEMBER.fullmatch(path):
            return str(fetch(path))
        if parse(path) is None:
            raise UserError(
                f"{shown(path)}: this is not the address of a file; give that of one file"
            )
        if force:
            place(path).unlink(missing_ok=True)
        return str(_fetch_first(path))


PathManager.register_handler(FetchingHandler(), allow_override=True)
