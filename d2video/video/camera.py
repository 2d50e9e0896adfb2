"""Frames of a camera, through OpenCV: always the newest one."""

import logging
import math
import threading
import time
from collections.abc import Iterator

import cv2
import numpy as np

from d2video.utils.errors import UserError
from d2video.video.frame_source import DEFAULT_FPS, FrameSource, ReadFrame, check_frame

logger = logging.getLogger(__name__)


class Camera(FrameSource):
    """A camera of this machine, which goes on until the reader stops.

    A thread takes every frame off the device at once. The reader gets the newest one, each at most
    once; frames that come while it is busy are skipped. In order, a slow model would fall behind the
    scene further and further. A warning at the end counts the skipped ones. Frames are numbered as
    they are given out, and their times are the clock's. Iterating again opens the camera anew.

    Args:
        number: OpenCV's, from 0 on.
        fps: sets ``fps``; by default the device's.
        on_broken: if the camera fails, "raise" a ``UserError``, or "stop" with a logged warning.

    Raises:
        UserError: it cannot be opened, or gives no picture.
    """

    is_live = True
    estimated_length = None

    def __init__(self, number: int, fps: float | None = None, on_broken: str = "raise") -> None:
        self.name = f"camera {number}"
        self._number = number
        self._on_broken = on_broken
        self._capture: cv2.VideoCapture | None = self._open()
        stated = self._capture.get(cv2.CAP_PROP_FPS)  # 0 where the driver does not know
        self.fps = fps or (stated if math.isfinite(stated) and stated > 0 else DEFAULT_FPS)
        # The size that a driver states is not always that of its pictures.
        is_good, image = self._capture.read()
        if not is_good:
            self._capture.release()
            raise UserError(f"{self.name} gives no picture; is another program using it?")
        self.size = check_frame(self.name, 0, image).shape[:2]

    def _open(self) -> cv2.VideoCapture:
        capture = cv2.VideoCapture(self._number)
        if not capture.isOpened():
            raise UserError(
                f"cannot open {self.name}; check that it is connected and that no other program "
                "is using it"
            )
        return capture

    def _read(self) -> Iterator[ReadFrame]:
        capture = self._capture or self._open()
        self._capture = None  # it is released at the end of this iteration
        newest = _NewestFrame(capture)
        start: float | None = None
        count = 0
        try:
            for moment, image in iter(newest.take, None):
                start = moment if start is None else start
                image = check_frame(self.name, count, image)
                yield ReadFrame(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), moment - start)
                count += 1
        finally:
            newest.stop()
            if newest.num_skipped:
                logger.warning(
                    "%s: %d of %d frames skipped, as they came faster than they were used",
                    *(self.name, newest.num_skipped, newest.num_skipped + count),
                )
        stop = f"{self.name} stopped after {count} frames"
        if self._on_broken == "raise":
            raise UserError(f"{stop}; was it unplugged?")
        logger.warning("%s", stop)


class _NewestFrame:
    """A thread that reads a capture, and the last frame it got.

    Attributes:
        num_skipped: frames that a later one replaced before they were taken.
    """

    def __init__(self, capture: cv2.VideoCapture) -> None:
        self._capture = capture
        self._changed = threading.Condition()
        self._newest: tuple[float, np.ndarray] | None = None
        self.num_skipped = 0
        self._is_over = False
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._work, name="d2video-camera", daemon=True)
        self._thread.start()

    def take(self) -> tuple[float, np.ndarray] | None:
        """Wait for a frame that was not taken yet.

        Returns:
            ``time.monotonic()`` when it came, and the frame; ``None`` once the capture has failed.
            An exception of the capture is raised here.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._newest is not None or self._is_over)
            taken, self._newest = self._newest, None
        if taken is None and self._error is not None:
            raise self._error
        return taken

    def stop(self) -> None:
        """End the thread, which releases the capture."""
        self._is_over = True
        self._thread.join()

    def _work(self) -> None:
        try:
            while not self._is_over:
                is_good, image = self._capture.read()
                if not is_good:
                    return
                with self._changed:
                    self.num_skipped += self._newest is not None
                    self._newest = time.monotonic(), image
                    self._changed.notify()
        except BaseException as caught:  # carried to the reader, who raises it
            self._error = caught
        finally:
            self._capture.release()
            with self._changed:
                self._is_over = True
                self._changed.notify()
