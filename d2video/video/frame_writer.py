"""What all writers of frames share: their output appears whole or not at all."""

import os
import shutil
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from av.error import FFmpegError
from typing_extensions import Self

from d2video.utils.errors import UserError
from d2video.utils.files import partial_path


class FrameWriter(ABC):
    """Takes frames one by one in a ``with`` block.

    The output has a temporary name until the block ends; an older output of its name stays until
    then. An exception in the block removes the new one. If the disk refuses at the end, a
    :class:`UserError` is raised and nothing is left behind.

    Args:
        path: file or folder to write. The folder above it is created.

    Raises:
        UserError: the path cannot be written.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._partial = partial_path(self.path)
        self._is_finished = False

    def write(
        self, image: np.ndarray, time: float | None = None, duration: float | None = None
    ) -> None:
        """Append a frame.

        Args:
            image: uint8 (H,W,3), RGB.
            time, duration: seconds; as of a :class:`~d2video.video.Frame`. Only videos have them.

        Raises:
            UserError: the disk refuses.
        """
        assert not self._is_finished, "write() after the end of the block"
        assert (image.dtype, image.ndim, image.shape[2]) == (np.uint8, 3, 3), image.shape
        with self._one_line_errors():
            self._append(image, time, duration)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, exc_type: type[BaseException] | None, *_: object) -> None:
        self._is_finished = True
        try:
            if exc_type is None:
                with self._one_line_errors():
                    self._finish()
                    if self.path.is_dir():
                        self.path.rmdir()  # empty, as the constructor saw
                    os.replace(self._partial, self.path)
        finally:
            self._release()
            # os.path: a name that is too long was reported before.
            if os.path.isdir(self._partial):
                shutil.rmtree(self._partial, ignore_errors=True)
            elif os.path.lexists(self._partial):
                self._partial.unlink()

    @abstractmethod
    def _append(self, image: np.ndarray, time: float | None, duration: float | None) -> None:
        """Write a frame to the temporary file or folder."""

    def _finish(self) -> None:  # noqa: B027
        """Complete the temporary file or folder."""

    def _release(self) -> None:  # noqa: B027
        """Close what is open."""

    @contextmanager
    def _one_line_errors(self) -> Iterator[None]:
        try:
            yield
        except (FFmpegError, OSError) as error:
            raise UserError(f"cannot write {self.path}: {error.strerror or error}") from error
