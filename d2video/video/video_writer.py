"""Frames out: MP4 files that browsers play."""

import math
import os
from contextlib import suppress
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.error import FFmpegError
from av.video.reformatter import ColorRange, Colorspace

from d2video.utils.errors import UserError
from d2video.video.frame_writer import FrameWriter

# x264's settings: a constant rate factor of 20 is hard to tell from the original; "veryfast" keeps
# encoding off the critical path on small machines.
_X264_OPTIONS = {"crf": "20", "preset": "veryfast"}

_TICKS = 90_000  # of a clock for frames' times, a second, at least
_ROUNDING = 6e-4  # seconds: Matroska and FLV state milliseconds


class VideoWriter(FrameWriter):
    """Write frames to an MP4 file that plays in every browser: H.264, yuv420p, index at the front.

    Frames that are written with their times keep them, and the last one its duration; others follow
    each other at the frame rate. All frames must have one size. H.264 in yuv420p needs even sides: an
    odd one gets its last row or column repeated.

    Args:
        path: file to write, ending in ``.mp4``. Its folder is created.
        fps: frames a second, of frames with times on average.
        key_frame_interval: every N-th frame is a key frame; 1: all of them. By default
            x264 chooses, at most 250.

    Raises:
        UserError: the path cannot be written or has another suffix; ``fps`` is not above 0; later, a
            frame has another size than the first, or no frame was written.
    """

    def __init__(
        self, path: str | os.PathLike[str], fps: float, key_frame_interval: int | None = None
    ) -> None:
        if Path(path).suffix.lower() != ".mp4":
            raise UserError(f"cannot write a video to {path}: the name must end in .mp4")
        if os.path.isdir(path):
            raise UserError(f"cannot write a video to {path}: it is a folder")
        if not fps > 0:
            raise UserError(f"the frame rate must be above 0, got {fps}")
        super().__init__(path)
        # NTSC rates such as 30000/1001 stay exact; a frame an hour, on average, is not none at all.
        self._fps = Fraction(fps).limit_denominator(1001) or Fraction(1, 1001)
        numerator = self._fps.numerator
        # Of times: a frame at the frame rate lasts a whole number of these.
        self._unit = Fraction(1, numerator * math.ceil(_TICKS / numerator))
        self._options = dict(_X264_OPTIONS)
        if key_frame_interval is not None:
            self._options["g"] = str(key_frame_interval)
        self._container: av.container.OutputContainer | None = None
        self._count = 0
        self._last = self._end = 0  # of the last frame, in units of the file

    def _append(self, image: np.ndarray, time: float | None, duration: float | None) -> None:
        height, width = image.shape[:2]
        if self._container is None:
            self._size = (height, width)
            self._has_times = time is not None
            self._container = self._start(height + height % 2, width + width % 2)
        assert (time is not None) == self._has_times, "all frames have a time, or none"
        if self._size != (height, width):
            raise UserError(
                f"{self.path}: a frame of {width}x{height} pixels follows frames of "
                f"{self._size[1]}x{self._size[0]}; all frames of a video must have one size"
            )
        if height % 2 or width % 2:
            image = np.pad(image, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
        frame = frame.reformat(
            format="yuv420p",
            dst_colorspace=Colorspace.ITU709,
            src_color_range=ColorRange.JPEG,
            dst_color_range=ColorRange.MPEG,
        )
        if time is not None:
            step = 1 / self._fps
            ticks = self._ticks(time, self._count * step)
            self._last = ticks if self._count == 0 else max(ticks, self._last + 1)
            frame.pts, frame.time_base = self._last, self._unit
            self._end = self._last + self._ticks(step if duration is None else duration, step)
        self._count += 1
        self._container.mux(self._stream.encode(frame))

    def _ticks(self, seconds: float | Fraction, regular: Fraction) -> int:
        """In units of the file; what differs by the source's rounding only is the regular time."""
        is_regular = abs(float(seconds - regular)) <= _ROUNDING
        return round((regular if is_regular else seconds) / self._unit)

    def _finish(self) -> None:
        if self._container is None:
            raise UserError(f"{self.path} was not written: there were no frames")
        packets = self._stream.encode(None)
        if self._has_times:
            packets[-1].duration = self._end - self._last
        self._container.mux(packets)
        self._container.close()

    def _release(self) -> None:
        if self._container is not None:
            with suppress(FFmpegError):  # a full disk: the file is removed next, complete or not
                self._container.close()

    def _start(self, height: int, width: int) -> "av.container.OutputContainer":
        # "faststart" moves the index to the front, so that a browser starts before the last byte.
        container = av.open(
            str(self._partial), "w", format="mp4", options={"movflags": "+faststart"}
        )
        # Without B-frames for the times' sake: MP4 has the durations between decoding times, and those
        # of B-frames would be odd ones at an uneven rate.
        options = self._options | ({"bf": "0"} if self._has_times else {})
        self._stream = container.add_stream("libx264", rate=self._fps, options=options)
        self._stream.width, self._stream.height = width, height
        self._stream.pix_fmt = "yuv420p"
        if self._has_times:
            self._stream.codec_context.time_base = self._unit
        # Untagged, small and large videos would be shown with different colour matrices.
        context = self._stream.codec_context
        context.colorspace = Colorspace.ITU709
        context.color_range = ColorRange.MPEG
        context.color_primaries = context.color_trc = 1  # BT.709 in ITU-T H.273
        return container
