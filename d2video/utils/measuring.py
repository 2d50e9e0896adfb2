"""For benchmarks: times, peaks of memory, and the machine they were measured on."""

import multiprocessing
import platform
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any, TypeVar

import detectron2
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry, sdpa_flop_count

from d2video.utils.errors import UserError

Run = Callable[[], object]
T = TypeVar("T")


def timed(run: Callable[[], T], device: torch.device) -> tuple[T, float]:
    """The result of ``run`` and the seconds that it takes, what it queued on a GPU included."""
    start = time.perf_counter()
    result = run()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
    return result, time.perf_counter() - start


def measure(run: Run, device: torch.device, warmup: int, repeats: int) -> dict[str, float]:
    """Median and spread of the wall time, the median of the CPU time of this process, both in seconds, and
    the peak memory of this process in GB."""
    for _ in range(warmup):
        timed(run, device)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    times, cpu_times = [], []
    for _ in range(repeats):
        start = time.process_time()
        times.append(timed(run, device)[1])
        cpu_times.append(time.process_time() - start)
    on_gpu = device.type == "cuda"
    peak = torch.cuda.max_memory_allocated(device) if on_gpu else peak_resident()
    return {
        "median_s": statistics.median(times),
        "min_s": min(times),
        "max_s": max(times),
        "cpu_s": statistics.median(cpu_times),
        "peak_gb": peak / 1e9,
    }


def matmul_floor(run: Run, device: torch.device) -> dict[str, float]:
    """What the matrix products and convolutions of ``run`` would take if nothing else did, at the
    speed at which the device multiplies large float32 matrices now."""
    size = 2048
    a, b = torch.rand(2, size, size, device=device)
    rate = 2 * size**3 / measure(lambda: a @ b, device, warmup=2, repeats=7)["min_s"]
    with _Flops() as counted:
        run()
    flops = counted.total
    return {"gflop": flops / 1e9, "matmul_gflops": rate / 1e9, "floor_s": flops / rate}


class _Flops(TorchDispatchMode):
    """Counts by torch's formulas, as ``FlopCounterMode``, which however follows modules and fails where parts
    of a model run without gradients; and the fused attention of CPUs, which that leaves out."""

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        output = func(*args, **(kwargs or {}))
        packet = func._overloadpacket
        if packet is torch.ops.aten._scaled_dot_product_flash_attention_for_cpu:
            self.total += sdpa_flop_count(*(x.shape for x in args[:3]))
        elif packet in flop_registry:
            self.total += flop_registry[packet](*args, **(kwargs or {}), out_val=output)
        return output


def peak_resident() -> int:
    """Most bytes that this process has ever held in memory.

    Not ``resource.getrusage``: there a new process begins with the peak of the one it comes from.
    """
    status = Path("/proc/self/status")
    if not status.is_file():
        raise UserError("memory on a CPU is read from /proc, which this system lacks: use Linux")
    line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
    return 1024 * int(line.split()[1])


def apart(function: Callable[..., T], *args: object) -> T:
    """The function's result in a new process: the peak of memory never falls within one.

    Raises:
        UserError: the process was killed.
    """
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        try:
            return pool.submit(function, *args).result()
        except BrokenProcessPool as error:
            raise UserError(
                "the process that measures was killed, as the system does when memory is short: measure "
                "a smaller --size, or free some memory"
            ) from error


def environment(device: torch.device) -> dict[str, str | int]:
    cpu_info = Path("/proc/cpuinfo")
    lines = cpu_info.read_text().splitlines() if cpu_info.is_file() else []
    models = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return {
        "cpu": models[0] if models else platform.processor(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name(device) if device.type == "cuda" else "none",
        "torch": torch.__version__,
        "detectron2": detectron2.__version__,
        "python": platform.python_version(),
    }
