"""Ending of what goes on by itself."""

import signal

import pytest

from d2video.inference.output import stop_on_interrupt


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
