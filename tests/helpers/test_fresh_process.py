"""A program ends in a process from the fork server as in an interpreter of its own."""

import re
import signal
import time

import pytest
import torch

from tests.helpers.fresh_process import (
    FreshProcess,
    call_fresh,
    run_fresh,
    run_in_group,
    session_members,
)

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("code", "status", "output", "errors"),
    [
        ("import sys; print(sys.argv); print(3, file=sys.stderr)", 0, "['-c', 'a', '1']\n", "3\n"),
        ("raise SystemExit(3)", 3, "", ""),
        ("raise SystemExit('a reason')", 1, "", "a reason\n"),
        ("import os; os.kill(os.getpid(), 9)", -9, "", ""),
        (
            "import sys; print('torch' in sys.modules, 'd2video' in sys.modules)",
            0,
            "True False\n",
            "",
        ),
        (
            "import os; print(os.environ['GIVEN'], os.environ.get('PYTHONWARNINGS'))",
            0,
            "x None\n",
            "",
        ),
        (
            "import signal as s; print(s.getsignal(s.SIGINT).__name__)",
            0,
            "default_int_handler\n",
            "",
        ),
    ],
)
def test_how_a_program_ends(code, status, output, errors, monkeypatch):
    monkeypatch.delenv("PYTHONWARNINGS", raising=False)
    done = run_fresh("-c", code, "a", 1, environment={"GIVEN": "x"}, imported=False)
    assert (done.returncode, done.stdout, done.stderr) == (status, output, errors)


def test_d2video_is_as_if_imported_by_the_program(tmp_path):
    """Its data sets lie where the program's environment says, and what it registers is there once."""
    code = (
        "from detectron2.data import DatasetCatalog, MetadataCatalog as M; "
        "from detectron2.modeling import BACKBONE_REGISTRY, META_ARCH_REGISTRY; "
        "from d2video.config import get_cfg; print(get_cfg()); "
        "print([(name, M.get(name).as_dict()) for name in sorted(DatasetCatalog)]); "
        "print(sorted(dict(META_ARCH_REGISTRY)), sorted(dict(BACKBONE_REGISTRY)))"
    )
    environment = {"DETECTRON2_DATASETS": str(tmp_path)}
    runs = [run_fresh("-c", code, environment=environment, imported=each) for each in (True, False)]
    assert all(run.returncode == 0 for run in runs), runs
    first, second = (re.sub(r" at 0x\w+", "", run.stdout) for run in runs)
    assert str(tmp_path) in first
    assert first == second


def test_an_exception_is_told():
    done = run_fresh("-c", "1 / 0")
    assert done.returncode == 1
    assert done.stderr.endswith("ZeroDivisionError: division by zero\n")


def test_a_program_is_killed_with_what_it_started(tmp_path):
    code = "import os, time; os.fork(); time.sleep(1000)"
    process = FreshProcess("-c", code, output=tmp_path / "output")
    while len(session_members(process.pid)) < 2:
        time.sleep(0.01)
    assert process.poll() is None
    process.kill()
    assert process.poll() == -signal.SIGKILL
    while session_members(process.pid):
        time.sleep(0.01)


def divide(a: int, b: int) -> float:
    return a / b


def test_a_function_in_a_process_of_its_own():
    assert call_fresh(divide, 3, 2) == 1.5
    with pytest.raises(ZeroDivisionError) as found:
        call_fresh(divide, 3, 0)
    assert "return a / b" in str(found.value.__cause__)


def fail_in_one(rank_to_fail: int) -> None:
    ranks = torch.tensor([float(torch.distributed.get_rank())])
    torch.distributed.all_reduce(ranks)
    assert ranks.item() == 1
    assert torch.distributed.get_rank() != rank_to_fail


def test_a_group(tmp_path):
    run_in_group(fail_in_one, -1)
    with pytest.raises(Exception, match="AssertionError"):
        run_in_group(fail_in_one, 1)
