"""A pytest plugin: what tests cost, and a failure where that is more than it may be.

Costs are seconds of the processor, so that waiting for other jobs does not count: of the process that
runs the test, and of those that it and its fork server have started and waited for. The same machine
may take twice as many at another hour, when its neighbours fill the caches. So a fixed work is timed
now and then, and costs are in seconds of a processor that does it in ``_REFERENCE``.
"""

import json
import os
import time
from collections import defaultdict
from collections.abc import Iterator
from multiprocessing import forkserver
from operator import itemgetter
from pathlib import Path

import numpy as np
import pytest

_SHOWN = 10
# Seconds of the processor that _fixed_work takes on one core of an AMD EPYC (Zen 1), where nothing else runs.
_REFERENCE = 0.22
_TIMED_EVERY = 30.0  # seconds of tests
_TICKS = os.sysconf("SC_CLK_TCK")


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("budget", "what tests may cost, in seconds of the processor")
    group.addoption("--test-budget", type=float, metavar="SECONDS", help="of one test")
    group.addoption("--total-budget", type=float, metavar="SECONDS", help="of all tests")
    group.addoption(
        "--slowness",
        type=float,
        metavar="FACTOR",
        help="seconds of this processor for one of the budgets' (default: measured)",
    )


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(_Costs(config))


class _Costs:
    def __init__(self, config: pytest.Config):
        self._last = 0.0
        self._is_worker = hasattr(config, "workerinput")
        self._limits = config.option.test_budget, config.option.total_budget
        self._given = config.option.slowness
        self._slowness, self._since_timed = 1.0, _TIMED_EVERY
        self._spent: float = 0.0  # in this processor's seconds
        self._cpu: dict[str, float] = defaultdict(float)
        self._wall: dict[str, float] = defaultdict(float)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self) -> None:
        if self._given is not None:
            self._slowness = self._given
        elif self._limits != (None, None) and self._since_timed >= _TIMED_EVERY:
            self._slowness, self._since_timed = min(_fixed_work() for _ in range(2)) / _REFERENCE, 0
        self._last = _cpu_seconds()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self) -> Iterator[None]:
        report = yield
        now = _cpu_seconds()
        spent, self._last = now - self._last, now
        self._since_timed += spent
        report.cpu_spent, report.cpu_seconds = spent, spent / self._slowness  # xdist hands them on
        return report

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._spent += report.cpu_spent
        self._cpu[report.nodeid] += report.cpu_seconds
        self._wall[report.nodeid] += report.duration

    def _excess(self) -> list[str]:
        of_one, of_all = self._limits
        found = [
            f"{name}: {cost:.1f} s of the processor, more than {of_one:g}"
            for name, cost in self._cpu.items()
            if of_one is not None and cost > of_one
        ]
        total = sum(self._cpu.values())
        if of_all is not None and total > of_all:
            found.append(f"all tests: {total:.0f} s of the processor, more than {of_all:g}")
        return found

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if not self._is_worker and self._excess():
            session.exitstatus = session.exitstatus or pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self._limits == (None, None):
            return
        total = sum(self._cpu.values())
        here = f"{total:.0f} s of the processor ({self._spent:.0f} s of this one)"
        terminalreporter.section(f"tests took {here}; the slowest:")
        terminalreporter.write_line("  CPU s   by the clock")
        for name in sorted(self._cpu, key=self._cpu.get, reverse=True)[:_SHOWN]:
            terminalreporter.write_line(f"{self._cpu[name]:7.1f} {self._wall[name]:7.1f}  {name}")
        for line in self._excess():
            terminalreporter.write_line(f"over budget: {line}", red=True)


def _fixed_work() -> float:
    """Do what never changes, with objects, text and arrays that no cache holds; the seconds it took."""
    begin = time.process_time()
    rows = [{"id": k, "name": f"{k:x}", "box": [k, k + 1.0]} for k in range(30_000)]
    rows = json.loads(json.dumps(rows))
    rows.sort(key=itemgetter("name"))
    array = np.arange(1_000_000, dtype=np.float64)
    for _ in range(8):
        array = np.sqrt(array + len(rows))
    return time.process_time() - begin


def _cpu_seconds() -> float:
    """Of this process, its fork server, and the children of both that have ended."""
    times = os.times()
    server = forkserver._forkserver._forkserver_pid
    ticks = 0
    if server is not None:
        ticks = sum(
            map(int, Path(f"/proc/{server}/stat").read_text().rpartition(")")[2].split()[11:15])
        )
    return sum(times[:4]) + ticks / _TICKS
