"""Which frames a video file has, in the order of showing, and where decoding can begin.

The packets say so without decoding, if the file states when each frame is shown. Otherwise, as in AVI
with B-frames, the file is decoded once. L: frames; K: key frames.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import av
import numpy as np
from av.error import FFmpegError

from d2video.utils.errors import BrokenFile
from d2video.utils.file_state import file_key
from d2video.utils.limits import MAX_VIDEO_FRAMES
from d2video.video.decoding import (
    CutOff,
    average_rate,
    open_container,
    packets,
    reason,
    single_threaded,
    upright_size,
)

# FFmpeg's names of containers that state when frames are shown, also where that is another order than
# that of decoding.
_SHOWING = frozenset({"mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm", "mpegts", "flv", "mxf"})
# In these, too, the frames after a seek have the stamps that they have from the start on, if the order is
# one. FFmpeg counts the frames of bare streams; those of GIF and APNG need all before them.
_STAMPED = _SHOWING | {"avi", "asf", "ogg"}
_PROGRESSIVE = (0, 1)  # orders of fields: unknown, progressive
# Frames of all indices that a process keeps: 64 MB.
_MOST_KEPT = 4_000_000

_KEPT: dict[tuple[str, int, int], "FrameIndex"] = {}  # the latest one last


@dataclass(frozen=True)
class FrameIndex:
    """
    Attributes:
        times: float (L,), seconds since the first frame at which each one is shown.
        size: height and width of the first frame in pixels, upright.
        stamps: int64 (L,), time stamps of the decoded frames, strictly ascending; None: stamps do not
            identify the frames, which are counted from the first one.
        keys: int64 (K,), stamps of the frames with which decoding can begin, ascending.
        end: why the file ends too early, "" if it does not.
    """

    times: np.ndarray
    size: tuple[int, int]
    stamps: np.ndarray | None
    keys: np.ndarray
    end: str

    def __len__(self) -> int:
        return len(self.times)


def frame_index(path: str) -> FrameIndex:
    """The index of a file; it is kept in this process, and in those that are forked from it.

    Raises:
        BrokenFile: the file is missing, not a video or empty, its first frame cannot be decoded, or it
            has more than ``limits.MAX_VIDEO_FRAMES`` frames.
    """
    key = file_key(path)
    known = None if key is None else _KEPT.pop(key, None)
    if key is not None and known is not None:
        _KEPT[key] = known
        return known
    index = _read_index(path, by_decoding=False) or _read_index(path, by_decoding=True)
    assert index is not None
    return _keep(key, index)


def recounted_index(path: str) -> FrameIndex:
    """The index of a file whose decoded frames are not those that its packets promise.

    Raises:
        BrokenFile: as :func:`frame_index`.
    """
    index = _read_index(path, by_decoding=True)
    assert index is not None
    return _keep(file_key(path), replace(index, stamps=None))


def _keep(key: tuple[str, int, int] | None, index: FrameIndex) -> FrameIndex:
    # Without a lock, which a forked process might find closed for ever; two threads may read one twice.
    if key is not None:
        _KEPT[key] = index
        total = sum(map(len, [*_KEPT.values()]))
        for oldest in [*_KEPT][:-1]:
            if total <= _MOST_KEPT:
                break
            total -= len(_KEPT.pop(oldest, ()))
    return index


def _read_index(path: str, *, by_decoding: bool) -> FrameIndex | None:
    """The index by the file's packets, None if these do not suffice; or by all decoded frames."""
    sent: list[int | None] = []  # stamps of packets
    shown: list[int | None] = []  # of decoded frames
    keys: list[int | None] = []
    first, end = None, ""
    with open_container(path) as container:
        stream = single_threaded(container)
        try:
            for packet in packets(container, stream):
                if packet.size and not packet.is_discard:
                    sent.append(packet.pts)
                if packet.size and packet.is_keyframe:
                    keys.append(packet.pts)
                if first is None or by_decoding:
                    for frame in packet.decode():
                        first = first or frame
                        shown.append(frame.pts)
                if len(sent) > MAX_VIDEO_FRAMES:
                    raise BrokenFile(
                        f"video {path} has more than {MAX_VIDEO_FRAMES} frames: split it"
                    )
        except (FFmpegError, CutOff) as error:
            error.with_traceback(None)  # it would keep what its frames hold
            end = reason(error)
            if first is None:
                raise BrokenFile(f"cannot decode video {path} ({end}): it is damaged") from error
        if first is None:
            raise BrokenFile(f"video {path} has no frames; the file is empty or damaged")
        if not by_decoding:
            if end or not _packets_suffice(container, stream, sent, keys):
                return None
            # Frames before the first one shown cannot be decoded, or an edit list hides them.
            start = first.pts or 0
            shown = [*sorted(stamp for stamp in sent if stamp is not None and stamp >= start)]
        return _index(container, stream, first, shown, keys, end)


def _packets_suffice(
    container: "av.container.InputContainer",
    stream: "av.VideoStream",
    sent: Sequence[int | None],
    keys: Sequence[int | None],
) -> bool:
    """Whether each packet is a frame that is shown at the time that it states."""
    decoder = stream.codec_context
    if decoder.has_b_frames and container.format.name not in _SHOWING:
        return False
    # VP8 has packets that are not shown; a frame of H.264 or HEVC may be two packets, of a field each.
    if decoder.name == "vp8" or (
        decoder.name in ("h264", "hevc") and decoder.field_order not in _PROGRESSIVE
    ):
        return False
    # Recordings that were joined may begin again at 0: each part in its place, not sorted.
    return None not in sent and len({*sent}) == len(sent) and _ascends(keys)


def _ascends(stamps: Sequence[int | None]) -> bool:
    return None not in stamps and bool(np.all(np.diff(np.array(stamps, np.int64)) > 0))


def _index(
    container: "av.container.InputContainer",
    stream: "av.VideoStream",
    first: "av.VideoFrame",
    shown: Sequence[int | None],
    keys: Sequence[int | None],
    end: str,
) -> FrameIndex:
    stamps = np.array(shown, np.int64) if _ascends(shown) else None
    if stamps is None:
        times = np.arange(len(shown)) / average_rate(stream)
    else:
        times = (stamps - stamps[0]) * float(stream.time_base or 0)
    stamped = _SHOWING if stream.codec_context.has_b_frames else _STAMPED
    if container.format.name not in stamped or not _ascends(keys):
        stamps = None
    begins = np.array([] if stamps is None else keys, np.int64)
    return FrameIndex(times, upright_size(first), stamps, begins, end)
