"""Downloads by HTTP and from Google Drive."""

import http.client
import re
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import BinaryIO
from urllib.parse import unquote, urlsplit

from tqdm import tqdm

from d2video.fetching.addresses import escaped, mirrored
from d2video.fetching.cache import FetchFault

_TIMEOUT = 30.0  # seconds without a byte
_CHUNK = 1 << 20
# What a server answers where it has no such file; Amazon's says "forbidden".
_MISSING = (403, 404, 410)
_WEB_PAGE = re.compile(rb"\s*(?:<!--.*?-->\s*)?<(?:!doctype html|html)", re.IGNORECASE | re.DOTALL)


def is_web_page(beginning: bytes) -> bool:
    return _WEB_PAGE.match(beginning) is not None


def download(url: str, file: BinaryIO, title: str) -> None:
    """Write what is at ``url`` to ``file``, with a progress bar named ``title``.

    Raises:
        FetchFault: as :func:`open_url` and :func:`write_body`.
        OSError: the disk refuses.
    """
    with open_url(url, _TIMEOUT) as response:
        write_body(response, file, title)


def open_url(address: str, timeout: float) -> http.client.HTTPResponse:
    """Ask for what is at an http(s) address, with the user and password in it, if any; mirrored.

    Args:
        timeout: seconds without an answer or data.

    Raises:
        FetchFault: the server cannot be reached or has no such file. Its message and its context hold
            no password.
    """
    try:
        parts = urlsplit(address)
        user, has_user, host = parts.netloc.rpartition("@")
        plain = mirrored(escaped(parts._replace(netloc=host, fragment="").geturl()))
        passwords = urllib.request.HTTPPasswordMgrWithDefaultRealm()
        if has_user:
            login, _, password = user.partition(":")
            passwords.add_password(None, plain, unquote(login), unquote(password))
        opener = urllib.request.build_opener(
            urllib.request.HTTPBasicAuthHandler(passwords),
            urllib.request.HTTPDigestAuthHandler(passwords),
        )
        request = urllib.request.Request(plain, headers={"User-Agent": "d2video"})
        return opener.open(request, timeout=timeout)
    except urllib.error.HTTPError as error:
        reason = _line(error.reason)
        raise FetchFault(
            f"the server answers {error.code} ({reason})", elsewhere=error.code in _MISSING
        ) from None
    # UnicodeError: a host that has no encoding. ValueError: a broken address or answer.
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise FetchFault(f"no connection to the server: {reason_of(error, timeout)}") from None


def write_body(response: http.client.HTTPResponse, file: BinaryIO, title: str) -> None:
    """Write a server's answer to ``file``, with a progress bar named ``title``.

    Raises:
        FetchFault: the transfer breaks off, or a web page comes in place of a file.
        OSError: the disk refuses.
    """
    expected, received = response.length, 0
    with _bar(title, expected) as bar:
        for chunk in _chunks(response):
            if not received and is_web_page(chunk[:1000]):
                raise FetchFault("a web page came in place of the file")
            file.write(chunk)
            received += len(chunk)
            bar.update(len(chunk))
    if expected is not None and received != expected:
        raise FetchFault(f"the transfer broke off after {received} of {expected} bytes")


def reason_of(error: Exception, timeout: float) -> str:
    """What an error of the network says, in a few words; ``timeout``: seconds that were waited."""
    cause = getattr(error, "reason", None) or error
    if isinstance(cause, TimeoutError):
        return f"no answer within {timeout:g} s"
    return _line(getattr(cause, "strerror", None) or cause) or type(cause).__name__


def _bar(title: str, total: int | None) -> tqdm:
    slow = 0.5 if sys.stderr.isatty() else 10.0  # seconds between the lines of a log
    return tqdm(
        total=total, unit="B", unit_scale=True, desc=title, mininterval=slow, maxinterval=slow
    )


def _chunks(response: http.client.HTTPResponse) -> Iterator[bytes]:
    while True:
        try:
            chunk = response.read(_CHUNK)
        except (OSError, http.client.HTTPException) as error:
            raise FetchFault(f"the transfer broke off: {_line(error)}") from error
        if not chunk:
            return
        yield chunk


def download_from_drive(file_id: str, file: BinaryIO, title: str) -> None:
    """Write a file of Google Drive to ``file``, also one behind the page that warns of its size; with a
    progress bar named ``title``.

    Raises:
        FetchFault: gdown is not installed, Drive refuses the file, or the transfer breaks off.
        OSError: the disk refuses.
    """
    try:
        import gdown
        from gdown.download import get_url_from_gdrive_confirmation
        from gdown.exceptions import DownloadError
        from requests import HTTPError, RequestException
    except ImportError as error:
        raise FetchFault(
            "files of Google Drive need the package gdown: pip install 'd2video[zoo]'",
            elsewhere=True,
        ) from error
    url = f"https://drive.google.com/uc?id={file_id}"
    try:
        for _ in range(3):
            file.truncate(0)
            with ExitStack() as stack:
                show = _shown_progress(stack, title)
                gdown.download(mirrored(url), file, quiet=True, progress=show, timeout=_TIMEOUT)
            file.flush()
            with open(file.name, "rb") as written:
                page = written.read(1 << 16)
            if not is_web_page(page):
                return
            # From a mirror, whose pages gdown does not know for Drive's.
            url = get_url_from_gdrive_confirmation(page.decode(errors="replace"))
    except HTTPError as error:
        code = 0 if error.response is None else error.response.status_code
        raise FetchFault(f"Google Drive answers {code}", elsewhere=code in _MISSING) from error
    except RequestException as error:
        raise FetchFault(f"no connection to Google Drive: {_root(error)}") from error
    except DownloadError as error:
        raise FetchFault(_plain(str(error)), elsewhere=True) from error  # such as a quota
    raise FetchFault("Google Drive gives a web page in place of the file", elsewhere=True)


def _shown_progress(stack: ExitStack, title: str) -> Callable[[int, int | None], None]:
    """A bar that is there from the first byte on: what cannot be reached shows none."""
    bars: list[tqdm] = []

    def move(received: int, total: int | None) -> None:
        if not bars:
            bars.append(stack.enter_context(_bar(title, total)))
        bars[0].update(received - bars[0].n)

    return move


def _root(error: BaseException) -> str:
    """The last cause in a chain of wrappers, each of which quotes the one below, in a few words."""
    while (inner := error.__cause__ or error.__context__) is not None:
        error = inner
    return _line(error) or type(error).__name__


def _plain(message: str) -> str:
    """gdown's message without tags and indents."""
    return f"Google Drive refuses: {_line(re.sub(r'<[^>]*>', '', message))}"


def _line(text: object) -> str:
    """In one line, of a length that can be read."""
    return " ".join(str(text).split())[:300]
