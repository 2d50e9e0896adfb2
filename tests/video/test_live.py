"""Pacing and ending of what goes on by itself."""

import signal

import numpy as np
import pytest

from d2video.inference.output import stop_on_interrupt
from d2video.video.frame_writer import PacedWriter


class Recorder:
    def __init__(self):
        self.values = []

    def write(self, image):
        self.values.append(int(image[0, 0, 0]))


def picture(value: int) -> np.ndarray:
    return np.full((2, 2, 3), value, np.uint8)


def test_pictures_are_repeated_until_the_next_ones_time():
    recorder = Recorder()
    writer = PacedWriter(recorder, fps=10)
    for value, time in enumerate([0, 0.1, 0.5, 0.52, 0.71]):
        writer.write(picture(value), time)
    # 0.52 s comes too early for another picture, but none is left out.
    assert recorder.values == [0, 1, 1, 1, 1, 2, 3, 4]

    recorder = Recorder()
    for value, time in enumerate([0, 5, 9]):
        PacedWriter(recorder, fps=None).write(picture(value), time)
    assert recorder.values == [0, 1, 2]


def test_the_first_interrupt_asks_and_the_second_acts():
    # Where the tests run in the background of a shell, the signal is ignored.
    original = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with stop_on_interrupt() as is_asked:
            assert not is_asked()
            signal.raise_signal(signal.SIGINT)
            assert is_asked()
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, original)
