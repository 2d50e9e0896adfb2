"""d2video check on labels: with a model, which takes them as it would in training and in testing."""

import json
import zipfile

import pytest

from d2video.cli import check
from d2video.cli.dataset_check import check_registered
from d2video.formats.faults import Fault
from tests.engine.label_models import MODELS, config
from tests.helpers.coco_sets import instance_content, write_images
from tests.helpers.true_labels import true_videos, write_video
from tests.helpers.true_sets import register_true

pytestmark = pytest.mark.usefixtures("scratch_catalog")


def faults(name, cfg=None):
    found = check_registered(name, train_cfg=cfg, test_cfg=cfg).findings
    return [str(each) for each in found if isinstance(each, Fault)]


@pytest.mark.parametrize("model", [None, *MODELS])
def test_a_missing_frame(model, tmp_path, monkeypatch):
    register_true(monkeypatch, "true", tmp_path / "frames")
    cfg = None if model is None else config(model, tmp_path)
    assert faults("true", cfg) == []
    (tmp_path / "frames/clip_a/00003.png").unlink()
    (fault,) = faults("true", cfg)
    assert "clip_a/00003.png does not exist" in fault


@pytest.mark.parametrize(
    ("model", "options", "part"),
    [
        ("VisTR", {"masks": False}, "19 of 19 objects in frames have a box and no mask"),
        ("linked DETR", {"but_one": True}, "1 of 19 objects in frames have a box and no mask"),
        ("VisTR", {"tracked": False}, "images without tracks"),
    ],
)
def test_what_a_model_refuses_is_said_once(model, options, part, tmp_path, monkeypatch):
    register_true(monkeypatch, "true", tmp_path / "frames", **options)
    assert faults("true") == []
    found = faults("true", config(model, tmp_path))
    assert sum(part in each for each in found) == len(found) > 0


def test_frames_of_a_video_file(tmp_path, monkeypatch):
    register_true(monkeypatch, "true", tmp_path / "frames", as_video=True)
    for video in true_videos():
        write_video(video, tmp_path / "frames" / f"{video.name}.mp4")
    assert faults("true", config("DETR", tmp_path)) == []
    path = tmp_path / "frames" / "clip_b.mp4"
    path.write_bytes(path.read_bytes()[:200])
    found = faults("true")
    assert found
    assert all("clip_b.mp4" in each for each in found)


def test_what_is_found_is_not_logged_as_well(tmp_path, monkeypatch, capsys, caplog):
    register_true(monkeypatch, "true", tmp_path / "frames")
    check.main(["--data", "true", "--num-workers", "0"])
    assert capsys.readouterr().out.count("crowds or regions to ignore") == 1
    assert "crowds or regions to ignore" not in caplog.text


def test_an_archive(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("FVCORE_CACHE", str(tmp_path / "cache"))
    write_images(tmp_path)
    with zipfile.ZipFile(tmp_path / "export.zip", "w") as archive:
        archive.writestr("annotations/instances_train.json", json.dumps(instance_content()))
        for path in tmp_path.glob("*.jpg"):
            archive.write(path, f"images/train/{path.name}")
    check.main([str(tmp_path / "export.zip"), "--num-workers", "0"])
    assert "no faults" in capsys.readouterr().out
