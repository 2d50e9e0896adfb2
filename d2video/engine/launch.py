"""The processes of a training: started here or by torchrun, on one machine or on several."""

import argparse
import gc
import logging
import multiprocessing
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from multiprocessing.connection import wait
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from detectron2.utils import comm
from torch.distributed.elastic.utils.distributed import get_free_port

from d2video.config.device import best_device
from d2video.engine.hooks.stop_signal import STOP_SIGNALS, SecondInterrupt
from d2video.engine.setup import check_num_processes
from d2video.utils.errors import UserError

# Seconds that the other processes of a machine get to exit once one has failed.
GRACE = 15.0
# Seconds for which a process that lost another delays its own report, so that the cause comes first.
HOLD = 3.0
_TORCHRUN = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


def launch_run(
    run: Callable[[argparse.Namespace], Any], args: argparse.Namespace, device: str
) -> None:
    """``run(args)`` in each process, with process groups as detectron2's ``launch`` makes them.

    Under torchrun (LOCAL_RANK is set) this is one of the processes. Otherwise ``args.num_gpus`` are
    started on this machine and watched: signals that stop a training are handed on to them, and when
    one fails the others have ``GRACE`` seconds to end before they are killed. Each process has a GPU,
    or its share of the cores.

    Args:
        run: a function of a module, which new processes can import.
        args: of ``d2video.cli.train``.
        device: MODEL.DEVICE as it was given, see :func:`d2video.config.asked_device`.

    Raises:
        UserError: more processes than GPUs, or arguments that do not fit together.
        SystemExit: a process failed, or a signal stopped the training; the reason is on stderr.
    """
    for name in ("num_gpus", "num_machines"):
        if (number := getattr(args, name)) < 1:
            raise UserError(f"--{name.replace('_', '-')} is {number}: give 1 or more")
    if not 0 <= args.machine_rank < args.num_machines:
        raise UserError(
            f"--machine-rank is {args.machine_rank}: with --num-machines {args.num_machines} the "
            f"machines have 0 to {args.num_machines - 1}"
        )
    under_torchrun = "LOCAL_RANK" in os.environ
    local_size = _torchrun_size(args) if under_torchrun else args.num_gpus
    size = int(os.environ["WORLD_SIZE"]) if under_torchrun else local_size * args.num_machines
    alone = under_torchrun and _sees_its_own_gpu()
    check_num_processes(1 if alone else local_size, device)
    if size > 1 and device != "auto" and torch.device(device).index is not None:
        raise UserError(
            f"MODEL.DEVICE is {device}, one GPU for {size} processes: set MODEL.DEVICE cuda, which gives "
            "each its own (CUDA_VISIBLE_DEVICES chooses among them), or --num-gpus 1"
        )
    kind = torch.device(best_device() if device == "auto" else device).type
    if kind == "cpu":
        # Neither a GPU for every process nor NCCL, wherever there are some.
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    if local_size > 1:  # torch would start a thread for every core in each process
        threads = max(1, (os.cpu_count() or 1) // local_size)
        os.environ.setdefault("OMP_NUM_THREADS", str(threads))
    if size == 1:
        _fork_workers()
        run(args)
    elif under_torchrun:
        rank, local_rank = int(os.environ["RANK"]), int(os.environ["LOCAL_RANK"])
        first = rank - local_rank
        _run_in_group(local_rank, first, size, local_size, "env://", kind == "cuda", run, args)
    else:
        first = args.machine_rank * local_size
        more = (first, size, local_size, _dist_url(args), kind == "cuda", run, args)
        with signals_handed_on(_started_here):
            context = mp.start_processes(_run_in_group, more, local_size, join=False)
            code = _watch(context.processes, first, size)
        if code:
            sys.exit(code)


def _sees_its_own_gpu() -> bool:
    """Whether a scheduler has left one GPU visible to each process, as ``srun --gpus-per-task 1`` does."""
    return "CUDA_VISIBLE_DEVICES" in os.environ and torch.cuda.device_count() == 1


def _torchrun_size(args: argparse.Namespace) -> int:
    """Processes on this machine."""
    missing = [name for name in _TORCHRUN if name not in os.environ]
    if missing:
        raise UserError(
            f"LOCAL_RANK is set, as torchrun does, but not {', '.join(missing)}: set all or none"
        )
    size = int(os.environ["LOCAL_WORLD_SIZE"])
    if args.num_machines != 1 or args.num_gpus not in (1, size):
        raise UserError(
            f"torchrun has started {size} processes on this machine: leave out --num-gpus, "
            "--num-machines and --machine-rank, or start without torchrun"
        )
    if (
        not (args.resume or args.eval_only)
        and os.environ.get("TORCHELASTIC_MAX_RESTARTS", "0") != "0"
    ):
        raise UserError(
            "torchrun --max-restarts without --resume: a restart would train from the beginning and "
            "overwrite saved checkpoints; add --resume (without a checkpoint it starts at the beginning)"
        )
    return size


def _dist_url(args: argparse.Namespace) -> str:
    if args.dist_url != "auto":
        return args.dist_url
    if args.num_machines > 1:
        raise UserError(
            f"--dist-url auto is for one machine: for {args.num_machines} give tcp://HOST:PORT, of "
            "the machine with --machine-rank 0"
        )
    return f"tcp://127.0.0.1:{get_free_port()}"


def _run_in_group(
    local_rank: int,
    first: int,
    size: int,
    local_size: int,
    url: str,
    on_gpu: bool,
    run: Callable[[argparse.Namespace], Any],
    args: argparse.Namespace,
) -> None:
    """``run(args)`` as process ``first + local_rank`` of ``size``; an error goes to stderr at once."""
    rank = first + local_rank
    hold_back = _CauseFirst()
    # TrainerBase.train logs an error before it arrives here.
    logging.getLogger("detectron2.engine.train_loop").addFilter(hold_back)
    _fork_workers()
    try:
        timeout = timedelta(minutes=args.dist_timeout)
        _make_groups(rank, local_rank, size, local_size, url, on_gpu, timeout)
        run(args)
        _end_groups()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)  # torch's wrapper would turn it into success
    except Exception as error:
        hold_back.wait(error)
        print(f"error: process {rank} of {size} failed:", file=sys.stderr)
        traceback.print_exc()
        sys.stderr.flush()
        sys.exit(1)


def _end_groups() -> None:
    """End the threads of the process groups before the interpreter ends.

    Otherwise a finished process occasionally dies of SIGABRT, and torchrun restarts all processes. A thread
    ends with the last reference to its group: detectron2's, or one in the trainer's cycles.
    """
    dist.destroy_process_group()
    comm._LOCAL_PROCESS_GROUP = None
    comm._get_global_gloo_group.cache_clear()
    gc.collect()


def _fork_workers() -> None:
    """Let data loading workers start by forking, even if this process was spawned.

    Spawned workers (the default in a spawned process, and from Python 3.14 on) import everything again,
    copy the datasets, and lack this process's signal handlers.
    """
    if sys.platform == "linux":  # elsewhere system libraries do not support it
        multiprocessing.set_start_method("fork", force=True)


def _make_groups(
    rank: int,
    local_rank: int,
    size: int,
    local_size: int,
    url: str,
    on_gpu: bool,
    timeout: timedelta,
) -> None:
    if on_gpu:
        torch.cuda.set_device(0 if torch.cuda.device_count() == 1 else local_rank)
    # torchrun on one machine keeps its store over restarts, with the addresses of processes that are
    # gone. (On several, --rdzv-backend c10d makes a new one, and machines may count differently.)
    alone = os.environ.get("GROUP_WORLD_SIZE") == "1"
    restart = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") if alone else "0"
    try:
        store, _, _ = next(dist.rendezvous(url, rank, size, timeout=timeout))
        store.set_timeout(timeout)
        dist.init_process_group(
            "nccl" if on_gpu else "gloo",
            store=dist.PrefixStore(f"restart_{restart}", store),
            timeout=timeout,
            world_size=size,
            rank=rank,
        )
    except (dist.DistError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(
            f"process {rank} of {size} cannot join the others at {url}: {reason}; if another "
            "training has this port, give --dist-url auto or another port, under torchrun "
            "--master-port"
        ) from error
    with _new_groups_wait(timeout):
        comm.create_local_process_group(local_size)
        comm._get_global_gloo_group()  # kept: beside NCCL, what all decide together in each step goes by it
    comm.synchronize()


@contextmanager
def _new_groups_wait(timeout: timedelta) -> Iterator[None]:
    """For groups that detectron2 makes: torch would give them a timeout of its own, not the first group's."""
    new_group = dist.new_group
    dist.new_group = partial(new_group, timeout=timeout)
    try:
        yield
    finally:
        dist.new_group = new_group


class _CauseFirst(logging.Filter):
    """Delays, once, the report of a process that failed only because another did.

    It learns of that in the same moment as the parent, which reports the cause.
    """

    def __init__(self):
        super().__init__()
        self._held = False

    def filter(self, record: logging.LogRecord) -> bool:
        if record.exc_info:
            self.wait(record.exc_info[1])
        return True

    def wait(self, error: BaseException | None) -> None:
        # gloo raises a bare RuntimeError where a connection is closed.
        lost = isinstance(error, dist.DistError) or "gloo" in str(error).lower()
        if lost and not self._held:
            self._held = True
            time.sleep(HOLD)


def _started_here() -> list[int]:
    return [child.pid for child in multiprocessing.active_children() if child.pid is not None]


@contextmanager
def signals_handed_on(children: Callable[[], list[int]]) -> Iterator[None]:
    """Signals that stop a training go on to the processes started from this one.

    A second SIGINT, more than a moment after the first, kills them.

    Args:
        children: their ids.
    """
    is_second = SecondInterrupt()

    def hand_on(number: int, frame: Any) -> None:
        if is_second(number):
            number = signal.SIGKILL
        for child in children():
            os.kill(child, number)

    before = {number: signal.signal(number, hand_on) for number in STOP_SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _watch(processes: list[Any], first: int, size: int) -> int:
    """Wait until all have ended; report at once which were killed.

    Returns:
        0, or the exit code of the first that failed, 128 + number for one that a signal killed.
    """
    running = dict(enumerate(processes))
    code, deadline = 0, None
    while running:
        left = None if deadline is None else max(0.0, deadline - time.monotonic())
        if not wait([process.sentinel for process in running.values()], left):
            for local_rank, process in running.items():
                print(f"process {first + local_rank} of {size}: killed", file=sys.stderr)
                process.kill()
            deadline = None
        for local_rank, process in list(running.items()):
            if not process.is_alive():
                process.join()
                del running[local_rank]
                if process.exitcode and not code:
                    code = _exit_code(process.exitcode, first + local_rank, size)
                    deadline = time.monotonic() + GRACE
    return code


def _exit_code(code: int, rank: int, size: int) -> int:
    if code > 0:
        return code  # the process has printed its reason
    name = signal.Signals(-code).name
    hint = " (the system may have run out of memory)" if -code == signal.SIGKILL else ""
    print(f"error: process {rank} of {size} was ended by {name}{hint}", file=sys.stderr, flush=True)
    return 128 - code
