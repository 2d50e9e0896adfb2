"""Frames in: video files, folders of images, cameras and arrays, lazily through one interface."""

import logging
import os
from collections.abc import Iterable, Iterator, Sized
from itertools import chain
from pathlib import Path
from typing import Literal

import av
import numpy as np
from av.error import FFmpegError

from d2video.utils.errors import UserError
from d2video.utils.files import check_source
from d2video.video.camera import Camera
from d2video.video.decoding import CutOff, average_rate, decode, open_container, reason, upright
from d2video.video.frame_source import DEFAULT_FPS, FrameSource, ReadFrame, check_frame
from d2video.video.frame_times import FrameTimes
from d2video.video.image_io import is_still_image, list_images, number_in_name, read_rgb
from d2video.video.prefetch import FRAMES_AHEAD

logger = logging.getLogger(__name__)

# A file or folder, a camera's number, or frames.
VideoSource = str | os.PathLike[str] | int | Iterable[np.ndarray]
OnBroken = Literal["raise", "stop"]


def open_video(
    source: VideoSource,
    *,
    fps: float | None = None,
    prefetch: int = FRAMES_AHEAD,
    on_broken: OnBroken = "raise",
) -> FrameSource:
    """Open a video for reading; the first frame is decoded at once, so that faults show up here.

    Args:
        source: a video file, an animated GIF or PNG, an image (a video of one frame), a folder of
            images (in natural order), a camera (its number, or "camera:0"; see :class:`Camera`), or
            an iterable of uint8 arrays (H,W,3), RGB.
        fps: frame rate, which then also sets the frames' times (but for a camera). By default the
            file's or the camera's own, and for images and arrays, which have none,
            :data:`DEFAULT_FPS`.
        prefetch: frames decoded ahead in a background thread, 0 for none; of no effect on a camera.
        on_broken: after the good frames of a damaged file or folder, or of a camera that fails,
            ``"raise"`` a :class:`UserError`, or ``"stop"`` with a logged warning.

    Raises:
        UserError: the source is missing, unreadable, has no video stream or no frame. Iterating
            raises it for later frames that are damaged or of another size.
    """
    assert on_broken in ("raise", "stop"), on_broken
    if fps is not None and not 0.001 <= fps <= 1e6:
        raise UserError(f"the frame rate must be above 0 (0.001 to 1,000,000), got {fps}")

    video: FrameSource
    if isinstance(source, str) and source.startswith("camera:"):
        number = source.removeprefix("camera:")
        if not number.isdecimal():
            raise UserError(f"'{source}' names no camera; give its number, as in camera:0")
        source = int(number)
    if isinstance(source, int):
        return Camera(source, fps, on_broken)
    if isinstance(source, str | os.PathLike):
        check_source(source)
        path = Path(source)
        if path.is_dir():
            video = _ImageSource(str(path), list_images(path), fps, on_broken)
        elif is_still_image(path):
            video = _ImageSource(str(path), [path], fps, on_broken)
        else:
            video = _FileSource(path, fps, on_broken)
    elif isinstance(source, Iterable):
        video = _ArraySource(source, fps)
    else:
        raise UserError(
            f"cannot read a video from {source!r}; give a file, a folder, a camera's number or an "
            "iterable of arrays"
        )
    video.prefetch = prefetch
    return video


class _FileSource(FrameSource):
    """A video file, decoded by FFmpeg through PyAV."""

    def __init__(self, path: Path, fps: float | None, on_broken: str) -> None:
        self.name = str(path)
        self._path = path
        self._on_broken = on_broken
        self._fixed_fps = fps
        with open_container(self._path) as container:
            stream = container.streams.video[0]
            self.fps = fps or average_rate(stream)
            length = stream.frames
            # The duration first: it heeds edit lists, which the frame count ignores.
            if stream.duration is not None and stream.time_base is not None:
                seconds = float(stream.duration * stream.time_base)
                length = round(seconds * float(stream.average_rate or self.fps))
            self.estimated_length = length or None
        # Only the decoded frame tells size and rotation for certain.
        first = next(self._read(), None)
        if first is None:
            raise UserError(f"video {path} has no frames; the file is empty or damaged")
        self.size = first.image.shape[:2]

    def _read(self) -> Iterator[ReadFrame]:
        count = 0
        end: float | None = None
        with open_container(self._path) as container:
            stream = container.streams.video[0]
            # With frame threads FFmpeg drops the error of a packet that is cut off.
            stream.thread_type = "SLICE"
            times = FrameTimes(container, self.fps)
            try:
                for frame in decode(container, stream):
                    end = frame.time
                    shown = (None, None) if self._fixed_fps else times.of(frame)
                    yield ReadFrame(upright(frame), *shown)
                    count += 1
            # The decoder may hold a few more frames, but with gaps among them (B-frames whose turn
            # had not come): they are not asked for.
            except (FFmpegError, CutOff) as error:
                # Errors keep what their frames hold: here a decoder and its threads. A process that
                # is forked meanwhile would wait for these threads for ever when it ends.
                del container, stream
                error.with_traceback(None)
                self._report_break(count, error)
                return
            self._warn_of_early_end(container, stream, end)

    def _report_break(self, count: int, error: Exception) -> None:
        if count == 0:
            raise UserError(
                f"cannot decode video {self._path} ({reason(error)}); the file is damaged"
            ) from error
        broken = f"video {self._path} is damaged after frame {count - 1} ({reason(error)})"
        if self._on_broken == "raise":
            raise UserError(f"{broken}; repair the file, or ask to stop there") from error
        logger.warning("%s; stopped there", broken)

    def _warn_of_early_end(
        self, container: "av.container.InputContainer", stream: "av.VideoStream", end: float | None
    ) -> None:
        """A Matroska file, for one, can be cut between two frames without a decoding error."""
        if stream.duration is not None or container.duration is None or end is None:
            return
        promised = container.duration / av.time_base
        if promised - end > max(0.5, 0.1 * promised):  # sound may last a little longer
            logger.warning(
                "video %s ends at %.1f s of the %.1f s that it says it lasts: it may be cut off",
                *(self._path, end, promised),
            )


class _ImageSource(FrameSource):
    """Image files, one a frame."""

    def __init__(self, name: str, paths: list[Path], fps: float | None, on_broken: str) -> None:
        self.name = name
        self._paths = paths
        self._on_broken = on_broken
        self.fps = fps or DEFAULT_FPS
        self.size = read_rgb(paths[0]).shape[:2]
        self.estimated_length = len(paths)
        numbers = [number for number in map(number_in_name, paths) if number is not None]
        if len({*numbers}) == len(paths):
            self.frame_numbers = numbers

    def _read(self) -> Iterator[ReadFrame]:
        for index, path in enumerate(self._paths):
            try:
                image = read_rgb(path)
            except UserError as error:
                if self._on_broken == "raise":
                    raise
                logger.warning("%s: %s; stopped before frame %d", self.name, error, index)
                return
            yield ReadFrame(image)


class _ArraySource(FrameSource):
    """Arrays out of any iterable."""

    name = "the array source"

    def __init__(self, arrays: Iterable[np.ndarray], fps: float | None) -> None:
        self.fps = fps or DEFAULT_FPS
        self.estimated_length = len(arrays) if isinstance(arrays, Sized) else None
        iterator = iter(arrays)
        self._is_one_shot = iterator is arrays
        first = next(iterator, None)
        if first is None:
            raise UserError(f"{self.name} is empty; a video needs at least one frame")
        self._arrays: Iterable[np.ndarray] | None = (
            chain([first], iterator) if self._is_one_shot else arrays
        )
        self.size = check_frame(self.name, 0, first).shape[:2]

    def _read(self) -> Iterator[ReadFrame]:
        arrays = self._arrays
        if arrays is None:
            raise UserError(f"{self.name} is an iterator that was used up; open a new one")
        if self._is_one_shot:
            self._arrays = None
        for index, array in enumerate(arrays):
            yield ReadFrame(check_frame(self.name, index, array))
