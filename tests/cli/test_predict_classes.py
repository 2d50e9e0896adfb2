"""tools/demo.py with a model that classifies videos."""

import json

import cv2
import numpy as np
import pytest
import torch
from detectron2.data import MetadataCatalog
from detectron2.modeling import META_ARCH_REGISTRY
from PIL import Image

from d2video.inference import open_source
from d2video.projects import register_all
from d2video.video.frame_source import FrameSource
from d2video.video.image_io import read_rgb
from d2video.video.video_reader import open_video
from d2video.video.video_writer import VideoWriter

NAMES = ["dark", "bright", "red", "blue"]


@pytest.fixture
def clip(tmp_path):
    """A folder with a bright video, its frames, and all that the tool needs to run on it."""
    (tmp_path / "frames").mkdir()
    with VideoWriter(tmp_path / "in.mp4", fps=10) as writer:
        for t in range(5):
            image = np.full((48, 64, 3), 220, np.uint8)
            writer.write(image)
            Image.fromarray(image).save(tmp_path / "frames" / f"{t}.png")
    MetadataCatalog.get("demo_classes_test").thing_classes = NAMES
    (tmp_path / "stub.yaml").write_text(
        f"MODEL: {{META_ARCHITECTURE: StubClassifier, DEVICE: cpu, WEIGHTS: {tmp_path}/model.pth}}\n"
        "INPUT: {FORMAT: RGB, MIN_SIZE_TEST: 24}\nDATASETS: {TEST: [demo_classes_test]}\n"
    )
    torch.save({"model": {"weight": torch.ones(1)}}, tmp_path / "model.pth")
    yield tmp_path
    MetadataCatalog.remove("demo_classes_test")


def arguments(clip, source, *more) -> list[str]:
    head = ["--config-file", clip / "stub.yaml", "--input", source]
    return [str(part) for part in (*head, *more)]


@pytest.mark.parametrize("source", ["in.mp4", "frames"])
def test_video_and_folder(demo, clip, source):
    out, results = clip / "out.mp4", clip / "out.json"
    more = ("--output", out, "--results", results, "--topk", "2")
    demo.main(arguments(clip, clip / source, *more))
    frames = [frame.image for frame in open_video(out)]
    assert len(frames) == 5
    assert frames[0].shape[0] > 48  # the panel
    assert frames[0].shape[1] == 64
    content = json.loads(results.read_text())
    assert content["categories"] == NAMES
    assert [each["category_id"] for each in content["classes"]] == [1, 0]
    assert all(len(frame["classes"]) == 2 for frame in content["frames"])


def test_image(demo, clip):
    demo.main(arguments(clip, clip / "frames" / "0.png", "--output", clip / "out.png"))
    assert read_rgb(clip / "out.png").shape[0] > 48


def test_no_tracks_and_no_class(demo, clip, capsys):
    before = set(clip.iterdir())
    for option in ("--mot-results", "--mots-results"):
        with pytest.raises(SystemExit):
            demo.main(arguments(clip, clip / "in.mp4", option, clip / "out.txt"))
        assert "error: StubClassifier does not track" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        demo.main(arguments(clip, clip / "in.mp4", "--classes", "dark", "--output", clip / "o.mp4"))
    assert "StubClassifier finds no objects whose classes" in capsys.readouterr().err
    with pytest.raises(SystemExit) as stop:
        demo.main(arguments(clip, clip / "in.mp4", "--output", clip / "o.mp4", "--topk", "0"))
    assert stop.value.code == 2
    assert set(clip.iterdir()) == before


class Camera:
    """A device that breaks after six frames."""

    def __init__(self, number: int) -> None:
        self.left = 6

    def isOpened(self) -> bool:
        return True

    def get(self, key: int) -> float:
        return 20.0

    def read(self):
        self.left -= 1
        return self.left >= 0, np.full((48, 64, 3), 220, np.uint8)

    def release(self) -> None: ...


def test_camera(demo, clip, monkeypatch):
    monkeypatch.setattr(cv2, "VideoCapture", Camera)
    more = ("--results", clip / "out.json", "--stop-at-damage")
    demo.main(arguments(clip, "camera:0", *more))
    content = json.loads((clip / "out.json").read_text())
    assert 1 <= content["num_frames"] <= 6
    assert content["classes"][0]["category_id"] == 1


def test_a_folder_is_a_video_to_vtn(clip):
    """The frames of a folder are classified together, not one by one."""
    register_all()
    task = META_ARCH_REGISTRY.get("VTN").task
    source = open_source(str(clip / "frames"), takes_images=task.takes_images)
    assert isinstance(source, FrameSource)
