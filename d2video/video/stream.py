"""Frames of an address: a live stream, or a video that a server sends in order."""

import logging
import time
from collections.abc import Callable, Generator, Iterator
from http.client import HTTPException, HTTPResponse

import av
import numpy as np
from av.error import ExitError, FFmpegError, InvalidDataError

from d2video.fetching.download import reason_of
from d2video.utils import limits
from d2video.utils.addresses import public_name, scheme_of
from d2video.utils.errors import UserError
from d2video.utils.sources import STREAMS, WEB
from d2video.video.decoding import average_rate, check_streams, reason, upright
from d2video.video.frame_source import FrameSource, ReadFrame
from d2video.video.frame_times import FrameTimes
from d2video.video.live import LiveSource
from d2video.video.web import TIMEOUT, LocalCopy, is_file, is_playlist, request, save

logger = logging.getLogger(__name__)

# No "file": a playlist of a server must not name files of this machine.
_PROTOCOLS = ",".join(sorted({*STREAMS, *WEB, "crypto", "httpproxy", "rtmpt", "tls"}))
# Their parts of several seconds come at once.
_IN_PARTS = ("dash", "hls")
_ERRORS = (FFmpegError, OSError, HTTPException, UnicodeDecodeError)


def open_address(
    address: str, fps: float | None = None, on_broken: str = "raise"
) -> FrameSource | LocalCopy:
    """Open an address: a file of a web server is fetched, anything else is read as it comes.

    Args:
        address: as :func:`check_source` accepts.
        fps, on_broken: as for :func:`open_video`.

    Returns:
        the copy of a file; a live stream (:class:`LiveSource`), if nothing states how long it lasts;
        else a video that is read in order.

    Raises:
        UserError: it cannot be opened.
    """
    name, scheme = public_name(address), scheme_of(address)
    if scheme in WEB:
        response = request(address)
        if is_file(response) and not is_playlist(response):
            return save(response, name)
        container = _open(address, name, response)
    else:
        container = _open(address, name)

    def connect() -> "av.container.InputContainer":
        return _open(address, name, request(address) if scheme in WEB else None)

    kind = _LiveStream if container.duration is None else _OrderedStream
    return kind(name, container, connect, fps, on_broken)


def _open(
    address: str, name: str, response: HTTPResponse | None = None
) -> "av.container.InputContainer":
    """Open a stream; that of a web server out of its answer, but for a playlist."""
    largest = {"max_pixels": str(limits.MAX_IMAGE_PIXELS)}
    began = time.monotonic()
    try:
        if response is not None and not is_playlist(response):
            multipart = response.headers.get_content_type() == "multipart/x-mixed-replace"
            form = "mpjpeg" if multipart else None
            container = av.open(_Body(response), "r", format=form, options=largest)
        else:
            options = {**largest, "protocol_whitelist": _PROTOCOLS}
            if scheme_of(address) in ("rtsp", "rtsps"):
                options["rtsp_flags"] = "prefer_tcp"  # UDP loses packets
            container = av.open(address, "r", options=options, timeout=(TIMEOUT, TIMEOUT))
    except _ERRORS as error:
        # Of RTSP, FFmpeg reports another error when the time is up.
        is_late = time.monotonic() - began >= TIMEOUT
        why = f"no answer within {TIMEOUT:g} s" if is_late else _reason(error)
        # Not "from error": it holds the address with its password.
        raise UserError(
            f"cannot open {name} ({why}); check the address and that it is on the air"
        ) from None
    return check_streams(container, name)


class _Body:
    """The body of a server's answer, which FFmpeg reads as it comes."""

    def __init__(self, response: HTTPResponse) -> None:
        self._response = response

    def read(self, count: int) -> bytes:
        return self._response.read1(count)

    def close(self) -> None:
        self._response.close()


def _reason(error: Exception) -> str:
    if isinstance(error, ExitError):  # of the time limit
        return f"no data within {TIMEOUT:g} s"
    return reason_of(error, TIMEOUT) if isinstance(error, OSError) else reason(error)


class _Stream(FrameSource):
    """What both kinds of streams share: a container, which the first iteration uses."""

    def __init__(
        self,
        name: str,
        container: "av.container.InputContainer",
        connect: "Callable[[], av.container.InputContainer]",
        fps: float | None,
        on_broken: str,
    ) -> None:
        self.name = name
        self._on_broken = on_broken
        self._connect = connect
        self._fixed_fps = fps
        self._reason: str | None = None
        stream = container.streams.video[0]
        self.fps = fps or average_rate(stream)
        frames = self._decode(container)
        first = next(frames, None)
        if first is None:
            raise UserError(f"{name} sends no picture ({self._reason or 'it ends'})")
        self.size = upright(first).shape[:2]
        self._opened: tuple[Generator[av.VideoFrame, None, None], av.VideoFrame] | None
        self._opened = frames, first

    def _frames(self) -> "Generator[av.VideoFrame, None, None]":
        """Decode from where the stream is, the first frame included; what ends it is in ``_reason``."""
        opened, self._opened = self._opened, None
        if opened is None:
            yield from self._decode(self._connect())
            return
        frames, first = opened
        yield first
        del opened, first
        yield from frames

    def _decode(
        self, container: "av.container.InputContainer"
    ) -> "Generator[av.VideoFrame, None, None]":
        """Frames up to the end; packets that were damaged on the way are left out."""
        self._reason = None
        stream = container.streams.video[0]
        body = container.file.file if container.file is not None else None
        try:
            self._times = FrameTimes(container, self.fps)
            self._in_parts = container.format.name in _IN_PARTS
            self._promised = container.duration and container.duration / av.time_base
            for packet in container.demux(stream):
                try:
                    frames = packet.decode()
                except InvalidDataError:
                    continue
                yield from frames
        except _ERRORS as error:
            self._reason = _reason(error)
        finally:
            container.close()
            if body is not None:
                body.close()


class _LiveStream(_Stream, LiveSource):
    """A stream without an end."""

    def _arrivals(self) -> "Generator[av.VideoFrame, None, None]":
        start: float | None = None
        for frame in self._frames():
            if frame.time is not None and self._in_parts:
                now = time.monotonic()
                start = now - frame.time if start is None else start
                time.sleep(min(max(0.0, start + frame.time - now), TIMEOUT))
            yield frame

    def _rgb(self, arrived: "av.VideoFrame") -> np.ndarray:
        return upright(arrived)

    def _fault(self) -> str | None:
        return self._reason


class _OrderedStream(_Stream):
    """A video of known length; all frames are read, each with its own time."""

    estimated_length = None

    def _read(self) -> Iterator[ReadFrame]:
        count, end = 0, 0.0
        for frame in self._frames():
            time, duration = self._times.of(frame)
            end = time
            yield ReadFrame(
                upright(frame), *((None, None) if self._fixed_fps else (time, duration))
            )
            count += 1
        missing = (self._promised or 0) - end
        if self._reason is None and missing <= max(0.5, 0.1 * (self._promised or 0)):
            return
        broken = (
            f"{self.name} broke off after frame {count - 1} ({self._reason or 'it ends early'})"
        )
        if self._on_broken == "raise":
            raise UserError(f"{broken}; try again, or ask to stop there")
        logger.warning("%s; stopped there", broken)
