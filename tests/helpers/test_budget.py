"""What tests cost is shown, and is an error where it is too much."""

import pytest

from tests.helpers.fresh_process import run_fresh

pytestmark = pytest.mark.slow

TESTS = """
import time

def busy(seconds):
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass

def test_quick(): busy(0.01)
def test_slow(): busy(0.3)
def test_asleep(): time.sleep(0.5)
"""


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize(
    ("budget", "over"),
    [
        (("--test-budget", 0.2), ["test_slow: 0.3 s of the processor, more than 0.2"]),
        (("--total-budget", 0.2), ["all tests: 0 s of the processor, more than 0.2"]),
        (("--test-budget", 0.2, "--slowness", 2), []),
        (("--test-budget", 10, "--total-budget", 30), []),
    ],
)
def test_budgets(tmp_path, budget, over, workers):
    (tmp_path / "test_three.py").write_text(TESTS)
    plugins = ("-p", "tests.helpers.budget", "-p", "xdist", "-p", "no:cacheprovider")
    budget = ("--slowness", 1, *budget)
    words = ("-m", "pytest", tmp_path, "--rootdir", tmp_path, *plugins, "-n", workers, *budget)
    done = run_fresh(*words, environment={"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"})
    assert done.returncode == bool(over), done.stdout
    lines = done.stdout.splitlines()
    found = [line for line in lines if line.startswith("over budget: ")]
    assert len(found) == len(over)
    assert all(line.endswith(end) for line, end in zip(found, over, strict=True)), found
    (header,) = (k for k, line in enumerate(lines) if "by the clock" in line)
    assert "test_three.py::test_slow" in lines[header + 1]
