"""tools/benchmark.py on a very small model."""

import importlib
import json
import subprocess
import sys
from argparse import Namespace
from pathlib import Path

import pytest
import torch

from tests.projects.VisTR.tiny import CONFIG, SMALL

ROOT = Path(__file__).parents[2]
OPTIONS = ["MODEL.DEVICE", "cpu", *map(str, SMALL)]


@pytest.fixture
def tool(monkeypatch):
    # By its name, as processes that it starts import it.
    monkeypatch.syspath_prepend(ROOT / "tools")
    monkeypatch.chdir(ROOT)
    return importlib.import_module("benchmark")


def arguments(task: str) -> Namespace:
    return Namespace(
        config_file=CONFIG,
        opts=OPTIONS,
        task=task,
        size=(32, 48),
        video_size=(64, 96),
        instances=2,
        warmup=0,
        repeats=2,
    )


@pytest.mark.parametrize(
    ("task", "name"),
    [
        ("inference", "masks at network size"),
        ("inference", "masks at video size as RLE"),
        ("inference", "with JPEG decoding as well"),
        ("training", "training step"),
    ],
)
def test_rows(tool, task, name):
    figures = tool.measure_row(arguments(task), name)
    assert 0 < figures["min_s"] <= figures["median_s"] <= figures["max_s"]
    assert figures["peak_gb"] > 0.05


def test_repeats_0_is_one_line(tool, capsys):
    with pytest.raises(SystemExit):
        tool.main(["--config-file", str(ROOT / CONFIG), "--repeats", "0"])
    assert capsys.readouterr().err.startswith("error: ")


@pytest.mark.slow
def test_memory_of_a_row_is_its_own(tool):
    torch.ones(2**28)  # 1 GiB that this process, but no other, has once held
    mine = tool.peak_resident() / 1e9
    assert mine > 1
    figures = tool.measure_apart(arguments("inference"), "masks at network size")
    assert figures["peak_gb"] < mine - 0.5


@pytest.mark.slow
def test_command_line(tmp_path):
    command = [sys.executable, "tools/benchmark.py", "--config-file", CONFIG]
    command += ["--size", "32", "48", "--video-size", "64", "96", "--warmup", "0"]
    command += ["--repeats", "1", "--json", str(tmp_path / "figures.json"), *OPTIONS]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    content = json.loads((tmp_path / "figures.json").read_text())
    assert content["size"] == [32, 48]
    assert len(content["results"]) == 3
    for name in content["results"]:
        assert name in done.stdout
