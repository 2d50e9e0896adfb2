"""The interface of what takes frames or pictures one by one."""

from abc import ABC, abstractmethod
from types import TracebackType
from typing import TypeVar

import numpy as np

Writer = TypeVar("Writer", bound="FrameWriter")


class FrameWriter(ABC):
    """Takes frames one by one. As a context manager it keeps its output only on success."""

    @abstractmethod
    def write(self, image: np.ndarray) -> None:
        """Append a frame, a uint8 array (H,W,3), RGB."""

    @abstractmethod
    def close(self) -> None:
        """Finish the output and give it its name."""

    @abstractmethod
    def abort(self) -> None:
        """Drop what was written; does nothing after :meth:`close`."""

    def __enter__(self: Writer) -> Writer:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if exc_type is None:
            self.close()
        else:
            self.abort()


def assert_rgb(image: np.ndarray) -> None:
    """A frame must be a uint8 array (H,W,3)."""
    assert image.dtype == np.uint8, image.dtype
    assert image.ndim == 3, image.shape
    assert image.shape[2] == 3, image.shape
