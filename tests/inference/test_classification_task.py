"""A model that classifies: predictor, time line, pictures and results file."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from d2video.inference.predictor import Predictor
from d2video.inference.tasks import ClassificationTask
from d2video.utils.errors import UserError
from d2video.video.frame_source import FrameSource
from d2video.video.video_writer import VideoWriter
from d2video.visualization.options import DrawingOptions
from tests.helpers.stub_video_model import StubClassifier, StubRestorer, StubVideoModel

NAMES = ["dark", "bright", "red", "blue"]


def brightening(length: int) -> list[np.ndarray]:
    """Grey frames from black to white."""
    return [np.full((48, 64, 3), value, np.uint8) for value in np.linspace(0, 255, length)]


def make_predictor(model=None, **changes) -> Predictor:
    given = {"min_size": 0, "max_size": 0, "class_names": NAMES} | changes
    return Predictor(model=model or StubClassifier(), **given)


def drawer(topk: int):
    return ClassificationTask().drawer(NAMES, DrawingOptions(topk=topk))


def test_frames_have_scores():
    frames = list(make_predictor()(brightening(6)))
    assert [frame.index for frame in frames] == list(range(6))
    for frame in frames:
        assert frame.class_scores.shape == (4,)
    # Frame 1 repeats the answer of frame 0, the last one is fresh.
    bright = [frame.class_scores[1].item() for frame in frames]
    assert bright == pytest.approx([0, 0, 0.2, 0.2, 0.4, 0.5], abs=1e-6)


def test_a_frame_at_a_time():
    predictor = make_predictor()
    bright = [predictor.predict_frame(frame).class_scores[1].item() for frame in brightening(6)]
    assert bright == pytest.approx([0, 0, 0.2, 0.2, 0.4, 0.4], abs=1e-6)


def test_classify(tmp_path):
    answer = make_predictor().classify(brightening(6), topk=3)
    assert (answer.labels, answer.names) == ([0, 1, 2], ["dark", "bright", "red"])  # a tie: 0.5
    assert answer.scores == pytest.approx([0.5, 0.5, 0])
    np.testing.assert_allclose(answer.times, np.array([0, 2, 4, 5]) / 25)
    assert answer.time_line.shape == (4, 4)
    assert answer.time_line.dtype == np.float32
    np.testing.assert_allclose(answer.time_line[:, 1], [0, 0.2, 0.4, 0.5], atol=1e-6)

    # A file, whose last frames change nothing: the time line goes on to its end.
    with VideoWriter(tmp_path / "white.mp4", fps=10) as writer:
        for _ in range(7):
            writer.write(np.full((48, 64, 3), 255, np.uint8))
    answer = make_predictor().classify(tmp_path / "white.mp4")
    assert answer.names == ["bright", "dark", "red", "blue"]  # five were asked for
    np.testing.assert_allclose(answer.times[[0, -1]], [0, 0.6])
    answer = make_predictor(class_names=None).classify(brightening(1), topk=1)
    assert (answer.names, answer.times.tolist()) == (["class 0"], [0])


def test_what_cannot_be_classified():
    class Live(FrameSource):
        name, fps, size, estimated_length, is_live = "camera 0", 25.0, (4, 4), None, True

        def _read(self):
            raise AssertionError("not to be read")

    with pytest.raises(UserError, match="topk is 0"):
        make_predictor().classify(brightening(1), topk=0)
    with pytest.raises(UserError, match="camera 0 has no end"):
        make_predictor().classify(Live())
    with pytest.raises(UserError, match="StubVideoModel follows objects and does not classify"):
        make_predictor(StubVideoModel()).classify(brightening(1))
    with pytest.raises(UserError, match="StubRestorer restores images and does not classify"):
        make_predictor(StubRestorer()).classify(brightening(1))
    with pytest.raises(UserError, match="names only 1 classes"):
        make_predictor(class_names=["dark"]).classify(brightening(1))


def test_pictures_have_a_panel_with_curves_for_videos(tmp_path):
    draw = drawer(topk=2)
    pictures = [draw(frame) for frame in make_predictor()(brightening(6))]
    assert len({picture.shape for picture in pictures}) == 1
    assert pictures[0].shape[0] > 48
    np.testing.assert_array_equal(pictures[3][:48], brightening(6)[3])
    more = [drawer(topk=3)(frame) for frame in make_predictor()(brightening(1))]
    assert more[0].shape[0] > pictures[0].shape[0]
    # Images have no time line.
    (frame,) = make_predictor()(brightening(1))
    image = drawer(topk=2)(replace(frame, file_name="a.png"))
    assert 48 < image.shape[0] < pictures[0].shape[0]


def test_results_file(tmp_path):
    frames = list(make_predictor()(brightening(3)))
    task = ClassificationTask()
    with task.open_results("results", tmp_path / "v.json", {"video": "v"}, topk=2) as write:
        for frame in frames:
            write(frame)
    content = json.loads((tmp_path / "v.json").read_text())
    assert content["num_frames"] == 3
    assert content["classes"] == content["frames"][-1]["classes"]
    assert content["frames"][0]["instances"] == []
    assert [each["category_id"] for each in content["frames"][0]["classes"]] == [0, 1]
    assert content["frames"][0]["classes"][0]["score"] == 1
    with task.open_results("results", tmp_path / "i.json", {"images": "folder"}, topk=5) as write:
        write(replace(frames[0], file_name="a.png"))
    content = json.loads((tmp_path / "i.json").read_text())
    assert len(content["frames"][0]["classes"]) == 4
    assert "classes" not in content  # images have nothing in common


def test_scores_leave_the_device_and_autograd():
    class OnGraph(StubClassifier):
        def stream_video(self, frames, output_size):
            for answer in super().stream_video(frames, output_size):
                yield {"class_scores": answer["class_scores"] * self.weight}

    (frame,) = make_predictor(OnGraph())(brightening(1))
    assert not frame.class_scores.requires_grad
    assert frame.class_scores.device == torch.device("cpu")
