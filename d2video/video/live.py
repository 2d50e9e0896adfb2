"""Sources that go on by themselves: of their frames, always the newest one."""

import logging
import threading
import time
from abc import abstractmethod
from collections.abc import Generator, Iterator
from typing import Any, Generic, TypeVar

import numpy as np

from d2video.utils.errors import UserError
from d2video.video.frame_source import FrameSource, ReadFrame, check_frame

logger = logging.getLogger(__name__)

T = TypeVar("T")
# Seconds for which the end of a source is awaited that gives nothing any more.
_PATIENCE = 5.0


class LiveSource(FrameSource):
    """A camera or a stream, which goes on until the reader stops.

    A thread takes every frame at once. The reader gets the newest one, each at most once; frames that
    come while it is busy are skipped. In order, a slow model would fall behind the scene further and
    further. A warning at the end counts the skipped ones. Frames are numbered as they are given out,
    and their times are the clock's. Iterating again reopens the source.
    """

    is_live = True
    estimated_length = None
    _on_broken: str

    @abstractmethod
    def _arrivals(self) -> Generator[Any, None, None]:
        """Yield frames as they come, in a thread; close the source in the end."""

    @abstractmethod
    def _rgb(self, arrived: Any) -> np.ndarray:
        """A frame of :meth:`_arrivals` as uint8 (H,W,3), RGB."""

    @abstractmethod
    def _fault(self) -> str | None:
        """Why the frames ended: a question or a reason; ``None`` if the source was at its end."""

    def _read(self) -> Iterator[ReadFrame]:
        newest = Newest(self._arrivals())
        start: float | None = None
        count = 0
        try:
            for moment, arrived in iter(newest.take, None):
                start = moment if start is None else start
                image = check_frame(self.name, count, self._rgb(arrived))
                yield ReadFrame(image, moment - start)
                count += 1
        finally:
            newest.stop()
            if newest.num_skipped:
                logger.warning(
                    "%s: %d of %d frames skipped, as they came faster than they were used",
                    *(self.name, newest.num_skipped, newest.num_skipped + count),
                )
        fault = self._fault()
        if fault is None:
            return
        stop = f"{self.name} stopped after {count} frames"
        if self._on_broken == "raise":
            raise UserError(f"{stop}; {fault}")
        logger.warning("%s", stop)


class Newest(Generic[T]):
    """A thread that runs through a generator, and the last item it got.

    Attributes:
        num_skipped: items that a later one replaced before they were taken.
    """

    def __init__(self, items: Generator[T, None, None]) -> None:
        self._items = items
        self._changed = threading.Condition()
        self._newest: tuple[float, T] | None = None
        self.num_skipped = 0
        self._is_over = False
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._work, name="d2video-live", daemon=True)
        self._thread.start()

    def take(self) -> tuple[float, T] | None:
        """Wait for an item that was not taken yet.

        Returns:
            ``time.monotonic()`` when it came, and the item; ``None`` once the generator has ended. An
            exception of the generator is raised here.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._newest is not None or self._is_over)
            taken, self._newest = self._newest, None
        if taken is None and self._error is not None:
            raise self._error
        return taken

    def stop(self) -> None:
        """End the thread, which closes the generator; one that hangs is abandoned after a timeout."""
        self._is_over = True
        self._thread.join(_PATIENCE)

    def _work(self) -> None:
        try:
            for item in self._items:
                if self._is_over:
                    return
                with self._changed:
                    self.num_skipped += self._newest is not None
                    self._newest = time.monotonic(), item
                    self._changed.notify()
        except BaseException as caught:  # passed to the reader, which raises it
            self._error = caught
        finally:
            self._items.close()
            with self._changed:
                self._is_over = True
                self._changed.notify()
