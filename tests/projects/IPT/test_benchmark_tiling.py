"""projects/IPT/tools/benchmark_tiling.py on a very small IPT."""

import json

import numpy as np
import pytest
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog
from PIL import Image

from d2video.data import register_image_folder
from tests.projects.IPT.tiny import SMALL, build

pytestmark = pytest.mark.usefixtures("loggers_as_before")


@pytest.fixture
def tool():
    from projects.IPT.tools import benchmark_tiling

    return benchmark_tiling


@pytest.fixture
def options(tmp_path):
    (tmp_path / "clean").mkdir()
    rng = np.random.default_rng(0)
    for k in range(2):
        pixels = rng.integers(0, 256, (48, 66, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"clean/{k}.png")
    register_image_folder("tiled", str(tmp_path / "clean"), task="sr_x2")
    torch.save({"model": build().state_dict()}, tmp_path / "model.pth")
    (tmp_path / "empty.yaml").write_text("VERSION: 2\n")
    yield [
        *("--opts", *map(str, SMALL), "INPUT.DATASET_MAPPER", "RestorationMapper"),
        *("DATASETS.TEST", "('tiled',)", "DATALOADER.NUM_WORKERS", "0"),
        *("MODEL.WEIGHTS", str(tmp_path / "model.pth")),
    ]
    DatasetCatalog.remove("tiled")
    MetadataCatalog.remove("tiled")


def test_rows_of_both_tilings(tool, options, tmp_path, capsys):
    head = ["--config-file", str(tmp_path / "empty.yaml"), "--json", str(tmp_path / "tiling.json")]
    tool.main([*head, *options])
    official, fast = json.loads((tmp_path / "tiling.json").read_text())["results"]
    assert [official["tiling"], fast["tiling"]] == ["official", "fast"]
    assert official["images"] == 2
    # Of 24x33 pixels, in patches of 12: every 3 pixels, 5 by 8; or every 9 at most, 3 by 4.
    assert (official["patches"], fast["patches"]) == (40, 12)
    assert 0 < fast["PSNR-Y"] != official["PSNR-Y"] > 0
    assert min(official["seconds"], fast["seconds"]) > 0
    assert "| official" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["MODEL.WEIGHTS", ""], "needs a trained model"),
        (["DATASETS.TEST", "()"], "DATASETS.TEST is empty"),
        (["MODEL.META_ARCHITECTURE", "VisTR"], "VisTR has no tiling"),
    ],
)
def test_mistakes(tool, options, tmp_path, capsys, more, message):
    with pytest.raises(SystemExit):
        tool.main(["--config-file", str(tmp_path / "empty.yaml"), *options, *more])
    assert message in capsys.readouterr().err
