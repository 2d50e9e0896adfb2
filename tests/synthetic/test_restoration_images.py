"""Generated images to be restored."""

import importlib.util

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from d2video.synthetic import (
    RestorationSpec,
    render_detailed_image,
    video_rng,
    write_restoration_images,
)
from d2video.utils.errors import UserError
from d2video.video.image_io import read_rgb
from tests.helpers import ROOT

SMALL = RestorationSpec(height=(48, 64), width=(40, 56))


def test_written_as_drawn_and_kept(tmp_path):
    root = tmp_path / "images"
    assert write_restoration_images(root, {"train": 2, "val": 1}, SMALL, progress=False)
    files = sorted(str(path.relative_to(root)) for path in root.rglob("*.png"))
    assert files == ["train/00000.png", "train/00001.png", "val/00000.png"]
    drawn = render_detailed_image(SMALL, video_rng(0, "train", 1))
    assert np.array_equal(read_rgb(root / "train/00001.png"), drawn)
    assert not write_restoration_images(root, {"train": 2, "val": 1}, SMALL, progress=False)
    with pytest.raises(UserError, match="other arguments"):
        write_restoration_images(root, {"train": 3}, SMALL, progress=False)
    assert write_restoration_images(root, {"train": 1}, SMALL, overwrite=True, progress=False)


def test_sizes_vary_within_bounds():
    shapes = {render_detailed_image(SMALL, video_rng(0, "t", k)).shape for k in range(6)}
    assert len(shapes) > 1
    assert all(48 <= height <= 64 and 40 <= width <= 56 for height, width, _ in shapes)


def test_there_is_detail_to_win():
    """Bicubic enlargement loses much more than of the scenes without marks."""
    plain = RestorationSpec(height=(64, 64), width=(64, 64), patches=(0, 0), marks=(0, 0))
    rich = RestorationSpec(height=(64, 64), width=(64, 64))
    psnr = []
    for spec in (plain, rich):
        images = [render_detailed_image(spec, video_rng(0, "t", k)) for k in range(6)]
        image = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float()
        small = F.interpolate(image, scale_factor=0.5, mode="bicubic", antialias=True)
        error = (F.interpolate(small, scale_factor=2, mode="bicubic") - image).square()
        psnr.append(10 * torch.log10(255**2 / error.mean()))
    assert psnr[1] < min(psnr[0] - 3, 25)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"height": (128, 96)}, "height must be two numbers"),
        ({"period": (1, 5)}, "period"),
        ({"classes": ("blob",)}, "unknown shape classes"),
    ],
)
def test_bad_specification(arguments, message):
    with pytest.raises(UserError, match=message):
        RestorationSpec(**arguments)


def test_command_line(tmp_path, capsys):
    source = ROOT / "tools/make_shapes_dataset.py"
    spec = importlib.util.spec_from_file_location("tool", source)
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    root = str(tmp_path / "images")
    options = [root, "--format", "restoration", "--split", "a=2", "--seed", "3"]
    tool.main([*options, "--height", "40", "40", "--objects", "2", "--classes", "circle"])
    expected = RestorationSpec(height=(40, 40), classes=("circle",), objects=2)
    assert not write_restoration_images(root, {"a": 2}, expected, 3, progress=False)
    with pytest.raises(SystemExit):
        tool.main([*options, "--noise", "50"])
    assert "error: --noise: not for --format restoration" in capsys.readouterr().err
