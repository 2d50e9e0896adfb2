"""A process that does nothing but save is killed at random points; nothing that it saved is lost."""

import os
import random
import signal
import time
from pathlib import Path

import pytest
import torch
from torch import nn

from d2video.checkpoint import VideoCheckpointer, load_checkpoint_file

KEEP = 3


def checkpointer(folder: Path, iteration: int) -> VideoCheckpointer:
    """Of a model and an optimizer full of ``iteration``, 160 kB."""
    model = nn.Linear(200, 100)
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    for parameter in model.parameters():
        nn.init.constant_(parameter, iteration)
        optimizer.state[parameter]["momentum_buffer"] = torch.full_like(parameter, iteration)
    return VideoCheckpointer(model, str(folder), keep=KEEP, optimizer=optimizer)


def save_for_ever(folder: Path, iteration: int, pipe: int) -> None:
    """Save ``iteration`` and those after it, and write a byte to ``pipe`` after each."""
    while True:
        checkpointer(folder, iteration).save(f"model_{iteration:07d}", iteration=iteration)
        os.write(pipe, b".")
        iteration += 1


def killed_while_saving(folder: Path, first: int, draw: random.Random, duration: float) -> int:
    """Start a process that saves, kill it after a few saves and a part of ``duration`` (seconds).

    Returns:
        how many saves the process had finished, as far as it could tell.
    """
    read, write = os.pipe()
    process = os.fork()
    if process == 0:
        try:
            os.close(read)  # or it would not notice that nobody listens any more
            save_for_ever(folder, first, write)
        finally:
            os._exit(1)
    os.close(write)
    try:
        finished = sum(len(os.read(read, 1)) for _ in range(draw.randrange(3)))
        time.sleep(draw.uniform(0, 1.2) * duration)
        os.kill(process, signal.SIGKILL)
        _, status = os.waitpid(process, 0)
        assert os.WIFSIGNALED(status), "the process ended by itself"
        return finished + len(os.read(read, 1000))
    finally:
        os.close(read)


@pytest.mark.slow
@pytest.mark.parametrize("kills", [40, pytest.param(400, marks=pytest.mark.long)])
def test_no_kill_loses_a_checkpoint(tmp_path, caplog, kills):
    draw, begun, moved = random.Random(0), 0, 0
    durations = []
    for last in range(5):
        start = time.perf_counter()
        checkpointer(tmp_path, last).save(f"model_{last:07d}", iteration=last)
        durations.append(time.perf_counter() - start)
    duration = min(durations)
    most = KEEP
    for kill in range(kills):
        finished = killed_while_saving(tmp_path, last + 1, draw, duration)

        # All that can be seen is whole, and what had been saved is there. A file may be there of which
        # the process had no time to tell.
        files = sorted(tmp_path.glob("model_*.pth"))
        for path in files:
            number = int(path.stem.removeprefix("model_"))
            assert (load_checkpoint_file(path)["model"]["weight"] == number).all()
        numbers = [int(path.stem.removeprefix("model_")) for path in files]
        assert last + finished <= numbers[-1] <= last + finished + 1, kill
        # Whoever finishes a save removes the old ones; some in a row may not come to that.
        most = (KEEP if finished else most) + 1
        assert KEEP <= len(files) <= most
        hidden = list(tmp_path.glob(".*"))
        assert len(hidden) <= 1
        begun += bool(hidden)

        # A resumed run goes on from the last finished one or the one after it, without a warning.
        resumed = checkpointer(tmp_path, -1)
        found = resumed.resume_or_load("")["iteration"]
        assert last + finished <= found <= numbers[-1], kill
        moved += found != numbers[-1]
        assert (resumed.model.weight == found).all()
        for state in resumed.checkpointables["optimizer"].state.values():
            assert (state["momentum_buffer"] == found).all()
        last = found
    assert not [record for record in caplog.records if record.levelname == "WARNING"]
    # The kills did hit what they were meant to hit: the writing, most of the time that a save takes.
    assert begun > kills / 10, f"{begun} files half written, {moved} not yet the last"
    checkpointer(tmp_path, last + 1).save(f"model_{last + 1:07d}")
    assert not list(tmp_path.glob(".*"))
    print(f"{kills} kills, {begun} files half written, {moved} whole but not yet pointed to")
