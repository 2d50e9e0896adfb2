"""Opening video files, decoding them up to a cut, turning frames upright."""

import logging
import os
import threading
from collections.abc import Callable, Iterator

import av
import numpy as np
from av.error import FFmpegError
from av.video.reformatter import VideoReformatter
from detectron2.utils.logger import log_first_n

from d2video.utils import limits
from d2video.utils.errors import BrokenFile
from d2video.video.cut_end import RecentPackets, is_cut
from d2video.video.frame_source import DEFAULT_FPS

# Conversions must not be shared by threads.
_OF_THREAD = threading.local()


class CutOff(Exception):
    """A file ends before its frames do."""


def open_container(
    path: str | os.PathLike[str], name: str | None = None
) -> "av.container.InputContainer":
    """Open a file that has a video stream.

    Its decoders refuse frames of more than ``limits.MAX_IMAGE_PIXELS``. A playlist in it is not
    followed.

    Args:
        name: for messages; by default the path.

    Raises:
        BrokenFile: it is missing, not a video, damaged at its start, or as :func:`check_streams`.
    """
    name = str(path) if name is None else name
    largest = {"max_pixels": str(limits.MAX_IMAGE_PIXELS)}
    try:
        # The prefix: what a name holds before a colon would be taken for a protocol.
        container = av.open(f"file:{path}", options={"protocol_whitelist": "file", **largest})
    # UnicodeDecodeError: of text in the file.
    except (FFmpegError, OSError, UnicodeDecodeError) as error:
        error.with_traceback(None)  # it would keep what its frames hold
        raise BrokenFile(
            f"cannot read video {name} ({reason(error)}); it is damaged or not a video"
        ) from error
    return check_streams(container, name)


def check_streams(
    container: "av.container.InputContainer", name: str
) -> "av.container.InputContainer":
    """Check what an opened file or stream shows, and limit the size of its frames.

    Args:
        name: for messages.

    Returns:
        ``container``.

    Raises:
        BrokenFile: it has only sound (and a cover), no decoder, or its frames have no size or are too
            large; it is closed then.
    """
    if container.format.name == "webp_pipe":
        container.close()
        raise BrokenFile(f"{name}: FFmpeg reads no animated WebP; convert it to MP4, GIF or PNG")
    # The picture on a sleeve is a stream of its own.
    cover = av.stream.Disposition.attached_pic
    if all(stream.disposition & cover for stream in container.streams.video):
        container.close()
        raise BrokenFile(f"{name} has no video stream; give a file that shows pictures")
    if any(stream.codec_context is None for stream in container.streams.video):
        container.close()
        raise BrokenFile(
            f"cannot read video {name} (no decoder for its codec); it is damaged, or convert it"
        )
    for stream in container.streams.video:
        stream.codec_context.options = {"max_pixels": str(limits.MAX_IMAGE_PIXELS)}
    context = container.streams.video[0].codec_context
    # The look that FFmpeg takes at the first frames is under the limit, too.
    fault = limits.size_fault(context.height, context.width)
    if fault:
        container.close()
        if not context.width:
            fault = f"its frames have no size, or above {limits.MAX_IMAGE_PIXELS} pixels"
        raise BrokenFile(f"cannot read video {name}: {fault}; convert it or leave it out")
    return container


def single_threaded(container: "av.container.InputContainer") -> "av.VideoStream":
    """The first video stream of an opened file, decoded in the caller's thread.

    With frame threads FFmpeg drops the error of a packet that is cut off; and a process that is forked
    while there are threads would wait for them for ever.
    """
    stream = container.streams.video[0]
    stream.thread_type = "SLICE"
    stream.codec_context.thread_count = 1
    return stream


def average_rate(stream: "av.VideoStream") -> float:
    """Frames a second by the header, else :data:`DEFAULT_FPS`."""
    return float(stream.average_rate or stream.guessed_rate or DEFAULT_FPS)


def decode(
    container: "av.container.InputContainer",
    stream: "av.VideoStream",
    is_wanted: "Callable[[av.Packet], bool] | None" = None,
) -> "Iterator[av.VideoFrame]":
    """The frames of a file, as ``container.decode`` gives them, up to where it is cut off.

    Args:
        is_wanted: asked for each packet before it is decoded; False passes it over.

    Raises:
        CutOff, FFmpegError: as :func:`packets`, or something cannot be decoded.
    """
    damaged = _Damage()
    for packet in packets(container, stream):
        if is_wanted is None or not packet.size or is_wanted(packet):
            yield from damaged.count(packet)
    damaged.tell(container.name.removeprefix("file:"))


def packets(
    container: "av.container.InputContainer", stream: "av.VideoStream"
) -> "Iterator[av.Packet]":
    """The packets of a file up to where it is cut off; an empty one comes last.

    Raises:
        CutOff: the file ends in the middle of a frame or of its structure; see
            :mod:`d2video.video.cut_end`.
        FFmpegError: it cannot be read.
    """
    recent = RecentPackets(container)
    waiting = None
    for packet in container.demux(stream):
        at_end = not packet.size
        if waiting is not None:
            if at_end and (waiting.is_corrupt or recent.last_is_cut()):
                raise CutOff("it ends in the middle of a frame")
            yield waiting
        if at_end and is_cut(container):
            raise CutOff("it ends before its own structure does")
        if not at_end:
            recent.add(packet)
        waiting = packet
        # PyAV's iterator goes on to the other streams, and fails if there are new ones.
        if at_end and packet.dts is None and packet.pos in (None, -1):
            break
    if waiting is not None:
        yield waiting


class _Damage:
    """What decoders conceal in the middle of a file, such as packets that a recorder missed."""

    def __init__(self) -> None:
        self._packets = self._frames = 0

    def count(self, packet: "av.Packet") -> "Iterator[av.VideoFrame]":
        """Its frames."""
        self._packets += packet.is_corrupt
        for frame in packet.decode():
            self._frames += frame.is_corrupt
            yield frame

    def tell(self, name: str) -> None:
        places = max(self._packets, self._frames)
        if places:
            told = f"video {name} lacks data in between ({places}x): pictures there may be wrong"
            log_first_n(logging.WARNING, told, name=__name__, key="message")


def upright(frame: "av.VideoFrame") -> np.ndarray:
    """The frame as uint8 (H,W,3), RGB, turned as the file's display matrix asks (phone videos)."""
    # Otherwise each frame sets up a conversion, a hundred times as slow as converting a small frame.
    if not hasattr(_OF_THREAD, "reformatter"):
        _OF_THREAD.reformatter = VideoReformatter()
    image = _OF_THREAD.reformatter.reformat(frame, format="rgb24", threads=1).to_ndarray()
    quarter_turns = round(frame.rotation / 90)
    return np.ascontiguousarray(np.rot90(image, quarter_turns)) if quarter_turns else image


def upright_size(frame: "av.VideoFrame") -> tuple[int, int]:
    """Height and width of what :func:`upright` gives."""
    is_turned = round(frame.rotation / 90) % 2
    return (frame.width, frame.height) if is_turned else (frame.height, frame.width)


def reason(error: Exception) -> str:
    """What a library's error says, in a few words."""
    return getattr(error, "strerror", None) or str(error)
