"""The demo from data to page, shrunk to seconds; a second run reuses the model."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.projects.VisTR.tiny import SMALL

ROOT = Path(__file__).resolve().parents[2]

SHRUNK = """
import sys
from dataclasses import replace
sys.path.insert(0, "tools")
import quick_start
for name, recipe in quick_start.RECIPES.items():
    quick_start.RECIPES[name] = replace(recipe, splits={"train": 4, "val": 2}, num_clips=1)
quick_start.main(sys.argv[1:])
"""


def quick_start(*arguments) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-c", SHRUNK, *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.mark.slow
def test_page_clips_and_reuse(tmp_path):
    options = [*SMALL, "SOLVER.MAX_ITER", 21, "DATALOADER.NUM_WORKERS", 0]
    options += ["TEST.EXPECTED_RESULTS", "[]"]
    first = quick_start("--output", tmp_path, *options)
    assert first.returncode == 0, first.stderr[-2000:]
    page = tmp_path / "index.html"
    assert first.stdout.strip().splitlines()[-1] == f"Open {page.as_uri()}"
    html = page.read_text()
    clips = list((tmp_path / "VisTR" / "clips").glob("*.mp4"))
    assert len(clips) == 1
    assert f"VisTR/clips/{clips[0].name}" in html
    for text in ("AP50", "square", "Training loss", "4 generated videos"):
        assert text in html

    weights = tmp_path / "VisTR" / "model_final.pth"
    written = weights.stat().st_mtime_ns
    second = quick_start("--output", tmp_path, *options)
    assert "reused" in second.stdout
    assert weights.stat().st_mtime_ns == written

    changed = quick_start("--output", tmp_path, *options, "SOLVER.MAX_ITER", 22)
    assert "reused" not in changed.stdout
    assert weights.stat().st_mtime_ns != written


@pytest.mark.slow
def test_images_and_two_trainings(tmp_path):
    options = ["SOLVER.MAX_ITER", 21, "SOLVER.IMS_PER_BATCH", 2, "MODEL.DETR.HIDDEN_DIM", 32]
    done = quick_start("--project", "DETR", "--output", tmp_path, *options)
    assert done.returncode == 0, done.stderr[-2000:]
    html = (tmp_path / "index.html").read_text()
    for name in ("DETR", "DETR-panoptic"):
        (picture,) = (tmp_path / name / "clips").glob("*.png")
        assert f"{name}/clips/{picture.name}" in html
    for text in ("AP50", "PQ_st", "square", "DETR-panoptic: Training loss", "4 generated images"):
        assert text in html


def test_unknown_project():
    done = quick_start("--project", "VisTr")
    assert done.returncode == 1
    assert done.stderr.strip() == "error: no demo for 'VisTr': choose one of VisTR, DETR"
