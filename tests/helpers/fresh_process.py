"""Fresh Python processes, without the five seconds of CPU that the imports of one take.

They are forked from a server, one for each process of pytest, that has imported torch, detectron2,
other libraries and d2video (``tests/helpers/preload.py``) and has run nothing. What differs from a
process that a user starts: the interpreter's own start and options, the imports, that process's
parent, and the kernels, which are the same on all processors.
"""

import ctypes
import functools
import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Mapping, Sequence
from multiprocessing import forkserver
from pathlib import Path
from typing import Any, TypeVar
from unittest import mock

from tests.helpers import ROOT

T = TypeVar("T")

_PRELOAD = "tests.helpers.preload"
_CLONE_NEWNET = 0x40000000
# Libraries choose kernels by the processor, which sum up in different orders. These settings name
# kernels that every x86-64 processor of the last ten years has. They are read when torch is loaded,
# and later.
_SAME_KERNELS = {
    "ATEN_CPU_CAPABILITY": "avx2",
    "MKL_CBWR": "COMPATIBLE",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "OMP_NUM_THREADS": "1",
}
_SERVER_ENVIRONMENT = {
    **_SAME_KERNELS,
    "CUDA_VISIBLE_DEVICES": "",  # processes of a group would take NCCL and a GPU each
    "PYTHONPATH": str(ROOT),
    "PYTHONWARNINGS": "ignore::FutureWarning",
}


@functools.cache
def _server() -> Any:
    """The multiprocessing context of the server, which runs from now on."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([_PRELOAD])
    with mock.patch.dict(os.environ, _SERVER_ENVIRONMENT):
        forkserver.ensure_running()
    return context


class FreshProcess:
    """A running program.

    Args:
        words: of Python's command line: ``-m``, ``-c`` or a file, and arguments.
        output: takes standard output.
        errors: takes standard error; None: ``output`` does.
        environment: added to this process's.
        network: the network namespace to run in.
        forks: the processes that the program starts by ``torch.multiprocessing`` are forked, where
            users' are spawned, which spares their imports.
        imported: d2video and its projects are imported already, as the libraries are.
    """

    def __init__(
        self,
        *words: Any,
        output: Path,
        errors: Path | None = None,
        environment: Mapping[str, str] | None = None,
        network: str | None = None,
        forks: bool = True,
        imported: bool = True,
    ):
        environment = {**os.environ, **_SAME_KERNELS, **(environment or {})}
        arguments = (list(map(str, words)), environment, output, errors, network, forks, imported)
        self._process = _server().Process(target=_become, args=arguments)
        self._process.start()
        self.pid: int = self._process.pid

    def poll(self) -> int | None:
        """The exit code, the negative number of the signal that killed it, or None."""
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        code = self.poll()
        if code is None:
            raise subprocess.TimeoutExpired("a fresh process", timeout or 0)
        return code

    def kill(self) -> None:
        """Kill it and all processes of its session."""
        for pid in (self.pid, *session_members(self.pid)):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        self._process.join()


def run_fresh(
    *words: Any,
    environment: Mapping[str, str] | None = None,
    timeout: float = 300.0,
    imported: bool = True,
) -> subprocess.CompletedProcess:
    """Run a program to its end, like ``subprocess.run`` with ``capture_output``; see FreshProcess."""
    with tempfile.TemporaryDirectory() as folder:
        output, errors = Path(folder, "output"), Path(folder, "errors")
        options = {"environment": environment, "imported": imported}
        process = FreshProcess(*words, output=output, errors=errors, **options)
        try:
            code = process.wait(timeout)
        finally:
            process.kill()
        return subprocess.CompletedProcess(words, code, output.read_text(), errors.read_text())


def call_fresh(function: Callable[..., T], *args: Any) -> T:
    """``function(*args)`` in a process of its own, which has imported all that a program does.

    Args:
        function: of a module; its arguments and its result can be pickled.

    Raises:
        Exception: what the function raises.
    """
    ours, theirs = _server().Pipe()
    process = _server().Process(target=_call, args=(theirs, function, args))
    process.start()
    theirs.close()
    try:
        result, error, text = ours.recv()
    finally:
        process.kill()
        process.join()
    if error is not None:
        raise error from RuntimeError(text)
    return result


def _call(connection: Any, function: Callable[..., Any], args: tuple) -> None:
    os.chdir(ROOT)
    try:
        answer = function(*args), None, ""
    except Exception as error:
        answer = None, error, traceback.format_exc()
    connection.send(answer)


def run_in_group(function: Callable[..., None], *args: Any, size: int = 2) -> None:
    """``function(*args)`` in ``size`` processes that are a group, as detectron2's ``launch`` makes it.

    Raises:
        Exception: one of them failed.
    """
    import torch.multiprocessing as mp
    from detectron2.engine import launch

    _server()
    start = functools.partial(mp.start_processes, start_method="forkserver")
    with mock.patch.object(mp, "start_processes", start):
        launch(function, size, dist_url="auto", args=args)


def session_members(session: int) -> list[int]:
    """Processes of a session that are alive."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, _, its_session = path.read_text().rpartition(")")[2].split()[:4]
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(its_session) == session and state != "Z":
            found.append(int(path.parent.name))
    return found


def _become(
    words: list[str],
    environment: dict[str, str],
    output: Path,
    errors: Path | None,
    network: str | None,
    forks: bool,
    imported: bool,
) -> None:
    """In the process from the server: run the program."""
    assert _PRELOAD in sys.modules, "the server could not import what it should"
    preload = sys.modules[_PRELOAD]
    os.setsid()
    os.chdir(ROOT)
    if network is not None:
        with open(f"/run/netns/{network}") as file:
            assert ctypes.CDLL(None).setns(file.fileno(), _CLONE_NEWNET) == 0
    with output.open("w") as out, (errors or output).open("a") as err:
        os.dup2(out.fileno(), 1)
        os.dup2(err.fileno(), 2)
    os.environ.clear()
    os.environ.update(environment)
    # Projects of others register data sets, too.
    if imported and "D2VIDEO_PROJECTS" not in environment:
        preload.register_sets_again()
    else:
        preload.forget_d2video()
    if forks:
        _fork_where_torch_would_spawn()
    run_program(words)


def run_program(words: Sequence[str]) -> None:
    """Run in this process what a command line of Python names."""
    first, *rest = words[words[0] == "-u" :]
    if first == "-m":
        sys.argv = rest
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    elif first == "-c":
        sys.argv = ["-c", *rest[1:]]
        exec(compile(rest[0], "<string>", "exec"), {"__name__": "__main__"})
    else:
        sys.argv = [first, *rest]
        runpy.run_path(first, run_name="__main__")


def _fork_where_torch_would_spawn() -> None:
    import torch.multiprocessing as mp

    start = mp.start_processes

    def fork(fn: Callable[..., Any], args: tuple, *rest: Any, **options: Any) -> Any:
        return start(_without_handlers, (fn, args), *rest, **{**options, "start_method": "fork"})

    mp.start_processes = fork


def _without_handlers(rank: int, function: Callable[..., Any], args: tuple) -> None:
    """``function(rank, *args)`` with the signal handlers of a new interpreter, not the parent's."""
    for number in signal.valid_signals():
        if callable(signal.getsignal(number)):
            handler = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
            signal.signal(number, handler)
    function(rank, *args)
