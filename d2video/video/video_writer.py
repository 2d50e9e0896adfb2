"""Frames out: MP4 files that browsers play."""

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


class VideoWriter(FrameWriter):
    """Write frames to an MP4 file that plays in every browser: H.264, yuv420p, index at the front.

    All frames must have one size. H.264 in yuv420p needs even sides: an odd one gets its last row or
    column repeated.

    Args:
        path: file to write, ending in ``.mp4``. Its folder is created.
        fps: frames a second.
        key_frame_interval: every how many frames one is coded by itself; 1: all of them. By default
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
        if Path(path).is_dir():
            raise UserError(f"cannot write a video to {path}: it is a folder")
        if not fps > 0:
            raise UserError(f"the frame rate must be above 0, got {fps}")
        super().__init__(path)
        # NTSC rates such as 30000/1001 stay exact.
        self._fps = Fraction(fps).limit_denominator(1001)
        self._options = dict(_X264_OPTIONS)
        if key_frame_interval is not None:
            self._options["g"] = str(key_frame_interval)
        self._container: av.container.OutputContainer | None = None

    def _append(self, image: np.ndarray) -> None:
        height, width = image.shape[:2]
        if self._container is None:
            self._size = (height, width)
            self._container = self._start(height + height % 2, width + width % 2)
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
        self._container.mux(self._stream.encode(frame))

    def _finish(self) -> None:
        if self._container is None:
            raise UserError(f"{self.path} was not written: there were no frames")
        self._container.mux(self._stream.encode(None))
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
        self._stream = container.add_stream("libx264", rate=self._fps, options=self._options)
        self._stream.width, self._stream.height = width, height
        self._stream.pix_fmt = "yuv420p"
        # Untagged, small and large videos would be shown with different colour matrices.
        context = self._stream.codec_context
        context.colorspace = Colorspace.ITU709
        context.color_range = ColorRange.MPEG
        context.color_primaries = context.color_trc = 1  # BT.709 in ITU-T H.273
        return container
