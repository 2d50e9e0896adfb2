"""projects/IPT/tools/evaluate_noise.py: a denoising model on other noise."""

import json

import numpy as np
import pytest
import torch
from detectron2.modeling import META_ARCH_REGISTRY
from PIL import Image
from torch import nn

from d2video.projects import register_all

pytestmark = pytest.mark.usefixtures("loggers_as_before")


@pytest.fixture
def tool():
    register_all()
    from projects.IPT.tools import evaluate_noise

    return evaluate_noise


class HalfNoise(nn.Module):
    """Halves what is not grey: of noise on a grey image, half of it is left."""

    def __init__(self, cfg) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, batch):
        return [{"restored": (item["image"] + 128) / 2} for item in batch]


@pytest.fixture
def files(tmp_path, monkeypatch):
    """Grey images, a config and a checkpoint; IPT is :class:`HalfNoise`."""
    monkeypatch.setitem(META_ARCH_REGISTRY._obj_map, "IPT", HalfNoise)
    (tmp_path / "clean").mkdir()
    for name, size in (("a", (64, 48)), ("b", (48, 64))):
        Image.fromarray(np.full((*size, 3), 128, np.uint8)).save(tmp_path / "clean" / f"{name}.png")
    (tmp_path / "net.yaml").write_text(
        f"MODEL: {{META_ARCHITECTURE: IPT, DEVICE: cpu, WEIGHTS: {tmp_path}/model.pth, "
        "IPT: {TASKS: [sr_x2, denoise_30, denoise_50]}}\n"
        f"OUTPUT_DIR: {tmp_path}/out\nDATASETS: {{TEST: []}}\n"
    )
    torch.save({"model": {"weight": torch.ones(1)}}, tmp_path / "model.pth")
    return tmp_path


def run(tool, files, *more):
    head = ["--config-file", files / "net.yaml", "--images", files / "clean"]
    tool.main([str(part) for part in (*head, *more)])


def test_levels_and_kinds(tool, files, capsys):
    run(tool, files, "--sigma", 10, 70, "--json", files / "noise.json")
    rows = json.loads((files / "noise.json").read_text())
    assert [(row["task"], row["sigma"], row["clamped"]) for row in rows] == [
        (task, sigma, clamped)
        for clamped in (True, False)
        for task in ("denoise_30", "denoise_50")
        for sigma in (10, 70)
    ]
    by_key = {(row["task"], row["sigma"], row["clamped"]): row for row in rows}
    weak = by_key["denoise_30", 10, False]
    # Of 18,432 samples the standard deviation is known to 0.5 %, or 0.05 dB; rounding adds 1/12.
    for method, sigma in (("model", 5), ("input", 10)):
        expected = 10 * np.log10(255**2 / (sigma**2 + 1 / 12))
        assert weak[f"{method} PSNR_RGB"] == pytest.approx(expected, abs=0.15)
    assert weak["bilateral PSNR_Y"] > weak["input PSNR_Y"] + 3
    # Noise depends neither on the task nor on the clamping, which only strong noise feels.
    for name in ("input PSNR_Y", "input PSNR_RGB", "input SSIM"):
        assert weak[name] == by_key["denoise_50", 10, False][name]
        assert weak[name] == by_key["denoise_50", 10, True][name]
    strong = [by_key["denoise_30", 70, clamped]["model PSNR_RGB"] for clamped in (True, False)]
    assert strong[0] > strong[1]
    assert (files / "out" / "noise" / "denoise_50_on_70_unclamped" / "images.csv").is_file()
    lines = capsys.readouterr().out.splitlines()
    # The evaluator logs tables of its own, of fewer columns.
    assert sum(line.startswith("| denoise_") and line.count("|") == 13 for line in lines) == 8


def test_chosen_task_and_mistakes(tool, files, capsys):
    run(tool, files, "--sigma", 20, "--task", "denoise_50", "--json", files / "noise.json")
    assert {row["task"] for row in json.loads((files / "noise.json").read_text())} == {"denoise_50"}
    for more, message in (
        (("--task", "denoise_20"), "has no task denoise_20"),
        (("--task", "sr_x2"), "a task denoise_<sigma>"),
        (("--opts", "MODEL.META_ARCHITECTURE", "DETR"), "DETR does not denoise"),
        (("--opts", "MODEL.IPT.TASKS", "['derain']"), "a task denoise_<sigma>"),
    ):
        with pytest.raises(SystemExit) as stop:
            run(tool, files, *more)
        assert stop.value.code == 1
        assert message in capsys.readouterr().err
    with pytest.raises(SystemExit) as stop:
        run(tool, files, "--sigma", 0)
    assert stop.value.code == 2
