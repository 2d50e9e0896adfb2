"""A window that shows pictures as they come, through OpenCV."""

import os
import sys
from types import TracebackType

import cv2
import numpy as np
from typing_extensions import Self

from d2video.utils.errors import UserError

_ENDING = (27, ord("q"))  # Esc


class Window:
    """A window on the screen, for the main thread; use it in a ``with`` statement, or close it.

    Args:
        title: in its head, and its name for OpenCV.

    Raises:
        UserError: this OpenCV has no windows, or there is no screen.
    """

    def __init__(self, title: str) -> None:
        self._title = title
        # Qt would end the process where there is no screen.
        needs_server = sys.platform.startswith("linux") and cv2.currentUIFramework()
        if needs_server and not {"DISPLAY", "WAYLAND_DISPLAY"} & {*os.environ}:
            raise UserError(
                "there is no screen to show a window on; write a file instead of asking to show, or set "
                "DISPLAY"
            )
        try:
            cv2.namedWindow(title, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO)
        except cv2.error:
            raise UserError(
                "this OpenCV cannot open a window (opencv-python-headless has none); write a file instead "
                "of asking to show, or run: pip uninstall opencv-python-headless, then pip install "
                "opencv-python"
            ) from None
        self._size: tuple[int, int] | None = None

    def show(self, image: np.ndarray, milliseconds: int = 1) -> bool:
        """Show a picture, uint8 (H,W,3), RGB, for so long or until a key is pressed.

        Returns:
            whether to go on: not after q, Esc, or once the window is closed.
        """
        if self._size is None:
            self._size = image.shape[1], image.shape[0]
            cv2.resizeWindow(self._title, *self._size)
        cv2.imshow(self._title, np.ascontiguousarray(image[..., ::-1]))
        key = cv2.waitKey(milliseconds) & 0xFF
        return key not in _ENDING and cv2.getWindowProperty(self._title, cv2.WND_PROP_VISIBLE) >= 1

    def close(self) -> None:
        """Take the window away, if it is still there."""
        if cv2.getWindowProperty(self._title, cv2.WND_PROP_VISIBLE) >= 1:
            cv2.destroyWindow(self._title)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
