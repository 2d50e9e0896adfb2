"""A training in two processes with workers, on data of which one file is broken."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from d2video.data.shapes import write_restoration_images
from tests.projects.IPT.tiny import NODE


@pytest.mark.slow
@pytest.mark.parametrize("max_share", [1.0, 0.0])
def test_two_processes(tmp_path, max_share):
    write_restoration_images(tmp_path / "shapes_images", {"train": 4}, progress=False)
    broken = sorted((tmp_path / "shapes_images/train").iterdir())[1]
    broken.write_bytes(broken.read_bytes()[:50])
    options = {
        "DATASETS.TEST": "()",
        "OUTPUT_DIR": tmp_path / "out",
        "SEED": 1,
        "SOLVER.MAX_ITER": 25,
        "SOLVER.IMS_PER_BATCH": 2,
        "DATALOADER.NUM_WORKERS": 2,
        "DATALOADER.MAX_BAD_SHARE": max_share,
        **{f"{NODE}NUM_FEATURES": 4, f"{NODE}NUM_LAYERS": 1, f"{NODE}PATCH_SIZE": 12},
    }
    command = [sys.executable, "tools/train_net.py", "--num-gpus", "2", "--dist-url", "auto"]
    command += ["--config-file", "configs/IPT/ipt_tiny_images.yaml"]
    done = subprocess.run(
        [*command, *(str(word) for option in options.items() for word in option)],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "DETECTRON2_DATASETS": str(tmp_path), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    log = (tmp_path / "out/log.txt").read_text()
    assert log.count(f"bad sample: cannot read image {broken}") == 1
    if max_share == 0:
        assert done.returncode == 1
        assert "samples cannot be read, more than DATALOADER.MAX_BAD_SHARE 0 allows" in done.stderr
        return
    assert done.returncode == 0, done.stderr[-2000:]
    metrics = [
        json.loads(line) for line in (tmp_path / "out/metrics.json").read_text().splitlines()
    ]
    counted = [line["bad_samples"] for line in metrics if "bad_samples" in line]
    # Of 50 samples a quarter are bad, and a quarter of their replacements.
    assert 5 <= counted[-1] <= 40
    assert counted == sorted(counted)
