"""PSNR, SSIM and the baselines of image restoration."""

import csv
import json
import logging
import math
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from detectron2.data import MetadataCatalog
from detectron2.evaluation import print_csv_format

from d2video.evaluation import RestorationEvaluator, build_evaluator
from d2video.evaluation.restoration.baselines import BILATERAL_SETTINGS, bicubic, bilateral
from d2video.evaluation.restoration.metrics import measure, quantize
from d2video.utils.errors import UserError
from d2video.video.image_io import read_rgb
from tests.helpers import GOLDEN

CASES = json.loads((GOLDEN / "ipt_psnr.json").read_text())["cases"]


@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case["i"]))
def test_official_psnr(case):
    arrays = np.load(GOLDEN / "ipt_psnr.npz")
    values = 255 / case.get("rgb_range", 255)
    restored, target, quantized = (
        torch.from_numpy(arrays[f"{case['i']}.{name}"]).float()[0] * values
        for name in ("sr", "hr", "sr_quantized")
    )
    # Whole numbers of 255ths, in float32.
    torch.testing.assert_close(quantize(restored), quantized, rtol=0, atol=1e-4)
    found = measure(restored, target, case["scale"] if case["scale"] > 1 else 0)
    assert found.psnr_y == pytest.approx(case["psnr_y"], abs=1e-4)
    assert found.psnr_rgb == pytest.approx(case["psnr_rgb"], abs=1e-4)


def slow_ssim(x, y):
    """By the definition: windows of 11, Gaussian of sigma 1.5, wholly inside the image."""
    ramp = torch.arange(11.0, dtype=torch.float64) - 5
    line = torch.exp(-(ramp**2) / 4.5)
    window = torch.outer(line, line)[None, None] / line.sum() ** 2

    def mean(image):
        return F.conv2d(image[None, None], window)[0, 0]

    mx, my = mean(x), mean(y)
    vx, vy, cov = mean(x * x) - mx**2, mean(y * y) - my**2, mean(x * y) - mx * my
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    ratio = (2 * mx * my + c1) * (2 * cov + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2))
    return ratio.mean().item()


def noisy(target, sigma, seed=0):
    noise = torch.randn(target.shape, generator=torch.Generator().manual_seed(seed))
    return (target + sigma * noise).clamp(0, 255)


def picture(height, width, seed=0):
    """Something smooth, in whole numbers."""
    coarse = torch.rand(1, 3, 4, 5, generator=torch.Generator().manual_seed(seed))
    return (255 * F.interpolate(coarse, (height, width), mode="bicubic")[0]).clamp(0, 255).round()


@pytest.mark.parametrize("border", [0, 3])
def test_ssim_by_its_definition(border):
    target = picture(33, 40)
    restored = noisy(target, 20)
    weights = torch.tensor([65.738, 129.057, 25.064], dtype=torch.float64) / 256
    luma = [
        torch.einsum("chw,c->hw", each.double(), weights) + 16
        for each in (quantize(restored), target)
    ]
    if border:
        luma = [each[border:-border, border:-border] for each in luma]
    expected = slow_ssim(*luma)
    assert expected < 0.9
    # The same sums in float64, in another order.
    assert measure(restored, target, border).ssim == pytest.approx(expected, abs=1e-9)


def test_equal_and_tiny_images():
    target = picture(10, 30)
    found = measure(target + 0.3, target)
    assert found[:2] == (math.inf, math.inf)
    assert math.isnan(found.ssim)
    assert measure(picture(11, 30), picture(11, 30)).ssim == pytest.approx(1)


def item(name, task, image, target):
    return {"file_name": f"/some/{name}.png", "task": task, "image": image, "target": target}


def make(folder, **options):
    return RestorationEvaluator(str(folder), source="dataset mine", **options)


@pytest.fixture
def images():
    """Two denoised images and an enlarged one: records, and answers with half of the noise."""
    targets = [picture(30, 40), picture(24, 24, seed=1), picture(36, 42, seed=2)]
    small = F.interpolate(targets[2][None], (12, 14), mode="bicubic", antialias=True)[0]
    inputs = [
        item("b", "denoise_30", noisy(targets[0], 30), targets[0].byte()),
        item("a", "denoise_30", noisy(targets[1], 30, 1), targets[1].byte()),
        item("a", "sr_x3", small, targets[2].byte()),
    ]
    outputs = [{"restored": noisy(target, 15, 7)} for target in targets]
    return inputs, outputs


def test_means_baselines_and_files(images, tmp_path):
    inputs, outputs = images
    evaluator = make(tmp_path, save_images=True)
    evaluator.process(inputs[:1], outputs[:1])
    evaluator.process(inputs[1:], outputs[1:])
    results = evaluator.evaluate()["restoration"]
    each = [
        measure(out["restored"], given["target"], border)
        for given, out, border in zip(inputs, outputs, (0, 0, 3), strict=True)
    ]
    for i, name in enumerate(("PSNR_Y", "PSNR_RGB", "SSIM")):
        values = [measures[i] for measures in each]
        assert results[name] == pytest.approx(np.mean(values))
        assert results[f"{name}-denoise_30"] == pytest.approx(np.mean(values[:2]))
        assert results[f"{name}-sr_x3"] == pytest.approx(values[2])
    plain = [measure(given["image"], given["target"]).psnr_y for given in inputs[:2]]
    assert results["input-PSNR_Y-denoise_30"] == pytest.approx(np.mean(plain))
    large = measure(bicubic(inputs[2]["image"], (36, 42)), inputs[2]["target"], 3)
    assert results["bicubic-SSIM-sr_x3"] == pytest.approx(large.ssim)
    # One filter for the whole task: the best on the mean.
    filtered = [
        [measure(bilateral(given["image"], *s), given["target"]).psnr_y for given in inputs[:2]]
        for s in BILATERAL_SETTINGS
    ]
    best = max(np.mean(filtered, 1))
    assert results["bilateral-PSNR_Y-denoise_30"] == pytest.approx(best)
    assert best > np.mean(plain) + 3
    assert not {"bilateral-PSNR_Y-sr_x3", "input-PSNR_Y-sr_x3"} & results.keys()

    with open(tmp_path / "images.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["task"], Path(row["file_name"]).stem) for row in rows] == [
        *(("denoise_30", "a"), ("denoise_30", "b"), ("sr_x3", "a"))
    ]
    assert float(rows[1]["PSNR_Y"]) == each[0].psnr_y
    assert float(rows[2]["bicubic SSIM"]) == large.ssim
    assert rows[2]["bilateral PSNR_Y"] == ""
    written = read_rgb(tmp_path / "restored" / "denoise_30" / "b.png")
    assert (written == quantize(outputs[0]["restored"]).permute(1, 2, 0).numpy()).all()


def test_the_line_for_copying_holds_the_means(images, tmp_path, caplog):
    evaluator = make(tmp_path)
    evaluator.process(*images)
    with caplog.at_level(logging.INFO):
        print_csv_format(evaluator.evaluate())
    assert "copypaste: PSNR_Y,PSNR_RGB,SSIM" in caplog.messages


def test_measures_have_the_name_of_the_data_sets_task(images, tmp_path):
    inputs, outputs = images
    given = {**inputs[0], "task": "own", "measured_as": "denoise_70"}
    evaluator = make(tmp_path, save_images=True)
    evaluator.process([given], outputs[:1])
    results = evaluator.evaluate()["restoration"]
    assert {"SSIM-denoise_70", "input-SSIM-denoise_70", "bilateral-SSIM-denoise_70"} <= {*results}
    assert not [name for name in results if "own" in name]
    assert (tmp_path / "images.csv").read_text().splitlines()[1].startswith("denoise_70,")
    assert (tmp_path / "restored/denoise_70/b.png").is_file()


def test_images_of_the_same_name_have_files_of_their_own(images, tmp_path):
    inputs, outputs = images
    names = ["photos/x/a.png", "photos/y/a.png", "photos/y/a.jpg", "elsewhere/a.png"]
    evaluator = make(tmp_path, baselines=False, save_images=True, image_root="photos")
    for name in names:
        evaluator.process([{**inputs[0], "file_name": name}], outputs[:1])
    folder = tmp_path / "restored" / inputs[0]["task"]
    found = {str(path.relative_to(folder)) for path in folder.rglob("*.png")}
    assert found == {"x/a.png", "y/a.png", "y/a.jpg.png", "a.png"}


def test_without_baselines_or_images(images, tmp_path):
    evaluator = make(tmp_path, baselines=False)
    assert evaluator.evaluate() == {}
    evaluator.process(*images)
    results = evaluator.evaluate()["restoration"]
    assert not [name for name in results if name.startswith(("bicubic", "input", "bilateral"))]
    assert not (tmp_path / "restored").exists()
    evaluator.reset()
    assert evaluator.evaluate() == {}


def test_mistakes(images, tmp_path):
    inputs, outputs = images
    evaluator = make(tmp_path)
    with pytest.raises(UserError, match="does not answer with restored images"):
        evaluator.process(inputs[:1], [{"scores": 1}])
    with pytest.raises(UserError, match=r"b\.png \(denoise_30\).* has 20x15 pixels, .* 40x30"):
        evaluator.process(inputs[:1], [{"restored": outputs[0]["restored"][:, ::2, ::2]}])
    with pytest.raises(UserError, match="not finite"):
        evaluator.process(inputs[:1], [{"restored": outputs[0]["restored"] * math.nan}])
    target = torch.zeros(3, 20, 4)
    tiny = item("t", "sr_x2", target[:, ::2, ::2], target)
    with pytest.raises(UserError, match=r"t\.png \(sr_x2\): .* 4x20 pixels is too small"):
        evaluator.process([tiny], [{"restored": target}])
    evaluator.process(inputs[:1], outputs[:1])
    with pytest.raises(UserError, match="answered twice"):
        evaluator.process(inputs[:1], outputs[:1])


def test_by_name_and_metadata(tmp_path):
    metadata = MetadataCatalog.get("restoration_evaluator_test")
    metadata.set(evaluator_type="restoration", restoration_evaluator={"baselines": False})
    evaluator = build_evaluator("restoration_evaluator_test", str(tmp_path))
    assert isinstance(evaluator, RestorationEvaluator)
    assert not evaluator._with_baselines
    MetadataCatalog.remove("restoration_evaluator_test")
