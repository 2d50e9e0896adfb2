"""What one input did: a result, the library's own error, or a fault. All in this process."""

import os
import resource
import signal
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from d2video.utils.errors import UserError
from tests.helpers import ROOT

SECONDS = 10.0  # of the processor an input may take; most take milliseconds
_WALL = 12  # times as much by the clock, where it waits, or the machine is busy
MEGABYTES = 400  # by which an input may raise the memory in use, at its peak
_LONGEST_MESSAGE = 2000
_ROOT = ROOT


class TimeUp(BaseException):
    """No ``Exception``: a reader that catches many kinds must not catch this one."""


@dataclass(frozen=True)
class Fault:
    """What is wrong with the outcome; ``place`` is the same for inputs with the same cause."""

    kind: str
    place: str
    details: str


@contextmanager
def process_limits() -> Iterator[None]:
    """Memory beyond what an input may use is refused, rather than taken from the machine."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    in_use = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (in_use + (4 << 30), before[1]))
    kinds = signal.SIGPROF, signal.SIGALRM
    previous = [signal.signal(kind, _time_up) for kind in kinds]
    try:
        yield
    finally:
        _set_alarms(0)
        for kind, handler in zip(kinds, previous, strict=True):
            signal.signal(kind, handler)
        resource.setrlimit(resource.RLIMIT_AS, before)


def run_one(read: Callable[[], Any]) -> tuple[str, Fault | None]:
    """Within :func:`process_limits`: "result" or "error", and what is wrong with it, if anything."""
    before = _reset_peak()
    outcome = "error"
    fault: Fault | None = None
    try:
        _set_alarms(SECONDS)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            read()
        outcome = "result"
    except UserError as error:
        fault = _message_fault(str(error), error)
    except TimeUp as error:
        fault = Fault("hang", _place(error), f"more than {SECONDS:g} s")
    except MemoryError as error:
        fault = Fault("growth", _place(error), "".join(traceback.format_exception(error)))
    except (Exception, SystemExit) as error:
        fault = Fault(
            type(error).__name__, _place(error), "".join(traceback.format_exception(error))
        )
    finally:
        _set_alarms(0)
    grown = (_peak() - before) // 1024
    if fault is None and grown > MEGABYTES:
        fault = Fault("growth", outcome, f"{grown} MB more at the peak")
    return outcome, fault


def _message_fault(message: str, error: BaseException) -> Fault | None:
    if not message.strip() or not message.isprintable():
        return Fault("message", _place(error), f"not one printable line: {message[:500]!r}")
    if len(message) > _LONGEST_MESSAGE:
        return Fault("message", _place(error), f"{len(message)} characters: {message[:300]}...")
    return None


def _set_alarms(seconds: float) -> None:
    signal.setitimer(signal.ITIMER_PROF, seconds)
    signal.setitimer(signal.ITIMER_REAL, _WALL * seconds)


def _time_up(*_: object) -> None:
    raise TimeUp


def _place(error: BaseException) -> str:
    """The innermost line of this repository that the error passed through."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [f for f in frames if f.filename.startswith(f"{_ROOT}/") and "/tests/" not in f.filename]
    frame = (ours or frames)[-1]
    return f"{os.path.relpath(frame.filename, _ROOT)}:{frame.lineno}"


def _reset_peak() -> int:
    """Forget the highest memory so far; what is in use, in kB."""
    Path("/proc/self/clear_refs").write_text("5")
    return _status("VmRSS")


def _peak() -> int:
    return _status("VmHWM")


def _status(key: str) -> int:
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith(key))
