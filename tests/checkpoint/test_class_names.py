"""The names of a model's classes go with its checkpoints, by row of its class head."""

import pytest
import torch
from safetensors import safe_open
from torch import nn

from d2video.checkpoint import VideoCheckpointer, class_names_in, write_checkpoint
from d2video.structures import ClassHead, class_names_of, set_class_names
from d2video.utils.errors import BrokenCheckpoint, UserError


class Model(nn.Module):
    """Its class c is predicted by row ``rows[c]``."""

    def __init__(self, rows=range(3), num_rows=3):
        super().__init__()
        self.backbone = nn.Linear(2, 2)
        self.head = nn.Linear(2, num_rows)
        if rows is not None:
            self.class_head = ClassHead(("head.",), rows, "MODEL.ANY.NUM_CLASSES")


def saved(folder, model, names):
    set_class_names(model, names)
    VideoCheckpointer(model, str(folder)).save("model")
    return str(folder / "model.pth")


def names_after(path, model, **options):
    VideoCheckpointer(model, **options).load(path)
    return class_names_of(model)


def test_there_and_back(tmp_path):
    path = saved(tmp_path, Model(), ["cat", "dog"])
    assert torch.load(path, weights_only=True)["class_names"] == ["cat", "dog"]
    assert names_after(path, Model(), strict=True) == ["cat", "dog"]
    assert class_names_of(nn.DataParallel(Model())) is None
    assert "class_names" not in torch.load(saved(tmp_path, Model(), None), weights_only=True)


def test_a_name_belongs_to_a_row(tmp_path):
    """Official DETR models have rows that no class has, VisTR's begin with one; a fine-tuned model can
    have fewer classes, or others first."""
    path = saved(tmp_path, Model([1, 4, 2], num_rows=5), ["cat", "dog", "cow"])
    by_row = ["", "cat", "cow", "", "dog"]
    assert torch.load(path, weights_only=True)["class_names"] == by_row
    assert names_after(path, Model([4, 2], num_rows=5)) == ["dog", "cow"]
    assert names_after(path, Model(range(1, 5), num_rows=5)) == ["cat", "cow", "", "dog"]
    assert names_after(path, Model([0, 3], num_rows=5)) == []


def test_a_head_that_starts_anew_has_no_names_of_the_file(tmp_path):
    path = saved(tmp_path, Model(), ["cat", "dog"])
    assert names_after(path, Model(), ignore=("head.",)) is None
    backbone = {f"backbone.{k}": v for k, v in nn.Linear(2, 2).state_dict().items()}
    write_checkpoint({"model": backbone}, tmp_path / "b.pth", ["cat"])
    assert names_after(str(tmp_path / "b.pth"), Model()) is None


def test_a_model_that_declares_no_head(tmp_path):
    """Whether its head comes from the file is certain where everything does."""
    path = saved(tmp_path, Model(rows=None), ["cat", "dog"])
    assert names_after(path, Model(rows=None)) == ["cat", "dog"]
    assert names_after(path, Model(rows=None), ignore=("backbone.bias",)) is None


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_files_of_parameters(tmp_path, suffix):
    state, path = Model().state_dict(), tmp_path / f"a{suffix}"
    write_checkpoint({"model": state} if suffix == ".pth" else state, path, ["cat", "", "cow"])
    assert names_after(str(path), Model()) == ["cat", "", "cow"]
    if suffix == ".safetensors":
        with safe_open(path, "pt") as file:
            assert file.metadata() == {"format": "pt", "class_names": '["cat", "", "cow"]'}


@pytest.mark.parametrize("names", ["cat", {"cat": 0}, [0], [["cat"]], 7])
def test_what_are_no_names(tmp_path, names):
    path = tmp_path / "a.pth"
    torch.save({"model": Model().state_dict(), "class_names": names}, path)
    with pytest.raises(BrokenCheckpoint, match=r"a\.pth: its class_names are not a list of names"):
        names_after(str(path), Model())
    assert class_names_in({"class_names": None}, path) is None


def test_too_many_names():
    head = Model(range(1, 4)).class_head
    head.check_count(["a", "b", "c"], "dataset x")
    with pytest.raises(UserError, match=r"x has 4 classes: set MODEL\.\S+ to 5 or more, not 4"):
        head.check_count([*"abcd"], "dataset x")
    listed = Model([2, 0]).class_head
    with pytest.raises(UserError, match=r"to 3 or more, not 2"):
        listed.check_count([*"abc"], "dataset x")
    assert listed.of_all(["a"]) == ["a", ""]
