"""Every outcome is a result or a UserError of one line; never another exception, hang or growth."""

import contextlib
import logging
import os
import resource
from pathlib import Path

import pytest

from d2video.utils.errors import UserError
from tests.fuzz import all_targets
from tests.fuzz.guard import process_limits, run_one
from tests.fuzz.session import run_target

SEED = int(os.environ.get("FUZZ_SEED", "0"))
TIMES = float(os.environ.get("FUZZ_TIMES", "1"))  # as many inputs, for a longer run
TARGETS = all_targets()


@pytest.fixture(autouse=True)
def quiet():
    logging.disable(logging.ERROR)
    yield
    logging.disable(logging.NOTSET)


def run(name: str, inputs: int) -> None:
    print(f"{name}: {inputs} inputs of seed {SEED}")
    report = run_target(TARGETS[name], SEED, range(inputs))
    assert report.outcomes.total() == inputs
    # Else the mutations are too wild, or too tame, to say anything.
    assert min(report.outcomes["result"], report.outcomes["error"]) > 0 or inputs < 100
    assert not report.faults, "\n".join(report.lines(name, SEED))


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.1, pytest.param(1.0, marks=pytest.mark.long)])
@pytest.mark.parametrize("name", TARGETS)
def test_mutated_inputs(name, share):
    run(name, round(TARGETS[name].inputs * share * TIMES))


def test_there_are_20_000_inputs():
    assert sum(target.inputs for target in TARGETS.values()) >= 20_000


@pytest.mark.parametrize("name", ["ytvis", "coco_tracks", "mot_gt", "kinetics", "image"])
def test_a_few_of_them(name):
    run(name, 40)


def test_an_input_is_the_same_by_itself(tmp_path):
    """What a failure prints must repeat it."""
    for folder, numbers in (("a", range(8)), ("b", [7])):
        (tmp_path / folder).mkdir()
        run_target(TARGETS["crowdhuman"], SEED, numbers, tmp_path / folder)
    first, second = (tmp_path / folder / "a.odgt" for folder in "ab")
    assert first.read_bytes() == second.read_bytes()


def loop() -> None:
    while True:
        with contextlib.suppress(Exception):
            sum(range(1000))


def fail(error: BaseException):
    def read() -> None:
        raise error

    return read


def long_message() -> None:
    error = UserError("a")
    error.args = ("a\nb",)
    raise error


def grow():
    """128 MB above the highest that the tests before this one have reached."""
    highest = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    now = resource.getpagesize() * int(Path("/proc/self/statm").read_text().split()[1])
    return bytearray(highest - now + 2**27)


@pytest.mark.parametrize(
    ("read", "kind"),
    [
        (lambda: 1, None),
        (fail(UserError("what, where\n, what to do")), None),
        (fail(KeyError("x")), "KeyError"),
        (fail(SystemExit(1)), "SystemExit"),
        (long_message, "message"),
        (fail(UserError(" ")), "message"),
        (loop, "hang"),
        (grow, "growth"),
        (lambda: bytearray(2**40), "growth"),
    ],
)
def test_the_guard_sees_every_fault(monkeypatch, read, kind):
    monkeypatch.setattr("tests.fuzz.guard.SECONDS", 0.5)
    monkeypatch.setattr("tests.fuzz.guard.MEGABYTES", 100)
    with process_limits():
        fault = run_one(read)[1]
    assert (fault.kind if fault else None) == kind
