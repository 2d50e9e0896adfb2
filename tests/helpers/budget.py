"""A pytest plugin: what tests cost, and a failure where that is more than it may be.

Costs are seconds of the processor, so that other jobs on the machine do not change them: of the
process that runs the test, and of those that it and its fork server have started and waited for.
"""

import os
from collections import defaultdict
from collections.abc import Iterator
from multiprocessing import forkserver
from pathlib import Path

import pytest

_SHOWN = 10
_TICKS = os.sysconf("SC_CLK_TCK")


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("budget", "what tests may cost, in seconds of the processor")
    group.addoption("--test-budget", type=float, metavar="SECONDS", help="of one test")
    group.addoption("--total-budget", type=float, metavar="SECONDS", help="of all tests")


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(_Costs(config))


class _Costs:
    def __init__(self, config: pytest.Config):
        self._last = 0.0
        self._is_worker = hasattr(config, "workerinput")
        self._limits = config.option.test_budget, config.option.total_budget
        self._cpu: dict[str, float] = defaultdict(float)
        self._wall: dict[str, float] = defaultdict(float)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self) -> None:
        self._last = _cpu_seconds()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self) -> Iterator[None]:
        report = yield
        now = _cpu_seconds()
        report.cpu_seconds, self._last = now - self._last, now  # xdist hands it to its controller
        return report

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
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
        terminalreporter.section(f"tests took {total:.0f} s of the processor; the slowest:")
        terminalreporter.write_line("  CPU s   by the clock")
        for name in sorted(self._cpu, key=self._cpu.get, reverse=True)[:_SHOWN]:
            terminalreporter.write_line(f"{self._cpu[name]:7.1f} {self._wall[name]:7.1f}  {name}")
        for line in self._excess():
            terminalreporter.write_line(f"over budget: {line}", red=True)


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
