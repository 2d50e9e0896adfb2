"""Files and streams at web addresses."""

import mimetypes
import shutil
import tempfile
import weakref
from http.client import HTTPResponse
from pathlib import Path
from urllib.parse import unquote, urlsplit

from d2video.fetching.cache import FetchFault
from d2video.fetching.download import open_url, write_body
from d2video.utils.addresses import public_name
from d2video.utils.errors import UserError
from d2video.video.image_io import IMAGE_SUFFIXES

TIMEOUT = 10.0  # seconds without an answer or data
_PLAYLISTS = frozenset(
    {
        *("application/vnd.apple.mpegurl", "application/x-mpegurl", "audio/mpegurl"),
        *("audio/x-mpegurl", "application/dash+xml"),
    }
)


class LocalCopy:
    """A file from the web; it is deleted with this object, or when the program ends.

    Attributes:
        name: its address, without what may be secret.
        path: of the copy; its last part is the file's name.
    """

    def __init__(self, name: str, file_name: str) -> None:
        folder = tempfile.mkdtemp(prefix="d2video-")
        self.name = name
        self.path = Path(folder, file_name)
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)


def request(address: str) -> HTTPResponse:
    """Ask for a file or a stream at an http(s) address, with the user and password in it, if any.

    Raises:
        UserError: the server cannot be reached or refuses, or answers with a web page.
    """
    name = public_name(address)
    try:
        response = open_url(address, TIMEOUT)
    except FetchFault as fault:
        raise UserError(f"cannot open {name}: {fault}; check the address") from None
    if response.headers.get_content_type() in ("text/html", "application/xhtml+xml"):
        response.close()
        raise UserError(
            f"{name} is a web page, not a video; give the address of the video file itself, or save the "
            "video first (yt-dlp does so for many sites)"
        )
    return response


def is_playlist(response: HTTPResponse) -> bool:
    """Whether it is the list of a stream's parts: HLS or DASH."""
    suffix = Path(urlsplit(response.url).path).suffix.lower()
    return response.headers.get_content_type() in _PLAYLISTS or suffix in (".m3u8", ".mpd")


def is_file(response: HTTPResponse) -> bool:
    """Whether it has an end: its length is stated, or it is an image."""
    content = response.headers.get_content_maintype()
    return response.length is not None or content == "image"


def save(response: HTTPResponse, name: str) -> LocalCopy:
    """Read a file to its end, with a progress bar.

    Raises:
        UserError: the transfer breaks off, or the disk refuses.
    """
    file_name = Path(unquote(urlsplit(response.url).path)).name or "download"
    kind = response.headers.get_content_type()
    is_image = kind.startswith("image/") and kind != "image/gif"
    if is_image and Path(file_name).suffix.lower() not in IMAGE_SUFFIXES:
        file_name += mimetypes.guess_extension(kind) or ""
    try:
        copy = LocalCopy(name, file_name)
        with response, copy.path.open("wb") as file:
            write_body(response, file, file_name)
    except (FetchFault, OSError) as error:
        raise UserError(f"cannot fetch {name}: {error}; try again") from None
    return copy
