"""A task that a project brings, known to no module of d2video, and one that the built model decides."""

import json
import logging
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from detectron2.modeling import META_ARCH_REGISTRY
from torch import nn

from d2video.inference import DrawingOptions, Images, Predictor, annotate
from d2video.inference.tasks import DetectionTask, Summary, Task, TrackingTask
from d2video.utils.errors import UserError
from d2video.video import Frame, VideoWriter, open_video, read_rgb
from tests.helpers.stub_video_model import StubVideoModel


@dataclass(frozen=True, eq=False, kw_only=True)
class CountedFrame(Frame):
    bright: int


class CountingTask(Task[CountedFrame]):
    """Count bright pixels."""

    takes_images = True

    def read(self, frame, answer):
        return CountedFrame(**vars(frame), bright=int(answer))

    def drawer(self, class_names, options):
        return lambda frame: np.full((8, 8, 3), frame.bright, np.uint8)

    def record(self, frame, topk):
        return {"bright": frame.bright}

    def summary(self, class_names, options):
        return BrightSummary()


class BrightSummary(Summary):
    def add(self, frame):
        self.last = frame

    def line(self, drawn, written):
        return logging.INFO, f"{self.last.bright} bright pixels at the end"


@META_ARCH_REGISTRY.register()
class StubCounter(nn.Module):
    task = CountingTask()

    def __init__(self, cfg=None) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))

    def stream_video(self, frames, output_size):
        for frame in frames:
            yield (frame.amin(0) > 200).sum()


@pytest.fixture
def clip(tmp_path):
    with VideoWriter(tmp_path / "in.mp4", fps=10) as writer:
        for count in (0, 20, 40):
            image = np.zeros((16, 16, 3), np.uint8)
            image.reshape(-1, 3)[:count] = 255
            writer.write(image)
    return tmp_path


def test_files(clip, caplog):
    predictor = Predictor(model=StubCounter(), min_size=0, max_size=0)
    frames = list(predictor(clip / "in.mp4"))
    files = {"results": clip / "out.json"}
    with caplog.at_level("INFO"):
        assert annotate(predictor, open_video(clip / "in.mp4"), clip / "out", results=files) == 3
    pictures = [frame.image.mean() for frame in open_video(clip / "out")]
    np.testing.assert_allclose(pictures, [frame.bright for frame in frames], atol=2)
    content = json.loads((clip / "out.json").read_text())
    assert [each["bright"] for each in content["frames"]] == [frame.bright for frame in frames]
    assert "bright pixels at the end" in caplog.text

    images = Images("folder", sorted((clip / "out").iterdir()))
    assert annotate(predictor, images, clip / "more") == 3
    assert [path.name for path in sorted((clip / "more").iterdir())] == [
        path.name for path in images.pictures
    ]
    with pytest.raises(UserError, match="cannot write 3 images to"):
        annotate(predictor, images, clip / "one.png")
    assert read_rgb(clip / "more" / "000000.jpg").shape == (8, 8, 3)


def test_outputs_that_the_task_does_not_offer(clip):
    predictor = Predictor(model=StubCounter(), min_size=0, max_size=0)
    source = open_video(clip / "in.mp4")
    with pytest.raises(UserError, match="StubCounter does not track, .*; leave out mot_results"):
        annotate(predictor, source, results={"mot_results": clip / "out.txt"})
    with pytest.raises(UserError, match="does not restore images; leave out side_by_side"):
        annotate(predictor, source, clip / "out", options=DrawingOptions(side_by_side=True))
    assert [path.name for path in clip.iterdir()] == ["in.mp4"]


def test_the_program_knows_it(clip, capsys):
    from d2video.cli import predict

    (clip / "stub.yaml").write_text(
        f"MODEL: {{META_ARCHITECTURE: StubCounter, DEVICE: cpu, WEIGHTS: {clip}/model.pth}}\n"
        "INPUT: {FORMAT: RGB, MIN_SIZE_TEST: 16}\nDATASETS: {TEST: []}\n"
    )
    torch.save({"model": {"weight": torch.ones(1)}}, clip / "model.pth")
    given = ["--config-file", f"{clip}/stub.yaml", "--input", f"{clip}/in.mp4"]
    predict.main([*given, "--results", f"{clip}/out.json"])
    assert json.loads((clip / "out.json").read_text())["num_frames"] == 3
    with pytest.raises(SystemExit):
        predict.main([*given, "--mot-results", f"{clip}/out.txt"])
    assert "StubCounter does not track" in capsys.readouterr().err


def test_the_built_model_may_decide():
    class Either(StubVideoModel):
        def __init__(self, tracks: bool):
            super().__init__(window=1)
            self.tracks = tracks

        @property
        def task(self):
            return TrackingTask() if self.tracks else DetectionTask()

        def stream_video(self, frames, output_size):
            for answer in super().stream_video(frames, output_size):
                yield answer if self.tracks else {"instances": answer}

    for tracks in (True, False):
        predictor = Predictor(model=Either(tracks), min_size=0, max_size=0)
        assert predictor.task.takes_images != tracks
        (frame,) = predictor([np.full((9, 9, 3), 255, np.uint8)])
        assert len(frame.instances) == 1


def test_a_model_without_a_task_is_a_fault_of_its_author():
    class Nothing:
        def stream_video(self, frames, output_size): ...

    with pytest.raises(AssertionError, match="must name its task"):
        Predictor(model=Nothing(), min_size=0, max_size=0)
