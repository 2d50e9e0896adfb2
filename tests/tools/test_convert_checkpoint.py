"""tools/convert_checkpoint.py there and back, on a very small model."""

import importlib.util
from pathlib import Path

import pytest
import torch
from detectron2.modeling import build_model

from tests.projects.VisTR.tiny import CONFIG, SMALL, tiny_cfg

ROOT = Path(__file__).parents[2]


@pytest.fixture
def convert(monkeypatch):
    spec = importlib.util.spec_from_file_location("tool", ROOT / "tools/convert_checkpoint.py")
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    monkeypatch.chdir(ROOT)

    def run(source: Path, target: Path, *more: str, fmt: str = "vistr") -> None:
        command = ["--config-file", CONFIG, "--format", fmt, "--input", str(source)]
        tool.main([*command, "--output", str(target), *more, *map(str, SMALL)])

    return run


@pytest.fixture
def ours(tmp_path):
    """A checkpoint as a training run writes it."""
    torch.manual_seed(0)
    state = build_model(tiny_cfg()).state_dict()
    torch.save({"model": state, "iteration": 3}, tmp_path / "ours.pth")
    return state


def read(path: Path) -> dict[str, torch.Tensor]:
    return torch.load(path, weights_only=True)["model"]


def test_there_and_back(convert, ours, tmp_path, capsys):
    convert(tmp_path / "ours.pth", tmp_path / "official.pth", "--reverse")
    official = read(tmp_path / "official.pth")
    assert torch.equal(official["vistr.class_embed.bias"], ours["network.class_embed.bias"])
    assert official.keys().isdisjoint(ours.keys() - {n for n in ours if "insmask" in n})

    convert(tmp_path / "official.pth", tmp_path / "back.pth")
    back = read(tmp_path / "back.pth")
    assert back.keys() == ours.keys()
    assert all(torch.equal(back[name], value) for name, value in ours.items())
    assert f"{len(ours)} parameters written to" in capsys.readouterr().out


def test_parts_that_the_format_lacks_are_named(convert, ours, tmp_path, capsys):
    convert(tmp_path / "ours.pth", tmp_path / "detr.pth", "--reverse", fmt="detr")
    assert not any("class_embed" in name for name in read(tmp_path / "detr.pth"))
    convert(tmp_path / "detr.pth", tmp_path / "back.pth", fmt="detr")
    assert "parameters start anew: " in capsys.readouterr().out
    assert "network.class_embed.weight" not in read(tmp_path / "back.pth")


@pytest.mark.parametrize(
    ("more", "fmt", "message"),
    [
        ((), "vistr", "no parameter of the format"),
        (("--reverse",), "onnx", "no checkpoint format 'onnx'"),
    ],
)
def test_mistakes_end_in_one_line_and_write_nothing(
    convert, ours, tmp_path, capsys, more, fmt, message
):
    with pytest.raises(SystemExit) as stop:
        convert(tmp_path / "ours.pth", tmp_path / "new.pth", *more, fmt=fmt)
    assert stop.value.code == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "new.pth").exists()
