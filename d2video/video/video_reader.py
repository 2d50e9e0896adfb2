"""Frames in: everything that can be watched, lazily through one interface."""

import logging
import os
import reprlib
from collections.abc import Iterable, Iterator, Mapping, Set
from pathlib import Path
from typing import Any, Literal, NamedTuple

import av
from av.error import FFmpegError

from d2video.utils.addresses import address_of, local_path
from d2video.utils.errors import UserError
from d2video.utils.sources import (
    camera_number,
    check_source,
    expand_pattern,
    is_folder,
    is_list_file,
    is_pattern,
    read_list_file,
    source_name,
)
from d2video.video.camera import Camera
from d2video.video.decoding import CutOff, average_rate, decode, open_container, reason, upright
from d2video.video.frame_source import FrameSource, ReadFrame
from d2video.video.frame_times import FrameTimes
from d2video.video.image_io import (
    IMAGE_SUFFIXES,
    in_natural_order,
    list_images,
    read_rgb,
    visible_files,
)
from d2video.video.pictures import Picture, PictureSource, is_picture
from d2video.video.prefetch import FRAMES_AHEAD
from d2video.video.stream import open_address
from d2video.video.video_file import VIDEO_SUFFIXES
from d2video.video.web import LocalCopy

logger = logging.getLogger(__name__)

# What open_video takes: a name (path, pattern, address, camera), a camera's number, a picture, or several.
VideoSource = str | os.PathLike[str] | int | Picture | Iterable[Picture]
OnBroken = Literal["raise", "stop"]


class Several(NamedTuple):
    """What a list, a pattern or a folder means: pictures, or names of videos.

    Attributes:
        is_open: it may grow, so it counts as several videos even while it has one.
    """

    name: str
    items: list[Any]
    are_pictures: bool
    is_open: bool = False


def several(source: Any) -> Several | None:
    """The pictures or videos of a list, a pattern or a folder; ``None`` for any other source.

    A folder of images and videos means its images. A text file lists videos, of which none is
    looked at.

    Raises:
        UserError: a file is missing, nothing fits the pattern, the folder holds neither, or a list or a
            pattern has both.
    """
    if isinstance(source, list | tuple):
        items, name = list(source), "the list"
        for item in items:
            if isinstance(item, str | os.PathLike):
                check_source(item)
    elif is_list_file(source):
        return Several(str(source), read_list_file(source), are_pictures=False, is_open=True)
    elif is_pattern(source):
        name = str(source)
        paths = in_natural_order(expand_pattern(name))
        known = [path for path in paths if path.suffix.lower() in IMAGE_SUFFIXES | VIDEO_SUFFIXES]
        items = known or paths
    elif is_folder(source):
        path = local_path(source)
        videos = visible_files(path, VIDEO_SUFFIXES)
        items, name = visible_files(path, IMAGE_SUFFIXES) or videos or list_images(path), str(path)
    else:
        return None
    names = [item for item in items if isinstance(item, str | os.PathLike) and not is_picture(item)]
    if names and len(names) < len(items):
        raise UserError(
            f"{name} has images and videos, such as {names[0]}; give one kind at a time"
        )
    return Several(name, items, are_pictures=not names)


def open_video(
    source: VideoSource,
    *,
    fps: float | None = None,
    prefetch: int = FRAMES_AHEAD,
    on_broken: OnBroken = "raise",
) -> FrameSource:
    """Open a video for reading; the first frame is decoded at once, so that faults show up here.

    Args:
        source: one of

            - a video file, an animated GIF or PNG, or an image (a video of one frame);
            - a folder of images, in natural order, or a pattern that matches images (``"frames/*.png"``);
            - an address: of a file (``https://``), which is fetched first, or of a stream
              (``rtsp://``, ``rtmp://``, ``udp://``, HLS, or what a web server sends without an end);
            - a camera: its number, "0", or "camera:0";
            - a picture: an array (H,W,3) of uint8, RGB, a PIL image, or a uint8 tensor, (H,W,3) or
              (3,H,W);
            - pictures or paths of images: a list, an array or tensor of one dimension more, or any
              iterable, which is read lazily.

            Cameras and streams whose length nothing states are live; see :class:`LiveSource`.
        fps: frame rate, which then also sets the frames' times (but for what is live). By default the
            source's own, and for images and arrays, which have none, :data:`DEFAULT_FPS`.
        prefetch: frames decoded ahead in a background thread, 0 for none; of no effect on what is live.
        on_broken: after the good frames of a damaged file or folder, or of a camera or a stream that
            fails, ``"raise"`` a :class:`UserError`, or ``"stop"`` with a logged warning.

    Raises:
        UserError: the source is missing, unreadable, has no video stream or no frame, or is several
            videos. Iterating raises it for later frames that are damaged or of another size.
    """
    assert on_broken in ("raise", "stop"), on_broken
    if fps is not None and not 0.001 <= fps <= 1e6:
        raise UserError(f"the frame rate must be above 0 (0.001 to 1,000,000), got {fps}")
    video = _open(source, fps, on_broken)
    if not video.is_live:
        video.prefetch = prefetch
    return video


def _open(source: Any, fps: float | None, on_broken: OnBroken) -> FrameSource:
    number = camera_number(source)
    if number is not None:
        return Camera(number, fps, on_broken)
    listed = several(source)
    if listed is not None and listed.are_pictures:
        return PictureSource(listed.items, fps, on_broken, listed.name)
    if listed is not None:
        if len(listed.items) > 1:
            raise UserError(
                f"{listed.name} is {len(listed.items)} videos; open one at a time, or give them to a "
                "predictor"
            )
        return _open(listed.items[0], fps, on_broken)
    if isinstance(source, str | os.PathLike):
        check_source(source)
        address = address_of(source)
        if address is not None:
            opened = open_address(address, fps, on_broken)
            if isinstance(opened, FrameSource):
                return opened
            if is_picture(opened.path):
                return PictureSource([read_rgb(opened.path)], fps, on_broken, opened.name)
            return _FileSource(opened.path, fps, on_broken, opened)
    if is_picture(source):
        return PictureSource([source], fps, on_broken, source_name(source))
    if isinstance(source, str | os.PathLike):
        return _FileSource(local_path(source), fps, on_broken)
    if isinstance(source, Iterable) and not isinstance(source, bytes | bytearray | Mapping | Set):
        return PictureSource(source, fps, on_broken)
    raise UserError(
        f"cannot read a video from {reprlib.repr(source)}; give a file, a folder, an address, a camera's "
        "number or pictures"
    )


class _FileSource(FrameSource):
    """A video file, decoded by FFmpeg through PyAV."""

    def __init__(
        self, path: Path, fps: float | None, on_broken: str, copy: LocalCopy | None = None
    ) -> None:
        self.name = str(path) if copy is None else copy.name
        self._path = path
        self._copy = copy  # which goes with this object
        self._on_broken = on_broken
        self._fixed_fps = fps
        with open_container(self._path, self.name) as container:
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
            raise UserError(f"video {self.name} has no frames; the file is empty or damaged")
        self.size = first.image.shape[:2]

    def _read(self) -> Iterator[ReadFrame]:
        count = 0
        end: float | None = None
        with open_container(self._path, self.name) as container:
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
                f"cannot decode video {self.name} ({reason(error)}); the file is damaged"
            ) from error
        broken = f"video {self.name} is damaged after frame {count - 1} ({reason(error)})"
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
                *(self.name, end, promised),
            )
