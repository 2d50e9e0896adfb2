"""Checkpoints of a run: whole or not there, the newest kept, damaged ones passed over, full disks."""

import os
import re
import resource
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from detectron2.utils import comm
from torch import nn

from d2video.checkpoint import VideoCheckpointer, load_checkpoint_file, write_checkpoint
from d2video.utils.errors import UserError


def checkpointer(folder, value: float = 0.0, **options) -> VideoCheckpointer:
    model = nn.Linear(50, 100)
    nn.init.constant_(model.weight, value)
    return VideoCheckpointer(model, str(folder), **options)


def save(folder, *iterations: int, **options) -> None:
    """Checkpoints whose weights are their iterations."""
    for iteration in iterations:
        made = checkpointer(folder, float(iteration), **options)
        made.save(f"model_{iteration:07d}", iteration=iteration)


def resume(folder) -> int:
    """The iteration from which a run would go on, as the weights say it, too."""
    made = checkpointer(folder, -1.0)
    iteration = made.resume_or_load("").get("iteration", -1)
    assert made.model.weight.eq(iteration).all()
    return iteration


def names(folder) -> list[str]:
    return sorted(os.listdir(folder))


# ---- the newest ---------------------------------------------------------------------------------


def test_a_run_goes_on_from_its_last_checkpoint(tmp_path, caplog):
    assert not checkpointer(tmp_path).has_checkpoint()
    assert resume(tmp_path) == -1
    save(tmp_path, 4, 9)
    assert checkpointer(tmp_path).has_checkpoint()
    assert resume(tmp_path) == 9
    (tmp_path / "last_checkpoint").write_text("model_0000004.pth\n")  # somebody's wish
    assert resume(tmp_path) == 4
    assert not [r for r in caplog.records if r.levelname == "WARNING"]


def test_the_newest_are_kept(tmp_path):
    save(tmp_path, 1, 2, 3)
    save(tmp_path, 4, 5, keep=2)
    checkpointer(tmp_path, keep=2).save("model_final", iteration=5)
    (tmp_path / "mine.pth").touch()
    assert names(tmp_path) == [
        "last_checkpoint",
        "mine.pth",
        "model_0000004.pth",
        "model_0000005.pth",
        "model_final.pth",
    ]
    save(tmp_path, 10, keep=1)
    assert {"model_0000010.pth", "model_final.pth", "mine.pth"} < set(names(tmp_path))
    assert "model_0000005.pth" not in names(tmp_path)
    with pytest.raises(UserError, match="CHECKPOINT_KEEP is -1"):
        checkpointer(tmp_path, keep=-1)


def test_newest_is_the_last_written_whatever_its_number(tmp_path):
    """An earlier run in the same folder went further."""
    save(tmp_path, 90, 100)
    save(tmp_path, 10, 20, keep=2)
    assert names(tmp_path)[1:] == ["model_0000010.pth", "model_0000020.pth"]


def test_damaged_checkpoints_do_not_count(tmp_path):
    """Else the good one that the run went on from would go, and a damaged one stay."""
    save(tmp_path, 4, 9)
    cut(tmp_path / "model_0000009.pth")
    made = checkpointer(tmp_path, keep=2)
    made.resume_or_load("")
    for iteration in (6, 11):
        made.save(f"model_{iteration:07d}", iteration=iteration)
        good = {"model_0000004.pth", "model_0000006.pth"} if iteration == 6 else set()
        assert good <= set(names(tmp_path))
    numbers = [6, 9, 11]
    assert names(tmp_path)[1:] == [f"model_{number:07d}.pth" for number in numbers]


def test_an_old_checkpoint_that_cannot_be_removed_stays(tmp_path, monkeypatch, caplog):
    def fail(path, missing_ok=False):
        if path.name == "model_0000001.pth":
            raise PermissionError(1, "Operation not permitted")
        unlink(path, missing_ok)

    unlink = Path.unlink
    monkeypatch.setattr(Path, "unlink", fail)
    save(tmp_path, 1, 2, 3, keep=1)
    assert names(tmp_path) == ["last_checkpoint", "model_0000001.pth", "model_0000003.pth"]
    assert "model_0000001.pth cannot be removed: Operation not permitted" in caplog.text


# ---- damage -------------------------------------------------------------------------------------


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1000])


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("damage", "fault"),
    [
        (cut, "truncated"),
        (flip, "checksum of its record"),
        (lambda path: path.write_text("text"), "truncated or no checkpoint"),
        (lambda path: path.write_bytes(b""), "it is empty"),
        (lambda path: path.unlink(), "no such file"),
        (lambda path: torch.save({"model": {"weight": 3}}, path), "expected a state dict"),
    ],
)
def test_a_damaged_newest_file_is_named_and_the_newest_good_one_taken(
    tmp_path, caplog, damage, fault
):
    save(tmp_path, 4, 9, 14)
    damage(tmp_path / "model_0000014.pth")
    assert resume(tmp_path) == 9
    warnings = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
    assert len(warnings) == 2
    assert "model_0000014.pth" in warnings[0]
    assert fault in warnings[0]
    assert "resuming from" in warnings[1]
    assert "model_0000009.pth" in warnings[1]

    damage(tmp_path / "model_0000009.pth")
    assert resume(tmp_path) == 4
    damage(tmp_path / "model_0000004.pth")
    with pytest.raises(UserError, match="no checkpoint in .* can be resumed from") as error:
        resume(tmp_path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"", "is empty"),
        (b" \n", "is empty"),
        (b"../other/model_final.pth", "no file of its folder"),
        (b"/etc/passwd", "no file of its folder"),
        (b"\xff\xfe\0", "no file of its folder"),
        (b"x" * 100_000, "no such file"),
        (None, "cannot be read"),
    ],
)
def test_a_damaged_pointer(tmp_path, caplog, content, fault):
    save(tmp_path, 4, 9)
    pointer = tmp_path / "last_checkpoint"
    pointer.unlink()
    if content is not None:
        pointer.write_bytes(content)
    assert checkpointer(tmp_path).has_checkpoint()
    assert resume(tmp_path) == 9
    assert "resuming from" in caplog.text

    for path in tmp_path.glob("model_*"):
        path.unlink()
    if content is not None:
        with pytest.raises(UserError, match=fault) as error:
            resume(tmp_path)
        assert "\n" not in str(error.value)


def test_another_models_checkpoint_is_a_mistake_and_no_damage(tmp_path):
    save(tmp_path, 4)
    VideoCheckpointer(nn.Conv2d(1, 1, 1), str(tmp_path)).save("model_0000009")
    with pytest.raises(UserError, match=r"model_0000009\.pth.*weights of Conv2d"):
        resume(tmp_path)


def test_the_main_process_decides_for_all(tmp_path, monkeypatch):
    save(tmp_path, 4, 9)
    answers = [[(str(tmp_path / "model_0000004.pth"), "")], [("", "no checkpoint is good")]]
    monkeypatch.setattr(comm, "is_main_process", lambda: False)
    monkeypatch.setattr(comm, "all_gather", lambda own: [answers.pop(0)[0], own])
    assert resume(tmp_path) == 4
    with pytest.raises(UserError, match="no checkpoint is good"):
        resume(tmp_path)


# ---- writing ------------------------------------------------------------------------------------


def test_order_of_writing(tmp_path, monkeypatch):
    """What a name stands for is on the disk before the name, and both before the pointer."""
    done: list[str] = []
    fsync, replace = os.fsync, os.replace

    def name(path) -> str:
        return "folder" if str(path) == str(tmp_path) else Path(path).name.split(".")[1]

    monkeypatch.setattr(
        os,
        "fsync",
        lambda n: (done.append("sync " + name(os.readlink(f"/proc/self/fd/{n}"))), fsync(n)),
    )
    monkeypatch.setattr(
        os, "replace", lambda a, b: (done.append("rename " + name(a)), replace(a, b))
    )
    save(tmp_path, 7)
    assert done == [
        *("sync model_0000007", "rename model_0000007", "sync folder"),
        *("sync last_checkpoint", "rename last_checkpoint", "sync folder"),
    ]


def test_what_a_killed_process_began_is_removed(tmp_path):
    for name in (".model_0000003.1234.partial.pth", ".last_checkpoint.1234.partial"):
        (tmp_path / name).touch()
    (tmp_path / ".mine").touch()
    assert not checkpointer(tmp_path).has_checkpoint()
    save(tmp_path, 4)
    assert names(tmp_path) == [".mine", "last_checkpoint", "model_0000004.pth"]


def test_what_could_not_be_loaded_again_is_not_written(tmp_path):
    save(tmp_path, 4)
    for value in (Path("x"), np.float64(1)):
        with pytest.raises(UserError, match=r"model_0000009\.pth is not written: it would hold"):
            checkpointer(tmp_path).save("model_0000009", best=value)
    assert resume(tmp_path) == 4
    assert names(tmp_path) == ["last_checkpoint", "model_0000004.pth"]


def test_an_interrupted_save_leaves_nothing(tmp_path):
    class Interrupted:
        def __reduce__(self):
            raise KeyboardInterrupt

    save(tmp_path, 4)
    with pytest.raises(KeyboardInterrupt):
        checkpointer(tmp_path).save("model_0000009", state=Interrupted())
    assert names(tmp_path) == ["last_checkpoint", "model_0000004.pth"]


# ---- full disks ---------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path):
    """A folder on a disk of 128 KiB; only root can make one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", str(folder)]
    if not shutil.which("mount") or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("no permission to mount a disk")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_leaves_the_old_checkpoints(small_disk):
    save(small_disk, 1, 2)
    # With every amount of room left, so that each of the files is the one that finds no room.
    room = shutil.disk_usage(small_disk).free
    faults = []
    for left in range(0, room, 4096):
        (small_disk / "other").write_bytes(b"x" * (room - left))
        before = {path.name: path.read_bytes() for path in small_disk.glob("model_*")}
        try:
            save(small_disk, 3)
        except UserError as error:
            faults.append(str(error))
            assert resume(small_disk) == 2
        else:
            assert resume(small_disk) == 3
        assert not list(small_disk.glob(".*"))
        assert {path.name: path.read_bytes() for path in small_disk.glob("model_*")}.items() >= (
            before.items()
        )
        for path in small_disk.glob("model_0000003.pth"):
            path.unlink()
        (small_disk / "last_checkpoint").write_text("model_0000002.pth")
        (small_disk / "other").unlink()
    for fault in faults:
        assert re.fullmatch(
            r"cannot write \S+: No space left on device \(0\.0 GB free in .*earlier checkpoints are "
            "intact: make room .*",
            fault,
        )
    files = {Path(fault.split(": ")[0]).name for fault in faults}
    assert files == {"model_0000003.pth", "last_checkpoint"}
    save(small_disk, 3)
    assert resume(small_disk) == 3


@pytest.mark.parametrize("room", [0, 1, 5000, 20_000])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_file_that_may_not_grow(tmp_path, suffix, room):
    """The limit that ``ulimit -f`` and quotas set, as everybody can."""
    path = tmp_path / f"release{suffix}"
    write_checkpoint({"w": torch.ones(10)}, path)
    old = path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, limits[1]))
    try:
        with pytest.raises(UserError, match=r"release.*: File too large \(.* GB free in "):
            write_checkpoint({"w": torch.ones(10_000)}, path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == old
    assert names(tmp_path) == [path.name]
    write_checkpoint({"w": torch.ones(10_000)}, path)
    assert len(load_checkpoint_file(path)["w"]) == 10_000


def test_a_failing_disk_at_the_last_moment(tmp_path, monkeypatch):
    """Some disks report what they could not write only when asked."""

    def fail(descriptor):
        raise OSError(5, "Input/output error")

    save(tmp_path, 4)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        with pytest.raises(UserError, match=r"model_0000009\.pth: Input/output error"):
            save(tmp_path, 9)
    assert names(tmp_path) == ["last_checkpoint", "model_0000004.pth"]
    assert resume(tmp_path) == 4
