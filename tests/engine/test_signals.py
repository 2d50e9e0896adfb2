"""StopOnSignal within one process; tests/engine/test_launch.py has it at work in several."""

import signal
import threading

import pytest
from detectron2.engine.train_loop import HookBase, TrainerBase

from d2video.engine.hooks.stop_signal import STOP_SIGNALS, StopOnSignal


class Trainer(TrainerBase):
    """Sends itself the signals of a step; ``done`` lists the steps that are finished."""

    def __init__(self, signals: dict[int, list[int]]):
        super().__init__()
        self.signals, self.done, self.saved = signals, [], []
        self.register_hooks([StopOnSignal(lambda: self.saved.append(self.iter)), Last(self.done)])

    def run_step(self):
        for number in self.signals.get(self.iter, []):
            signal.raise_signal(number)


class Last(HookBase):
    def __init__(self, done):
        self.done = done

    def before_step(self):
        self.done.append(self.trainer.iter)

    def after_train(self):
        self.done.append("after")


@pytest.mark.parametrize("number", STOP_SIGNALS)
def test_finishes_the_step_saves_and_exits(number):
    before = [signal.getsignal(each) for each in STOP_SIGNALS]
    trainer = Trainer({3: [number]})
    with pytest.raises(SystemExit) as stop:
        trainer.train(0, 10)
    assert stop.value.code == 128 + number
    assert trainer.saved == [3]
    assert trainer.done == [0, 1, 2, 3, "after"]
    assert [signal.getsignal(each) for each in STOP_SIGNALS] == before


def test_the_first_of_two_signals_gives_the_code():
    trainer = Trainer({2: [signal.SIGUSR1, signal.SIGTERM]})
    with pytest.raises(SystemExit) as stop:
        trainer.train(0, 10)
    assert stop.value.code == 128 + signal.SIGUSR1


def test_in_the_last_step_the_training_is_over():
    trainer = Trainer({9: [signal.SIGTERM]})
    trainer.train(0, 10)
    assert trainer.saved == []


def test_one_interrupt_may_come_twice_but_not_later(monkeypatch):
    clock = iter([5.0, 5.5, 6.5])
    monkeypatch.setattr("d2video.engine.hooks.stop_signal.time.monotonic", lambda: next(clock))
    with pytest.raises(SystemExit) as stop:
        Trainer({0: [signal.SIGINT, signal.SIGINT]}).train(0, 10)
    assert stop.value.code == 130
    clock = iter([5.0, 6.5])
    trainer = Trainer({0: [signal.SIGINT, signal.SIGINT]})
    with pytest.raises(KeyboardInterrupt):
        trainer.train(0, 10)
    assert trainer.saved == []


def test_outside_the_main_thread(caplog):
    trainer = Trainer({})
    thread = threading.Thread(target=trainer.train, args=(0, 2))
    thread.start()
    thread.join()
    assert trainer.done == [0, 1, "after"]
    assert "outside the main thread" in caplog.text
