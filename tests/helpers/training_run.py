"""Run trainings of a system in processes of their own: a whole one, and such as are stopped or killed.

``python -m tests.helpers.training_run SYSTEM RANKS FOLDER``, with DETECTRON2_DATASETS set. Each run
leaves ``FOLDER/<run>/model_final.pth`` and, one line a step, ``losses.txt``.
"""

import multiprocessing
import os
import signal
import sys
from pathlib import Path

import torch
import torch.distributed as dist
from detectron2.engine import HookBase
from detectron2.utils import comm
from detectron2.utils.env import seed_all_rng

from d2video.engine import VideoTrainer
from tests.helpers.systems import system_cfg, write_data

STEPS = 6
SAVED = 3  # and every third step after it
SIGNALLED_AT = 2  # a step like any other, not one of the period
KILLED_AT = 5


class Recorder(HookBase):
    """Writes the losses of every step, unsmoothed and exact; may send its process a signal."""

    def __init__(self, path: Path, number: signal.Signals, signal_at: int | None):
        self._path = path
        self._number = number
        self._signal_at = signal_at

    def after_step(self) -> None:
        step = self.trainer.iter + 1
        if comm.is_main_process():
            latest = self.trainer.storage.latest()
            losses = {
                name: value
                for name, (value, when) in sorted(latest.items())
                if "loss" in name and when == self.trainer.iter
            }
            with self._path.open("a") as file:
                file.write(f"{step} {losses!r}\n")
        if step == self._signal_at:
            os.kill(os.getpid(), self._number)


def train(
    system: str,
    output: Path,
    *,
    rank: int = 0,
    ranks: int = 1,
    stop: int = STEPS,
    number: signal.Signals = signal.SIGKILL,
    signal_at: int | None = None,
    resume: bool = False,
    workers: int = 2,
    seed: int = 3,
) -> None:
    """A training up to step ``stop`` of :data:`STEPS`, in this process."""
    torch.set_num_threads(1)
    if ranks > 1:
        store = output.parent / f"{output.name}-{stop}-{signal_at}-{resume}.store"
        dist.init_process_group("gloo", f"file://{store}", rank=rank, world_size=ranks)
        comm.create_local_process_group(ranks)
    options = {"DATALOADER__NUM_WORKERS": workers, "SOLVER__EMA__ENABLED": True}
    steps = {"SOLVER__MAX_ITER": STEPS, "SOLVER__CHECKPOINT_PERIOD": SAVED}
    cfg = system_cfg(system, OUTPUT_DIR=str(output), **options, **steps)
    output.mkdir(parents=True, exist_ok=True)
    seed_all_rng(seed + rank)
    trainer = VideoTrainer(cfg)
    trainer.max_iter = stop
    trainer.register_hooks([Recorder(output / "losses.txt", number, signal_at)])
    trainer.resume_or_load(resume=resume)
    trainer.train()
    if ranks > 1:
        dist.destroy_process_group()


def launch(system: str, output: Path, ranks: int, **options) -> list[int]:
    """:func:`train` in ``ranks`` processes; their exit codes."""
    fork = multiprocessing.get_context("fork")  # torch is not read again
    processes = [
        fork.Process(
            target=train, args=(system, output), kwargs={**options, "rank": rank, "ranks": ranks}
        )
        for rank in range(ranks)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    return [process.exitcode for process in processes]


def main() -> None:
    system, ranks, folder = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
    write_data(system, Path(os.environ["DETECTRON2_DATASETS"]))
    system_cfg(system)  # imports what the processes that are forked below need
    done = [0] * ranks
    assert launch(system, folder / "whole", ranks) == done
    # Other numbers of workers, and processes that begin with other random states.
    assert launch(system, folder / "parts", ranks, stop=SAVED, workers=1) == done
    assert launch(system, folder / "parts", ranks, resume=True, seed=70) == done
    signalled = {"number": signal.SIGTERM, "signal_at": SIGNALLED_AT}
    stopped = launch(system, folder / "signalled", ranks, **signalled)
    assert stopped == [128 + signal.SIGTERM] * ranks, stopped
    assert launch(system, folder / "signalled", ranks, resume=True, workers=1, seed=75) == done
    killed = launch(system, folder / "killed", ranks, signal_at=KILLED_AT)
    assert killed == [-signal.SIGKILL] * ranks, killed
    assert launch(system, folder / "killed", ranks, resume=True, workers=0, seed=80) == done


if __name__ == "__main__":
    main()
