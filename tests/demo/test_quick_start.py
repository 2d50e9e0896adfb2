"""The demo from data to page, shrunk to seconds; a second run reuses the model."""

import base64
import json
import re
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from d2video.inference import DrawingOptions
from d2video.synthetic import ShapesSpec, write_mot_shapes
from d2video.utils.errors import UserError
from d2video.video.video_reader import open_video
from demo.quick_start import write_demo_page
from demo.recipe import Comparison, Recipe, Run, load_recipe, with_options
from tests.helpers.fresh_process import run_fresh
from tests.helpers.stub_video_model import StubTracker
from tests.projects.VisTR.tiny import SMALL

SHRUNK = """
import sys
from dataclasses import replace
sys.path.insert(0, ".")
from demo import quick_start
from demo.recipe import load_recipe
def shrunk(project):
    recipe = load_recipe(project)
    few = {"train": 16, "val": 8} if recipe.spread else {"train": 4, "val": 2}
    return replace(recipe, splits=few, num_clips=1)
quick_start.load_recipe = shrunk
quick_start.main(sys.argv[1:])
"""


CASES = ("shuffled", "one_frame")


def quick_start(*arguments) -> subprocess.CompletedProcess:
    return run_fresh("-c", SHRUNK, *arguments, imported=False)  # it sets DETECTRON2_DATASETS


def as_base64(path: Path) -> str:
    """A file as the page holds it."""
    return base64.b64encode(path.read_bytes()).decode()


@pytest.mark.slow
def test_page_clips_and_reuse(tmp_path):
    options = [*SMALL, "SOLVER.MAX_ITER", 21, "DATALOADER.NUM_WORKERS", 0]
    options += ["TEST.EXPECTED_RESULTS", "[]", "TEST.HELD_OUT.NUM_SAMPLES", 2]
    first = quick_start("--output", tmp_path, *options)
    assert first.returncode == 0, first.stderr[-2000:]
    page = tmp_path / "index.html"
    assert first.stdout.strip().splitlines()[-1] == f"Open {page.as_uri()}"
    html = page.read_text()
    clips = list((tmp_path / "VisTR" / "clips").glob("*.mp4"))
    assert len(clips) == 1
    assert as_base64(clips[0]) in html
    for text in (
        "AP50",
        "square",
        "Terms of the loss in training",
        "held out",
        "4 generated videos",
    ):
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
def test_images_and_three_tasks(tmp_path):
    options = ["SOLVER.MAX_ITER", 21, "SOLVER.IMS_PER_BATCH", 2, "MODEL.DETR.HIDDEN_DIM", 32]
    options += ["SEED", 3]  # one with which it finds things, and so has an AP by class
    done = quick_start("--project", "DETR", "--output", tmp_path, *options)
    assert done.returncode == 0, done.stderr[-2000:]
    html = (tmp_path / "index.html").read_text()
    (picture,) = (tmp_path / "DETR" / "clips").glob("*.png")
    assert as_base64(picture) in html
    for text in ("PQ_st", "DETR: bbox: results", "DETR: segm: AP by class", "4 generated images"):
        assert text in html
    assert "bbox AP50" in done.stdout


def small_recipe(tmp_path, **changes):
    """A tracking recipe with one training, whose figures are there."""
    run = Run(
        name="Tracker",
        config_file="configs/tracker.yaml",
        task="mot",
        metrics={"HOTA": "all in all", "IDSW": "identity switches"},
        counts=("IDSW",),
        seeds={"mot/HOTA": (61.04, 63.0, 58.96), "mot/IDSW": (7, 5, 9)},
        class_metric=None,
    )
    (tmp_path / "Tracker").mkdir()
    lines = [
        {"iteration": 9, "total_loss": 2.0},
        {"iteration": 19, "total_loss": 1.0, "mot/HOTA": 61.25, "mot/IDSW": 7.0},
    ]
    (tmp_path / "Tracker" / "metrics.json").write_text("\n".join(map(json.dumps, lines)))
    fields = {
        "runs": (run,),
        "write_data": write_mot_shapes,
        "folder": "shapes_mot",
        "splits": {"train": 3, "val": 2},
        "spec": ShapesSpec(height=32, width=48, num_frames=(6, 6)),
        "summary": "A summary.",
        "scale": 2,
    }
    return Recipe(**{**fields, **changes})


def test_page_with_a_comparison(tmp_path):
    compared = Comparison(
        caption="Beside another",
        task="mot",
        metrics=("HOTA", "MOTA", "IDSW"),
        rows={"Tracker": "Tracker/metrics.json", "linked by IoU": "linked/results.json"},
        counts=("IDSW",),
    )
    recipe = small_recipe(tmp_path, comparisons=(compared,))
    page = tmp_path / "index.html"
    with pytest.raises(UserError, match=r"linked/results\.json does not exist"):
        write_demo_page(recipe, "Tracker", tmp_path, page, [])
    (tmp_path / "linked").mkdir()
    results = {"mot": {"HOTA": 40.04, "MOTA": 33.3, "IDSW": 25}}
    (tmp_path / "linked" / "results.json").write_text(json.dumps(results))
    figures = write_demo_page(recipe, "Tracker", tmp_path, page, [])
    assert figures == {"mot HOTA": 61.25, "mot IDSW": 7}
    tables = re.findall("<table>.*?</table>", page.read_text(), re.DOTALL)
    cells = [re.findall(r">([^<>\n]+)</t[dh]>", table) for table in tables]
    assert cells == [
        [
            *("metric", "meaning", "value (% or number)", "with three seeds"),
            *("HOTA", "all in all", "61.2", "59.0 to 63.0"),
            *("IDSW", "identity switches", "7", "5 to 9"),
        ],
        [
            *("HOTA (%)", "MOTA (%)", "IDSW"),
            *("Tracker", "61.2", "–", "7", "linked by IoU", "40.0", "33.3", "25"),
        ],
    ]
    assert "3 generated videos" in page.read_text()
    assert 'docs/guides/learning.md">how it learns' in page.read_text()
    assert "The column &#34;with three seeds&#34; is from" in page.read_text()
    unmeasured = replace(recipe, runs=(replace(recipe.runs[0], seeds={}),))
    write_demo_page(unmeasured, "Tracker", tmp_path, page, [])
    assert "three seeds&#34;" not in page.read_text()


def test_tracking_data_and_their_videos(tmp_path):
    from d2video.inference.predictor import VideoPredictor
    from d2video.report.clips import draw_records

    recipe = small_recipe(tmp_path)
    recipe.write_data(tmp_path / recipe.folder, recipe.splits, recipe.spec)
    (sequence, _) = sorted((tmp_path / "shapes_mot" / "val").iterdir())
    files = [str(path) for path in sorted((sequence / "img1").iterdir())]
    assert len(files) == 6

    # A part of the sequence: what else lies in its folder is not shown.
    record = {"video_id": 4, "sequence": sequence.name, "file_names": files[2:5]}
    predictor = VideoPredictor(model=StubTracker(), min_size=0, max_size=0)
    folder, options = tmp_path / "clips", DrawingOptions()
    [(caption, path, _)] = draw_records(predictor, [record], folder, options, fps=recipe.fps)
    assert caption == f"video {sequence.name}"
    video = open_video(path)
    assert (video.size, video.fps) == ((32, 48), recipe.fps)
    assert len(list(video)) == 3


@pytest.mark.slow
def test_video_files_and_ablations(tmp_path):
    options = ["SOLVER.MAX_ITER", 21, "SOLVER.IMS_PER_BATCH", 2, "MODEL.VTN.HIDDEN_DIM", 64]
    done = quick_start("--project", "VTN", "--output", tmp_path, *options)
    assert done.returncode == 0, done.stderr[-2000:]
    html = (tmp_path / "index.html").read_text()
    (clip,) = (tmp_path / "VTN" / "clips").glob("*.mp4")
    for text in (
        as_base64(clip),
        as_base64(tmp_path / "VTN" / "inference" / "motion_val" / "confusion.png"),
        *(
            "mean_class_accuracy",
            "counterclockwise",
            "loss_cls",
            "16 generated videos",
        ),
        *("frames in order", "frames shuffled", "one frame"),
    ):
        assert text in html
    # The evaluations saw what they should, and left the training's own files alone.
    results = [json.loads((tmp_path / "VTN" / f"{n}.json").read_text()) for n in CASES]
    assert all(0 <= each["classification"]["top1"] <= 100 for each in results)
    predictions = [
        json.loads((folder / "inference" / "motion_val" / "predictions.json").read_text())
        for folder in (tmp_path / "VTN", *(tmp_path / "VTN" / n for n in CASES))
    ]
    scores = [[v["top5"][0]["score"] for v in each["videos"]] for each in predictions]
    assert scores[0] != scores[1] != scores[2] != scores[0]


def test_page_with_ablations_classes_and_pictures(tmp_path):
    run = Run(
        name="Classes",
        config_file="configs/classes.yaml",
        task="classification",
        metrics={"top1": "the best"},
        class_metric="top1",
        pictures={"confused": "inference/confusion.png"},
        evaluations={"one": with_options(), "mixed": with_options()},
    )
    files = {"in order": "metrics", "one frame": "one", "shuffled": "mixed"}
    rows = {title: f"Classes/{name}.json" for title, name in files.items()}
    comparison = Comparison("What order tells", "classification", ("top1",), rows)
    recipe = small_recipe(tmp_path, runs=(run,), comparisons=(comparison,))
    (tmp_path / "Classes" / "inference").mkdir(parents=True)
    (tmp_path / "Classes" / "inference" / "confusion.png").write_bytes(b"a picture")
    scores = {"top1": 90.0, "top1-left": 80.0, "top1-right": float("nan")}
    lines = [
        {"iteration": 9, "classification/top1-left": 1.0},
        {"iteration": 19, **{f"classification/{name}": v for name, v in scores.items()}},
        {"iteration": 20, "total_loss": 1.0},
    ]
    (tmp_path / "Classes" / "metrics.json").write_text("\n".join(map(json.dumps, lines)))
    for name, value in (("one", 12.5), ("mixed", 13.5)):
        results = {"classification": {"top1": value}}
        (tmp_path / "Classes" / f"{name}.json").write_text(json.dumps(results))
    page = tmp_path / "index.html"
    write_demo_page(recipe, "Classes", tmp_path, page, [])
    html = page.read_text()
    tables = re.findall("<table>.*?</table>", html, re.DOTALL)
    cells = [re.findall(r">([^<>\n]+)</t[dh]>", table) for table in tables]
    assert cells[1] == ["class", "top1 (%)", "left", "80.0", "right", "–"]
    assert cells[2] == [
        *("top1 (%)", "in order", "90.0"),
        *("one frame", "12.5", "shuffled", "13.5"),
    ]
    assert f"image/png;base64,{base64.b64encode(b'a picture').decode()}" in html


@pytest.mark.slow
def test_restored_images(tmp_path):
    options = ["SOLVER.MAX_ITER", 21, "SOLVER.IMS_PER_BATCH", 2, "MODEL.IPT.NUM_FEATURES", 4]
    options += ["MODEL.IPT.NUM_LAYERS", 1, "MODEL.IPT.NUM_HEADS", 2, "DATALOADER.NUM_WORKERS", 0]
    done = quick_start("--project", "IPT", "--output", tmp_path, *options)
    assert done.returncode == 0, done.stderr[-2000:]
    html = (tmp_path / "index.html").read_text()
    pictures = list((tmp_path / "IPT" / "clips").glob("*.png"))
    assert len(pictures) >= 2
    assert all(as_base64(picture) in html for picture in pictures)
    for text in (
        "PSNR-RGB (dB)",
        "bicubic",
        "degraded input",
        "best of several",
        "2 held-out images",
    ):
        assert text in html
    assert re.search(r"== done in \d+ s: .*sr_x2 PSNR-Y \d+\.\d, sr_x2 gain ", done.stdout)


def test_table_of_restoration(tmp_path):
    (run,) = load_recipe("IPT").runs
    run = replace(run, name="Net", seeds={"b/restoration/PSNR_Y-denoise_30": (30.5, 31.25, 31)})
    recipe = small_recipe(tmp_path, runs=(run,))
    file = tmp_path / "Net" / "metrics.json"
    file.parent.mkdir()
    file.write_text('{"iteration": 9, "total_loss": 1.0}')
    page = tmp_path / "index.html"
    with pytest.raises(UserError, match="holds no results"):
        write_demo_page(recipe, "Net", tmp_path, page, [])

    def measures(psnr, ssim):
        return {"PSNR_Y": psnr, "PSNR_RGB": psnr - 1, "SSIM": ssim}

    found = {
        ("a/", "", "sr_x2"): measures(30.0, 0.9),
        ("a/", "bicubic-", "sr_x2"): measures(28.5, 0.8),
    }
    for method, psnr in (("", 31.0), ("input-", 20.0), ("bilateral-", 31.25)):
        found["b/", method, "denoise_30"] = measures(psnr, 0.75)
    line = {"iteration": 9, "a/restoration/PSNR_Y": 30.0}
    for (folder, method, task), values in found.items():
        for name, value in values.items():
            line[f"{folder}restoration/{method}{name}-{task}"] = value
    old = {key: 0 * value for key, value in line.items()}
    file.write_text(json.dumps({**old, "iteration": 4}) + "\n" + json.dumps(line) + "\n")
    figures = write_demo_page(recipe, "Net", tmp_path, page, [])
    assert figures == {
        **{"sr_x2 PSNR-Y": 30.0, "sr_x2 gain": 1.5},
        **{"denoise_30 PSNR-Y": 31.0, "denoise_30 gain": -0.25},
    }
    (table,) = re.findall("<tbody>.*?</tbody>", page.read_text(), re.DOTALL)
    assert re.findall(r">([^<>\n]+)</td>", table) == [
        *("sr_x2", "bicubic", "28.50", "27.50", "80.00", "–", "–"),
        *("sr_x2", "IPT", "30.00", "29.00", "90.00", "1.50", "–"),
        *("denoise_30", "degraded input", "20.00", "19.00", "75.00", "–", "–"),
        *("denoise_30", "bilateral filter, best of several settings"),
        *("31.25", "30.25", "75.00", "–", "–"),
        *("denoise_30", "IPT", "31.00", "30.00", "75.00", "-0.25", "30.50 to 31.25"),
    ]


def test_pictures_of_restoration():
    import torch

    from d2video.visualization.samples import arrange
    from projects.IPT.demo import compare

    target = torch.full((3, 24, 30), 100.0)
    item = {"task": "sr_x2", "image": target[:, ::2, ::2], "target": target.byte()}
    panels, caption = compare(item, target + 10)
    # Of luma, 10 levels of all channels are 8.59.
    assert caption == "input, enlarged | bicubic inf dB | restored 29.45 dB | target"
    picture = arrange(panels, 2)
    assert picture.shape == (2 * (24 + 4 + 24), 2 * (30 + 4 + 30), 3)
    assert (picture[0, 0] == 100).all()
    assert (picture[-1, 0] == 110).all()
    item = {"task": "derain", "image": target - 5, "target": target.byte()}
    panels, caption = compare(item, target)
    assert caption == "input | restored inf dB | target"
    assert arrange(panels, 1).shape == (24, 98, 3)
    item["task"] = "denoise_50"
    assert "bilateral 35.47 dB" in compare(item, target)[1]


def test_unknown_project():
    done = quick_start("--project", "VisTr")
    assert done.returncode == 1
    assert (
        done.stderr.strip()
        == "error: no demo for 'VisTr': choose one of DETR, IPT, TrackFormer, VTN, VisTR"
    )
