"""Frames of a camera of this machine, through OpenCV."""

import math
from collections.abc import Generator

import cv2
import numpy as np

from d2video.utils.errors import UserError
from d2video.video.frame_source import DEFAULT_FPS, check_frame
from d2video.video.live import LiveSource


class Camera(LiveSource):
    """A camera of this machine; see :class:`LiveSource`.

    Args:
        number: OpenCV's, from 0 on.
        fps: sets ``fps``; by default the device's.
        on_broken: if the camera fails, "raise" a ``UserError``, or "stop" with a logged warning.

    Raises:
        UserError: it cannot be opened, or gives no picture.
    """

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
        # Of a camera that is not there OpenCV warns in three lines.
        level = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_ERROR)
        try:
            capture = cv2.VideoCapture(self._number)
        finally:
            cv2.utils.logging.setLogLevel(level)
        if not capture.isOpened():
            raise UserError(
                f"cannot open {self.name}; check that it is connected and that no other program "
                "is using it"
            )
        return capture

    def _arrivals(self) -> Generator[np.ndarray, None, None]:
        capture = self._capture or self._open()
        self._capture = None  # it is released at the end of this iteration
        try:
            while True:
                is_good, image = capture.read()
                if not is_good:
                    return
                yield image
        finally:
            capture.release()

    def _rgb(self, arrived: np.ndarray) -> np.ndarray:
        return cv2.cvtColor(arrived, cv2.COLOR_BGR2RGB)

    def _fault(self) -> str:
        return "was it unplugged?"
