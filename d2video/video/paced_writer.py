"""The video of a camera, at the pace of the scene."""

import numpy as np

from d2video.video.frame_writer import FrameWriter


class PacedWriter:
    """Hands pictures on, each as often as it takes until the next one's time has come.

    So the video of a camera plays at the pace of the scene, however slow the model is.
    """

    def __init__(self, writer: FrameWriter, fps: float | None) -> None:
        """
        Args:
            writer: takes the pictures; the caller closes it.
            fps: pictures a second of what it writes; ``None`` hands each on once.
        """
        self._writer = writer
        self._fps = fps
        self._count = 0
        self._last: np.ndarray | None = None

    def write(self, picture: np.ndarray, time: float) -> None:
        """Take a picture, uint8 (H,W,3), RGB, of a time in seconds since the first one."""
        if self._fps is not None and self._last is not None:
            for _ in range(self._count, round(time * self._fps)):
                self._writer.write(self._last)
                self._count += 1
        self._writer.write(picture)
        self._count += 1
        self._last = picture
