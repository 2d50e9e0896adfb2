"""Processes of a training as a user sees them: signals, deaths, torchrun, several machines."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from detectron2.utils import comm

from d2video.cli.train import argument_parser
from d2video.engine import launch
from d2video.engine.launch import GRACE, HOLD, launch_run
from d2video.utils.errors import UserError
from tests.helpers.fresh_process import FreshProcess, call_fresh, session_members

MODULE = "tests.helpers.tiny_training"
TWO = ["--num-gpus", "2", "--dist-url", "auto"]
# A process of these tests is busy importing for seconds, longer where others are at work.
PATIENCE = 180.0
# Seconds after which a job with a dead process is over, and some for a slow machine.
LIMIT = HOLD + GRACE + 10
slow = pytest.mark.slow


class Training:
    """A running program, all of whose processes end with the test.

    Args:
        start: what starts the module, torchrun or nothing.
        options: of :class:`FreshProcess`.
    """

    def __init__(self, folder: Path, *words, start: tuple = (), forks=True, network=None, **env):
        folder.mkdir(exist_ok=True)
        self.folder = folder
        self.output = folder / f"output{len(list(folder.glob('output*')))}"
        self.process = FreshProcess(
            *(*start, "-m", MODULE, "--config-file", folder, *words),
            output=self.output,
            environment={"OMP_NUM_THREADS": "1", **env},
            network=network,
            forks=forks,
        )

    def text(self) -> str:
        return self.output.read_text()

    def wait(self, timeout: float = PATIENCE) -> int:
        return self.process.wait(timeout)

    def wait_for(self, text: str, rank: int = 0) -> None:
        path, end = self.folder / f"progress{rank}", time.monotonic() + PATIENCE
        while not (path.is_file() and text in path.read_text()):
            assert self.process.poll() is None, self.text()
            assert time.monotonic() < end, self.text()
            time.sleep(0.02)

    def send(self, number: int, group: bool = False) -> None:
        (os.killpg if group else os.kill)(self.process.pid, number)

    def saved(self) -> int:
        return json.loads((self.folder / "saved.json").read_text())["iteration"]

    def members(self) -> list[int]:
        return session_members(self.process.pid)


def starting(folder: Path, forks: bool) -> Iterator[Callable[..., Training]]:
    made = []

    def start(*words, may_fork=True, **options) -> Training:
        made.append(Training(folder, *words, forks=forks and may_fork, **options))
        return made[-1]

    yield start
    for training in made:
        training.process.kill()


@pytest.fixture(params=["forked", pytest.param("spawned", marks=pytest.mark.long)])
def start(tmp_path, request):
    """Start trainings whose processes are forked, or spawned, as users' are."""
    yield from starting(tmp_path, request.param == "forked")


TORCHRUN = ("-m", "tests.helpers.forked_torchrun")


@pytest.fixture(params=["forked", pytest.param("spawned", marks=pytest.mark.long)])
def start_torchrun(tmp_path, request, monkeypatch):
    """Start trainings whose processes torchrun starts, by forking or, as users', as interpreters."""
    if request.param == "spawned":
        monkeypatch.setitem(globals(), "TORCHRUN", ("-m", "torch.distributed.run"))
    yield from starting(tmp_path, True)


def check_stopped(training: Training, code: int) -> None:
    assert training.wait() == code, training.text()
    end = time.monotonic() + PATIENCE  # data loading workers notice within seconds
    while training.members():
        assert time.monotonic() < end, training.members()
        time.sleep(0.1)
    progress = (training.folder / "progress0").read_text()
    last = int(re.findall(r"step (\d+)", progress)[-1])
    assert training.saved() == last, training.text()
    assert "Traceback" not in training.text()


def check_goes_on(start, words: list, last: int) -> None:
    done = start(*words, "--resume", "steps", last + 3)
    assert done.wait() == 0, done.text()
    steps = re.findall(r"step (\d+)", (done.folder / "progress0").read_text())
    assert [int(step) for step in steps][-2:] == [last + 1, last + 2]
    assert len(steps) == last + 3


@slow
@pytest.mark.parametrize(
    ("number", "group"),
    [(signal.SIGTERM, False), (signal.SIGINT, True), (signal.SIGUSR1, False)],
)
def test_a_signal_to_one_process(start, number, group):
    training = start("workers", 1)
    training.wait_for("step 2")
    training.send(number, group)
    check_stopped(training, 128 + number)
    check_goes_on(start, [], training.saved())


@slow
@pytest.mark.parametrize(
    ("number", "group", "may_fork"),
    [
        (signal.SIGTERM, False, True),
        (signal.SIGUSR1, True, False),  # workers hear of it, too
        (signal.SIGINT, True, True),
    ],
)
def test_a_signal_to_several_processes(start, number, group, may_fork):
    """Saving takes longer than the other process needs to end, and than the parent waits then."""
    options = ("workers", 1, "save_seconds", 3, "grace", 1)
    training = start(*TWO, *options, may_fork=may_fork)
    training.wait_for("step 2")
    training.send(number, group)
    check_stopped(training, 128 + number)
    check_goes_on(start, TWO, training.saved())


@slow
def test_a_signal_to_one_of_several_processes_and_to_none_that_is_left(start):
    """The parent is killed: what it started saves and ends, too."""
    training = start(*TWO)
    training.wait_for("step 2", rank=1)
    training.send(signal.SIGKILL)
    check_stopped(training, -signal.SIGKILL)


@slow
def test_signals_before_the_training_end_it(start):
    training = start(*TWO, may_fork=False)
    time.sleep(1)
    training.send(signal.SIGTERM)
    # By itself, or by the signal while it was still importing: a shell shows 143 for both.
    assert training.wait() in (128 + signal.SIGTERM, -signal.SIGTERM), training.text()


@slow
def test_a_second_interrupt_ends_at_once(start):
    training = start(*TWO, "accident", "hang", "at", 2)
    training.wait_for("step 2", rank=1)
    training.send(signal.SIGINT, group=True)
    time.sleep(1.5)
    assert training.process.poll() is None
    training.send(signal.SIGINT, group=True)
    begin = time.monotonic()
    assert training.wait() in (128 + signal.SIGINT, 128 + signal.SIGKILL), training.text()
    assert time.monotonic() - begin < 5
    assert not (training.folder / "saved.json").exists()


def errors_in(text: str) -> list[str]:
    return re.findall(r"^(?:\[rank\d\]: ?)?(\w*Error: .*|error: .*)$", text, re.MULTILINE)


@slow
def test_a_process_that_is_killed_ends_the_others(start):
    training = start(*TWO, "accident", "kill")
    training.wait_for("step 3", rank=1)
    begin = time.monotonic()
    assert training.wait() == 128 + signal.SIGKILL
    assert time.monotonic() - begin < LIMIT
    first, *_ = errors_in(training.text())
    assert first == (
        "error: process 1 of 2 was ended by SIGKILL (the system may have run out of memory)"
    )


@slow
def test_an_exception_in_one_process_ends_the_others_and_is_told_first(start):
    training = start(*TWO, "accident", "raise")
    training.wait_for("step 3", rank=1)
    begin = time.monotonic()
    assert training.wait() == 1
    assert time.monotonic() - begin < LIMIT
    first = errors_in(training.text())[:2]  # in the log and on stderr
    assert set(first) == {"RuntimeError: the accident", "error: process 1 of 2 failed:"}


@slow
def test_all_processes_stop_before_the_update_where_one_is_not_finite(start):
    training = start(*TWO, "accident", "nan")
    assert training.wait() == 1
    errors = set(errors_in(training.text()))
    assert len(errors) == 1, training.text()
    assert re.search(r"iteration 3: loss is nan \(rank 1\), see .*json", errors.pop())
    report = json.loads((training.folder / "non_finite_0000003.json").read_text())
    losses = [each["losses"]["loss"] for each in report["ranks"]]
    assert isinstance(losses[0], float)
    assert losses[1] == "nan"
    assert [each["batch"][0]["file_name"] for each in report["ranks"]] == ["of_0", "of_1"]


# ---- torchrun ------------------------------------------------------------------------------------


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def torchrun(*options) -> tuple:
    words = ("--nproc-per-node", "2", "--master-port", str(free_port()), *options)
    return (*TORCHRUN, *words)


@slow
def test_a_signal_to_torchrun(start_torchrun):
    training = start_torchrun("--resume", start=torchrun("--max-restarts", "3"))
    training.wait_for("step 2")
    training.send(signal.SIGTERM)
    assert training.wait() != 0
    steps = re.findall(r"step (\d+)", (training.folder / "progress0").read_text())
    assert training.saved() == int(steps[-1]), training.text()
    check_goes_on(start_torchrun, [], training.saved())


@slow
def test_torchrun_restarts_what_has_failed(start_torchrun):
    options = ("accident", "kill", "once", 1, "steps", 6)
    training = start_torchrun("--resume", *options, start=torchrun("--max-restarts", "1"))
    assert training.wait() == 0, training.text()
    steps = re.findall(r"step (\d+)", (training.folder / "progress0").read_text())
    assert sorted({int(step) for step in steps}) == list(range(6))
    # Process 0 had begun the step of the accident, which comes again, and no other.
    assert sorted(map(int, steps)) == sorted([*range(6), 3])
    assert "done" in (training.folder / "progress1").read_text()


ENVIRONMENT = {
    **{"RANK": "3", "LOCAL_RANK": "1", "WORLD_SIZE": "4", "LOCAL_WORLD_SIZE": "2"},
    **{"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"},
}


def arguments(*words):
    return argument_parser().parse_args([str(word) for word in words])


@pytest.mark.parametrize(
    ("words", "environment", "message"),
    [
        ([], {"LOCAL_WORLD_SIZE": None}, "but not LOCAL_WORLD_SIZE: set all or none"),
        (["--num-gpus", 8], {}, "started 2 processes on this machine: leave out --num-gpus"),
        (["--num-machines", 2], {}, "leave out --num-gpus"),
        ([], {"TORCHELASTIC_MAX_RESTARTS": "2"}, "add --resume"),
    ],
)
def test_mistakes_under_torchrun(monkeypatch, words, environment, message):
    for name, value in {**ENVIRONMENT, **environment}.items():
        if value is not None:
            monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match=message):
        launch_run(lambda _: None, arguments(*words), "cpu")


def test_place_under_torchrun(monkeypatch):
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    seen = []
    monkeypatch.setattr(launch, "_run_in_group", lambda *place: seen.append(place[:5]))
    launch_run(lambda _: None, arguments("--num-gpus", 2), "cpu")
    assert seen == [(1, 2, 4, 2, "env://")]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--num-gpus", 0], "--num-gpus is 0: give 1 or more"),
        (["--num-machines", 0], "--num-machines is 0: give 1 or more"),
        (["--num-machines", 2, "--machine-rank", 2], "--machine-rank is 2: .* have 0 to 1"),
    ],
)
def test_mistakes_in_the_number_of_processes(words, message):
    with pytest.raises(UserError, match=message):
        launch_run(lambda _: None, arguments(*words), "cpu")


def test_one_url_for_several_machines():
    words = ["--num-machines", 2, "--num-gpus", 1, "--dist-url", "auto"]
    with pytest.raises(UserError, match="auto is for one machine: for 2 give tcp://HOST:PORT"):
        launch_run(lambda _: None, arguments(*words), "cpu")


@slow
def test_a_port_that_is_taken(start):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        url = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
        training = start("--num-gpus", "2", "--dist-url", url, "grace", 2)
        assert training.wait() == 1
    message = rf"error: process 0 of 2 cannot join the others at {url}: .*; if another training"
    assert re.search(message, training.text()), training.text()
    assert "Traceback" not in training.text()


def test_cpu_processes_do_not_see_gpus(monkeypatch):
    """torch would take NCCL, and a GPU a process, wherever it finds a GPU."""
    seen = []
    monkeypatch.setattr(launch, "check_num_processes", lambda *_: None)
    for device in ("cpu", "cuda"):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
        launch_run(lambda _: seen.append(os.environ["CUDA_VISIBLE_DEVICES"]), arguments(), device)
    assert seen == ["", "0"]


# ---- GPUs ----------------------------------------------------------------------------------------


@pytest.fixture
def gpus(monkeypatch):
    """Sets how many GPUs torch sees; returns the places of processes that are started."""
    seen = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(launch, "_run_in_group", lambda *place: seen.append(place[:5]))

    def see(count, **environment):
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        return seen

    return see


def test_one_gpu_is_not_for_several_processes(gpus):
    gpus(2)
    with pytest.raises(UserError, match="cuda:1, one GPU for 2 processes: set MODEL.DEVICE cuda"):
        launch_run(lambda _: None, arguments("--num-gpus", 2), "cuda:1")
    ran = []
    launch_run(ran.append, arguments("--num-gpus", 1), "cuda:1")
    assert len(ran) == 1


def test_each_process_may_see_one_gpu_only(gpus, monkeypatch):
    """As srun --gpus-per-task=1 leaves it; without its variable two processes would share the GPU."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    seen = gpus(1, **ENVIRONMENT)
    with pytest.raises(UserError, match="--num-gpus is 2, but this machine has 1 GPUs"):
        launch_run(lambda _: None, arguments(), "cuda")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    launch_run(lambda _: None, arguments(), "cuda")
    assert seen == [(1, 2, 4, 2, "env://")]


@pytest.mark.parametrize(("count", "index"), [(1, 0), (2, 1)])
def test_the_gpu_of_a_process(monkeypatch, count, index):
    """Of the second process of a machine, by how many GPUs it sees."""
    chosen = []
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    monkeypatch.setattr(dist, "rendezvous", lambda *_, **__: iter([]))
    with pytest.raises(StopIteration):
        launch._make_groups(1, 1, 2, 2, "env://", True, timedelta(seconds=1))
    assert chosen == [index]


def timeout_beside_nccl():
    """Of the group over gloo that decides in every step, in minutes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    dist.get_backend = lambda *_: "nccl"  # what runs is gloo
    launch._make_groups(0, 0, 1, 1, f"tcp://127.0.0.1:{port}", False, timedelta(minutes=5))
    group = comm._get_global_gloo_group()
    assert group is not dist.group.WORLD
    return group._get_backend(torch.device("cpu")).options._timeout / timedelta(minutes=1)


def test_the_timeout_reaches_the_group_beside_nccl():
    assert call_fresh(timeout_beside_nccl) == 5


def test_processes_on_gpus_share_the_cores(gpus, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS")
    gpus(2, **ENVIRONMENT)
    monkeypatch.setattr(os, "cpu_count", lambda: 12)
    launch_run(lambda _: None, arguments(), "cuda")
    assert os.environ["OMP_NUM_THREADS"] == "6"


# ---- two machines --------------------------------------------------------------------------------


def ip(*words: str) -> subprocess.CompletedProcess:
    return subprocess.run(["ip", *words], capture_output=True, text=True)


@pytest.fixture
def hosts():
    """Two network namespaces that see nothing but each other; for each, options of a training."""
    if shutil.which("ip") is None or os.geteuid() != 0:
        pytest.skip("making network namespaces takes iproute2 and root")
    names = [f"d2v{os.getpid()}{side}" for side in "ab"]
    links = [f"v{os.getpid()}{side}" for side in "ab"]
    try:
        for name in names:
            done = ip("netns", "add", name)
            if done.returncode:
                pytest.skip(f"no network namespace can be made here: {done.stderr.strip()}")
        done = ip("link", "add", links[0], "type", "veth", "peer", "name", links[1])
        if done.returncode:
            pytest.skip(f"no pair of virtual interfaces can be made here: {done.stderr.strip()}")
        for number, (name, link) in enumerate(zip(names, links), 1):
            for words in (
                ("link", "set", link, "netns", name),
                ("-n", name, "addr", "add", f"10.77.0.{number}/24", "dev", link),
                ("-n", name, "link", "set", link, "up"),
                ("-n", name, "link", "set", "lo", "up"),
            ):
                assert ip(*words).returncode == 0, words
        yield [{"network": name, "GLOO_SOCKET_IFNAME": link} for name, link in zip(names, links)]
    finally:
        for name in names:
            ip("netns", "del", name)


def start_both(start, hosts, how: str, *words) -> list[Training]:
    trainings = []
    for number, host in enumerate(hosts):
        if how == "launch":
            program = {}
            machine = ["--num-gpus", "2", "--num-machines", "2", "--machine-rank", str(number)]
            machine += ["--dist-url", "tcp://10.77.0.1:29400"]
        else:
            machine = []
            place = ("--nnodes", "2", "--node-rank", str(number), "--master-addr", "10.77.0.1")
            rest = ("--nproc-per-node", "2", "--master-port", "29400")
            program = {"start": (*TORCHRUN, *place, *rest)}
        trainings.append(start(*machine, *words, **program, **host))
    return trainings


def check_same_weights(folder: Path, trainings: list[Training]) -> None:
    for training in trainings:
        assert training.wait() == 0, training.text()
    ends = [(folder / f"progress{k}").read_text().splitlines()[-1] for k in range(4)]
    assert ends[0].startswith("done with")
    assert set(ends) == {ends[0]}


@slow
def test_two_machines(start, tmp_path, hosts):
    check_same_weights(tmp_path, start_both(start, hosts, "launch", "steps", 4))


@slow
def test_two_machines_under_torchrun(start_torchrun, tmp_path, hosts):
    check_same_weights(tmp_path, start_both(start_torchrun, hosts, "torchrun", "steps", 4))
    # Threads of gloo that live on end a finished process by SIGABRT now and then.
    assert not [k for k in range(4) if "gloo" in (tmp_path / f"threads{k}").read_text()]


@slow
def test_a_signal_to_one_of_two_machines(start, tmp_path, hosts):
    trainings = start_both(start, hosts, "launch")
    trainings[0].wait_for("step 2")
    trainings[1].send(signal.SIGTERM)
    for training in trainings:
        check_stopped(training, 128 + signal.SIGTERM)


@slow
def test_a_death_on_one_of_two_machines(start, tmp_path, hosts):
    trainings = start_both(start, hosts, "launch", "accident", "kill", "rank", 3)
    trainings[0].wait_for("step 3", rank=3)
    begin = time.monotonic()
    codes = [training.wait() for training in trainings]
    assert time.monotonic() - begin < LIMIT
    assert codes == [1, 128 + signal.SIGKILL], trainings[0].text()
    assert "process 3 of 4 was ended by SIGKILL" in errors_in(trainings[1].text())[0]
