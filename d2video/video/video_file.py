"""Chosen frames of a video file: seek to the key frame before, decode no more than is needed."""

import os
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import av
import numpy as np
from av.error import FFmpegError

from d2video.utils.errors import BrokenFile
from d2video.utils.limits import MAX_VIDEO_FRAMES
from d2video.video.decoding import (
    CutOff,
    average_rate,
    decode,
    open_container,
    reason,
    single_threaded,
    upright,
    upright_size,
)
from d2video.video.frame_index import frame_index

VIDEO_SUFFIXES = frozenset(
    {
        *(".3gp", ".asf", ".avi", ".flv", ".gif", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg"),
        *(".mpg", ".mts", ".mxf", ".ogv", ".ts", ".vob", ".webm", ".wmv"),
    }
)

# Gaps between wanted frames, in seconds. Over a short one decoding on is cheaper than a seek. In a
# file without an index of key frames, a seek pays only if the gap is longer than most are apart.
_DECODE_ON = 0.5
_SEEK_BLINDLY = 10.0


class TimedFrame(NamedTuple):
    """A frame, uint8 (H,W,3), RGB, upright, and its time in seconds since the first one."""

    time: float
    image: np.ndarray


class VideoFile:
    """A video file, of which frames are read by their time; use it in a ``with`` statement.

    Decoding runs in the caller's thread, so that it is safe in worker processes that were forked.

    Attributes:
        path: of the file.
        fps: frames a second, on average, by the header.
        duration: seconds, by the header.
        num_frames: frames by the header, at least 1: an estimate, as headers are often wrong.
        size: (height, width) in pixels of the first frame, upright.

    Raises:
        BrokenFile: the file is missing, no video, empty, has no video stream, or its first frames
            cannot be decoded.
    """

    # None after close().
    _container: Any
    _stream: Any
    _frames: Any
    # The frame of the last time asked for and the one after it, each with its time.
    _shown: Any
    _ahead: Any

    def __init__(self, path: str | os.PathLike[str]):
        self.path = str(path)
        self._open()
        self.fps = average_rate(self._stream)
        self.size = upright_size(self._shown[1])
        duration, self._is_promised = self._header_duration()
        if duration and not duration * self.fps <= MAX_VIDEO_FRAMES:  # also for NaN
            raise self._broken(
                f"video {self.path} says that it lasts {duration:g} s at {self.fps:g} frames a second, "
                f"above the limit of {MAX_VIDEO_FRAMES} frames: it is damaged, or split it"
            )
        length = round(duration * self.fps) if duration else len(frame_index(self.path))
        self.num_frames = max(length, 1)
        self.duration = duration or self.num_frames / self.fps

    def __enter__(self) -> "VideoFile":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the decoder and the file back; a second call does nothing."""
        if self._container is not None:
            self._container.close()
        self._container = self._stream = self._frames = self._shown = self._ahead = None

    def _broken(self, message: str) -> BrokenFile:
        """The error; closes the file, since an error keeps what its frames hold."""
        self.close()
        return BrokenFile(message)

    def read_frames_at(self, times: Sequence[float] | np.ndarray) -> list[TimedFrame]:
        """:meth:`frames_at` of times in any order; a frame that is wanted repeatedly is one array."""
        order = np.argsort(times, kind="stable")
        frames = list(self.frames_at(np.asarray(times)[order]))
        return [frames[place] for place in np.argsort(order)]

    def frames_at(self, times: Sequence[float] | np.ndarray) -> Iterator[TimedFrame]:
        """The frames on show at some times, in order, decoded as they are asked for.

        A time means the last frame that begins no later than half an average frame after it; at a
        constant rate that is the nearest. The last frame covers all times after it, unless the
        header promises more frames.

        Args:
            times: seconds since the first frame, ascending.

        Raises:
            BrokenFile: a frame cannot be decoded or is of another size than the first, or the file
                ends before a time that lies within its header's duration.
        """
        assert np.all(np.diff(times) >= 0), "times must ascend"
        image_time, image = 0.0, None
        for time in times:
            self._move_to(float(time))
            if image is None or image_time != self._shown[0]:
                image_time, image = self._shown[0], upright(self._shown[1])
                if image.shape[:2] != self.size:
                    (height, width), size = image.shape[:2], self.size
                    raise self._broken(
                        f"video {self.path} changes its size at {image_time:.1f} s, from "
                        f"{size[1]}x{size[0]} to {width}x{height} pixels: convert it to one size or "
                        "leave it out"
                    )
            yield TimedFrame(image_time, image)

    def shown_times(self, times: np.ndarray) -> np.ndarray:
        """When the frames begin that :meth:`frames_at` gives, without decoding them.

        Args:
            times: float (T,), seconds since the first frame.

        Raises:
            BrokenFile: the file cannot be read.
        """
        starts = frame_index(self.path).times
        return starts[np.searchsorted(starts, times + 0.5 / self.fps, side="right") - 1]

    def _move_to(self, time: float) -> None:
        """Make ``_shown`` the frame of that time, and ``_ahead`` the one after (None at the end)."""
        limit = time + 0.5 / self.fps
        if self._shown[0] > limit or self._seek_pays(time):
            self._seek(time, limit)
        while self._ahead is not None and self._ahead[0] <= limit:
            self._shown, self._ahead = self._ahead, self._next()
        if self._ahead is None and self._is_promised and time < self.duration:
            shown, frame = self._shown
            end = shown + max(float((frame.duration or 0) * frame.time_base), 2 / self.fps)
            if time - end > 0.5:
                raise self._broken(
                    f"video {self.path} ends at {end:.1f} s of the {self.duration:.1f} s that its "
                    "header promises: it is cut off; fetch it again or leave it out"
                )

    def _seek_pays(self, time: float) -> bool:
        if self._ahead is None or not self._has_times:
            return False
        gap = time - self._ahead[0]
        if gap <= _DECODE_ON:
            return False
        entries, wanted = self._stream.index_entries, self._timestamp(time)
        if len(entries) and entries[len(entries) - 1].timestamp >= wanted:
            key = entries.search_timestamp(wanted, backward=True)
            unit = float(self._stream.time_base)
            return key >= 0 and entries[key].timestamp * unit - self._start > self._ahead[0]
        return gap > _SEEK_BLINDLY

    def _seek(self, time: float, limit: float) -> None:
        """Restart at a key frame before a time."""
        # Indices go by the order of decoding: the key frame that they name may be shown too late.
        for margin in (0.0, 1.0, 8.0):
            if not self._has_times or time <= margin:
                break
            try:
                self._container.seek(self._timestamp(time - margin), stream=self._stream)
            except FFmpegError as error:  # not every format can
                error.with_traceback(None)
                break
            self._frames = enumerate(decode(self._container, self._stream))
            shown = self._next()
            if shown is not None and shown[0] <= limit:
                self._shown, self._ahead = shown, self._next()
                return
        self.close()
        self._open()

    def _timestamp(self, time: float) -> int:
        return int((time + self._start) / float(self._stream.time_base))

    def _open(self) -> None:
        """Open the file and decode its first two frames."""
        self._container = open_container(self.path)
        stream = self._stream = single_threaded(self._container)
        self._frames = enumerate(decode(self._container, stream))
        self._start = 0.0
        first = self._next()
        if first is None:
            raise self._broken(f"video {self.path} has no frames; the file is empty or damaged")
        self._start, frame = first
        self._has_times = frame.pts is not None
        self._shown, self._ahead = (0.0, frame), self._next()

    def _next(self) -> "tuple[float, av.VideoFrame] | None":
        """The next decoded frame and its time; None at the end."""
        try:
            index, frame = next(self._frames, (0, None))
        except (FFmpegError, CutOff) as error:
            # What an error's frames hold lives as long as it: here it would be a decoder.
            error.with_traceback(None)
            raise self._broken(
                f"cannot decode video {self.path} ({reason(error)}); the file is damaged: fetch it "
                "again or leave it out"
            ) from error
        if frame is None:
            return None
        if frame.time is None:  # bare streams have no times, and no seeking
            return index / average_rate(self._stream), frame
        return frame.time - self._start, frame

    def _header_duration(self) -> tuple[float | None, bool]:
        """Seconds by the header, and whether they are certainly those of the pictures."""
        stream, container = self._stream, self._container
        if stream.duration is not None and stream.time_base is not None:
            return float(stream.duration * stream.time_base), True
        tag = stream.metadata.get("DURATION", "")  # Matroska: 00:00:02.040000000
        try:
            hours, minutes, seconds = map(float, tag.split(":"))
            return 3600 * hours + 60 * minutes + seconds, True
        except ValueError:
            pass
        # Sound may last longer than the pictures.
        return (container.duration / av.time_base if container.duration else None), False
