"""Training that a signal ends after the step in hand, with a checkpoint, for a scheduler to requeue."""

import logging
import mmap
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from detectron2.engine import HookBase

from d2video.utils.distributed import highest

logger = logging.getLogger(__name__)

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)


class SecondInterrupt:
    """Whether a signal is a second Ctrl-C. One may arrive twice within a second, from the terminal and
    from the parent process."""

    def __init__(self) -> None:
        self._first: float | None = None

    def __call__(self, number: int) -> bool:
        if number != signal.SIGINT:
            return False
        now = time.monotonic()
        self._first = self._first or now
        return now - self._first > 1.0


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """SIGTERM and SIGINT raise SystemExit (128 + number), so that files in the making are taken away.

    For the main thread.
    """
    is_second, has_ended = SecondInterrupt(), False

    def end(number: int, frame: FrameType | None) -> None:
        nonlocal has_ended
        if is_second(number) or not has_ended:
            has_ended = True
            raise SystemExit(128 + number)

    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class StopOnSignal(HookBase):
    """SIGTERM, SIGINT or SIGUSR1 to any process: all finish the step, save and exit with 128 + number.

    Register it before hooks that take long (evaluation) and after the one that writes checkpoints. A
    signal that comes in the last step changes nothing: the training is over. A second SIGINT, more
    than a second after the first, interrupts at once and saves nothing.

    Data loading workers are forked with these handlers (launch.py). A signal to the whole process
    group must not end them, since the step may wait for their batch. Once the training is over,
    SIGTERM ends them.
    """

    def __init__(self, save: Callable[[], Any]):
        """
        Args:
            save: writes a checkpoint; called after the step, in all processes.
        """
        self._save = save
        self._requested = 0
        self._is_second = SecondInterrupt()
        self._before: dict[int, Any] = {}
        self._owner = 0
        self._over = mmap.mmap(-1, 1)  # a byte that this process shares with those it forks

    def before_train(self) -> None:
        if threading.current_thread() is not threading.main_thread():
            logger.warning("Training outside the main thread: signals do not stop it after a step")
            return
        self._owner = os.getpid()
        self._over[0] = self._requested = 0
        self._is_second = SecondInterrupt()
        self._before = {number: signal.signal(number, self._note) for number in STOP_SIGNALS}

    def after_step(self) -> None:
        """
        Raises:
            SystemExit: with 128 + the highest number of the signals that came; in all processes.
        """
        number = highest(self._requested)
        if not number:
            return
        name = signal.Signals(number).name
        if self.trainer.iter + 1 >= self.trainer.max_iter:
            logger.warning("%s: training has finished, only the evaluation is left", name)
            return
        logger.warning("%s: saving after iteration %d, then exit", name, self.trainer.iter)
        self._save()
        # The parent ends the others as soon as one has exited: not before the file is complete.
        highest(0)
        logger.warning("Saved. To continue, run the same command with --resume")
        raise SystemExit(128 + number)

    def after_train(self) -> None:
        self._over[0] = 1
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def _note(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._owner:
            if number == signal.SIGTERM and self._over[0]:
                os._exit(128 + number)
            return
        if self._is_second(number):
            raise KeyboardInterrupt
        self._requested = self._requested or number
