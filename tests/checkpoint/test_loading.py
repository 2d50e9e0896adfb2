"""Reading checkpoint files: official ones, damaged ones, and those that mean harm."""

import argparse
import io
import os
import pickle
import random
import re
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from d2video.checkpoint import load_checkpoint_file, write_checkpoint
from d2video.utils.errors import BrokenCheckpoint


class Evil:
    """Pickled, an order to make a file: ``torch.load`` or ``pickle.load`` would obey."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return (os.mkdir, (str(self.path),))


def save(path, content) -> str:
    torch.save(content, path)
    return str(path)


# ---- other files --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.pth", b"<!DOCTYPE html><html>Quota exceeded</html>", "it is a web page"),
        ("a.pth", b"version https://git-lfs.github.com/spec/v1\noid x", "a pointer of Git LFS"),
        ("a.zip", {"run/": b"", "run/b.pth": b"b"}, r"name it as \S+a\.zip!/run/b\.pth$"),
        ("a.pth", {"b.txt": b"b"}, "it is a zip archive; .*, unpack it$"),
        ("a.zip", {}, "it is a zip archive; .*, unpack it$"),
        ("a.pt", {"a/data.pkl": b"", "a/constants.pkl": b""}, "it is TorchScript, code"),
    ],
)
@pytest.mark.filterwarnings("error")
def test_files_that_are_no_checkpoints_are_called_what_they_are(tmp_path, name, content, words):
    path = tmp_path / name
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        with zipfile.ZipFile(path, "w") as archive:
            for member, data in content.items():
                archive.writestr(member, data)
    for peek in (True, False):
        with pytest.raises(BrokenCheckpoint, match=words):
            load_checkpoint_file(path, peek=peek)


# ---- official files -----------------------------------------------------------------------------


def test_official_files_with_their_arguments_load(tmp_path):
    content = {"model": {"w": torch.ones(2)}, "args": argparse.Namespace(lr=1e-4), "epoch": 3}
    path = save(tmp_path / "a.pth", content)
    loaded = load_checkpoint_file(path)
    assert loaded["args"].lr == 1e-4
    assert loaded["model"]["w"].tolist() == [1, 1]


@pytest.mark.parametrize("core", ["core", "_core"])
def test_official_trackformer_files_with_their_statistics_load(tmp_path, core):
    """Schedules with counters, numbers of numpy, of version 1 (module numpy.core) or 2."""
    content = {
        "model": {"w": torch.ones(2)},
        "lr_scheduler": {"milestones": Counter([10])},
        "best_val_stats": [np.float64(0.5), np.float32(2), np.int64(3), np.bool_(True), 0.25],
        "args": argparse.Namespace(tracker=argparse.Namespace(patience=5)),
    }
    path, new = tmp_path / "a.pth", tmp_path / "b.pth"
    save(path, content)
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(new, "w") as archive:
        for name in old.namelist():
            data = re.sub(rb"numpy\._?core\.", f"numpy.{core}.".encode(), old.read(name))
            archive.writestr(name, data)
    loaded = load_checkpoint_file(new)
    assert loaded["best_val_stats"] == [0.5, 2, 3, True, 0.25]
    assert loaded["args"].tracker.patience == 5


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_model_zoo_pickles_load(tmp_path, protocol):
    path = tmp_path / "R-50.pkl"
    arrays = {
        "w": np.arange(6.0).reshape(2, 3),
        "fortran": np.asfortranarray(np.arange(6, dtype="f4").reshape(2, 3)),
        "big_endian": np.arange(3, dtype=">f4"),
        "count": np.array(7),
    }
    content = {"model": arrays, "__author__": "torchvision", "matching_heuristics": True}
    path.write_bytes(pickle.dumps(content, protocol))
    loaded = load_checkpoint_file(path)
    assert loaded["matching_heuristics"]
    for name, array in arrays.items():
        found = loaded["model"][name]
        assert np.array_equal(found, array)
        assert found.dtype == array.dtype.newbyteorder("=")
        assert torch.from_numpy(found) is not None


# ---- files that mean harm -----------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".pth", ".pkl", ".safetensors"])
@pytest.mark.parametrize("made_by", ["torch", "old torch", "pickle"])
def test_no_code_in_a_file_is_run(tmp_path, suffix, made_by):
    path, made = tmp_path / f"evil{suffix}", tmp_path / "made"
    if made_by == "pickle":
        path.write_bytes(pickle.dumps({"model": Evil(made)}))
    else:
        zipped = made_by == "torch"
        torch.save({"model": Evil(made)}, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(
        BrokenCheckpoint, match=r"evil.*(not a readable checkpoint|not a dict)"
    ) as error:
        load_checkpoint_file(path)
    assert "\n" not in str(error.value)
    assert not made.exists()
    pickle.loads(pickle.dumps(Evil(made)))  # it would have worked
    assert made.exists()


def test_pickled_arrays_are_numbers(tmp_path):
    """numpy itself would unpickle arrays of objects and believe a dtype's flags."""
    path = tmp_path / "x.pkl"
    for value in (
        np.array([{"a": 1}]),
        np.array(["text"]),
        np.zeros(2, [("a", "f4"), ("b", "O")]),
        np.zeros(2, "M8[s]"),
    ):
        path.write_bytes(pickle.dumps({"model": {"w": value}}))
        with pytest.raises(BrokenCheckpoint, match="numpy type .* is not allowed"):
            load_checkpoint_file(path)


def test_sizes_that_a_file_only_claims_cost_nothing(tmp_path):
    path = tmp_path / "x.pkl"
    right = pickle.dumps({"w": np.zeros(3, "u1")}, 2)
    claims_more = right.replace(b"K\x03\x85", b"J\xff\xff\xff\x7f\x85")  # shape (2 ** 31 - 1,)
    assert claims_more != right
    path.write_bytes(claims_more)
    with pytest.raises(BrokenCheckpoint, match="another size than its data"):
        load_checkpoint_file(path)
    path.write_bytes(b"\x80\x02}r\xff\xff\xff\xff.")  # a memo of 2 ** 32 places
    assert load_checkpoint_file(path) == {}


def test_compressed_archives_are_not_unpacked(tmp_path):
    save(tmp_path / "x.pth", {"w": torch.zeros(1_000_000)})
    bomb = tmp_path / "bomb.pth"
    with (
        zipfile.ZipFile(tmp_path / "x.pth") as old,
        zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as new,
    ):
        for name in old.namelist():
            new.writestr(name, old.read(name))
    assert bomb.stat().st_size < 10_000
    with pytest.raises(BrokenCheckpoint, match="compressed"):
        load_checkpoint_file(bomb)


# ---- damaged files ------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".pth", ".pkl", ".safetensors"])
def test_missing_truncated_and_other_files(tmp_path, suffix):
    path = tmp_path / f"x{suffix}"
    with pytest.raises(BrokenCheckpoint, match="no such file"):
        load_checkpoint_file(path)
    write_checkpoint({"w": torch.ones(1000)}, path)
    if suffix == ".pkl":
        path.write_bytes(pickle.dumps({"w": np.ones(1000)}))
    whole = path.read_bytes()
    faults = [whole[:-500], whole[:1], whole + b"x" * 100 if suffix == ".safetensors" else b""]
    faults += [b"", b"a line of text\n", b'{"images": []}', b"<!DOCTYPE html><html>", b"\0" * 4096]
    for content in faults:
        path.write_bytes(content)
        with pytest.raises(BrokenCheckpoint, match="not a readable checkpoint: it is ") as error:
            load_checkpoint_file(path)
        assert "\n" not in str(error.value)
        assert len(str(error.value)) < 400


def test_other_contents(tmp_path):
    with pytest.raises(BrokenCheckpoint, match="holds a list"):
        load_checkpoint_file(save(tmp_path / "list.pth", [1, 2]))
    with pytest.raises(BrokenCheckpoint, match="has the key '3', which is not a name"):
        load_checkpoint_file(save(tmp_path / "numbers.pth", {3: torch.ones(1)}))


def test_one_wrong_bit_is_noticed(tmp_path):
    """Each of 600 files with one bit flipped is refused or, where the bit says nothing, reads the
    same; torch alone reads other numbers out of many of them."""
    torch.manual_seed(0)
    state = {"w": torch.rand(300), "b": torch.rand(20)}
    path, draw = tmp_path / "x.pth", random.Random(0)
    save(path, {"model": state, "iteration": 3})
    whole = path.read_bytes()
    refused, unnoticed_by_torch = 0, 0
    for _ in range(600):
        data = bytearray(whole)
        data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
        path.write_bytes(data)
        try:
            loaded = load_checkpoint_file(path)
        except BrokenCheckpoint:
            refused += 1
            try:
                other = torch.load(io.BytesIO(data), weights_only=True)["model"]
                unnoticed_by_torch += any(not torch.equal(other[k], state[k]) for k in state)
            except Exception:
                pass
            continue
        assert loaded["iteration"] == 3
        assert all(torch.equal(loaded["model"][name], value) for name, value in state.items())
    assert refused > 200
    assert unnoticed_by_torch > 50
