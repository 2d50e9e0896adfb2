"""tools/demo.py from its command line, with a stub in place of a trained model."""

import json
import shutil
import signal
import sys
import threading
import time

import av
import cv2
import numpy as np
import pycocotools.mask as mask_tools
import pytest
import torch
from PIL import Image

from d2video.video.video_reader import open_video
from d2video.video.video_writer import VideoWriter
from tests.helpers.stub_video_model import StubTracker


@pytest.fixture
def clip(tmp_path):
    """A folder with a video and all that the tool needs to run on it."""
    with VideoWriter(tmp_path / "in.mp4", fps=10) as writer:
        for t in range(9):
            image = np.full((48, 64, 3), 60, np.uint8)
            image[20:32, 3 * t : 3 * t + 12] = 255
            writer.write(image)
    (tmp_path / "stub.yaml").write_text(
        "MODEL:\n  META_ARCHITECTURE: StubFromConfig\n  DEVICE: cpu\n"
        f"  WEIGHTS: {tmp_path}/model.pth\n"
        "INPUT:\n  FORMAT: RGB\n  MIN_SIZE_TEST: 24\n  CLIP:\n    NUM_FRAMES: 4\n"
        "DATASETS:\n  TEST: []\n"
    )
    torch.save({"model": {"weight": torch.ones(1)}}, tmp_path / "model.pth")
    return tmp_path


@pytest.fixture
def tracker(clip):
    """The same with a model that gives boxes alone, in place of masks."""
    text = (clip / "stub.yaml").read_text().replace("StubFromConfig", "StubTracker")
    (clip / "stub.yaml").write_text(text)
    return clip


def arguments(clip, *more: str) -> list[str]:
    return ["--config-file", f"{clip}/stub.yaml", "--input", f"{clip}/in.mp4", *more]


def test_video_and_results(demo, clip):
    demo.main(arguments(clip, "--output", f"{clip}/out.mp4", "--results", f"{clip}/out.json"))
    before, after = list(open_video(clip / "in.mp4")), list(open_video(clip / "out.mp4"))
    assert len(after) == 9
    assert open_video(clip / "out.mp4").fps == 10
    difference = np.abs(after[4].image.astype(int) - before[4].image).sum(-1)
    assert difference[26, 18] > 60  # the square of frame 4 is tinted
    assert difference[45, 60] < 20  # a far corner is not
    results = json.loads((clip / "out.json").read_text())
    assert results["num_frames"] == 9
    assert {i["track_id"] for f in results["frames"] for i in f["instances"]} == {5}


def test_frames_keep_their_times(demo, clip):
    times = [0, 0.5, 0.6, 0.62, 1.4]
    with VideoWriter(clip / "in.mp4", fps=10) as writer:
        for time in times:
            writer.write(np.full((48, 64, 3), 60, np.uint8), time, 0.3)
    args = arguments(clip, "--output", f"{clip}/out.mp4", "--results", f"{clip}/out.json")
    demo.main(args)
    assert [frame.time for frame in open_video(clip / "out.mp4")] == pytest.approx(times, abs=1e-4)
    assert length(clip / "out.mp4") == pytest.approx(1.7)
    frames = json.loads((clip / "out.json").read_text())["frames"]
    assert [frame["time"] for frame in frames] == pytest.approx(times, abs=1e-4)
    demo.main([*args, "--fps", "4"])
    assert [frame.time for frame in open_video(clip / "out.mp4")] == [0, 0.25, 0.5, 0.75, 1]
    assert length(clip / "out.mp4") == 1.25


def test_says_what_was_drawn_and_written(demo, clip, capsys):
    files = ["--output", f"{clip}/out.mp4", "--results", f"{clip}/out.json"]
    demo.main(arguments(clip, *files))
    said = capsys.readouterr().out
    assert "in.mp4: 9 instances of 1 track drawn; 9 instances of 1 track in the results" in said
    demo.main(arguments(clip, *files, "--score-threshold", "0.95"))
    expected = (
        "no instance reaches the score threshold 0.95; the highest score was 0.9: lower "
        "--score-threshold; 9 instances of 1 track in the results"
    )
    assert expected in capsys.readouterr().out


def length(path) -> float:
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        return float(stream.duration * stream.time_base)


def test_folder_in_and_out_and_options(demo, clip):
    (clip / "frames").mkdir()
    for frame in open_video(clip / "in.mp4"):
        Image.fromarray(frame.image).save(clip / "frames" / f"{frame.index}.png")
    args = arguments(clip, "--output", f"{clip}/out", "--score-threshold", "0.95")
    args[3] = f"{clip}/frames"
    demo.main([*args, "--opts", "INPUT.CLIP.NUM_FRAMES", "2"])
    drawn = list(open_video(clip / "out"))
    assert len(drawn) == 9
    # The stub's score is 0.9: nothing is drawn.
    original = next(iter(open_video(clip / "in.mp4"))).image.astype(int)
    assert np.abs(drawn[0].image - original).mean() < 4


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a, clip: a.__setitem__(3, f"{clip}/none.mp4"), "none.mp4 does not exist"),
        (
            lambda a, clip: a.__setitem__(3, "rtsp://a:b@cam.invalid//1"),
            "open rtsp://cam.invalid//1",
        ),
        (
            lambda a, clip: a.__setitem__(5, "s3://a/b.mp4"),
            "cannot write s3://a/b.mp4: it is an address",
        ),
        (
            lambda a, clip: a.extend(["--opts", "MODEL.WEIGHTS", "gs://a/m.pth"]),
            "gs://a/m.pth: addresses of this kind cannot be fetched",
        ),
        (lambda a, clip: a.__setitem__(1, f"{clip}/none.yaml"), "none.yaml"),
        (lambda a, clip: a.__setitem__(5, f"{clip}/out.avi"), "must end in .mp4"),
        (lambda a, clip: a.extend(["--opts", "MODEL.NO_SUCH", "1"]), "MODEL.NO_SUCH"),
    ],
)
def test_faults_are_one_line_and_leave_nothing(demo, clip, capsys, change, message):
    args = arguments(clip, "--output", f"{clip}/out.mp4")
    change(args, clip)
    before = set(clip.iterdir())
    with pytest.raises(SystemExit) as stop:
        demo.main(args)
    assert stop.value.code == 1
    error = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(error) == 1
    assert message in error[0]
    assert set(clip.iterdir()) == before


def test_damaged_video(demo, clip, capsys):
    data = (clip / "in.mp4").read_bytes()
    (clip / "in.mp4").write_bytes(data[: len(data) - 30])
    args = arguments(clip, "--output", f"{clip}/out.mp4", "--results", f"{clip}/out.json")
    with pytest.raises(SystemExit):
        demo.main(args)
    assert "in.mp4 is damaged after frame" in capsys.readouterr().err
    assert not list(clip.glob("*out*"))

    demo.main([*args, "--stop-at-damage"])
    kept = json.loads((clip / "out.json").read_text())["num_frames"]
    assert 0 < kept < 9
    assert sum(1 for _ in open_video(clip / "out.mp4")) == kept


def rows(path) -> np.ndarray:
    return np.loadtxt(path, delimiter=",", ndmin=2)


def test_tracks_of_boxes(demo, tracker):
    files = ["--results", f"{tracker}/out.json", "--mot-results", f"{tracker}/sub/out.txt"]
    demo.main(arguments(tracker, "--output", f"{tracker}/out.mp4", *files))
    mot = rows(tracker / "sub" / "out.txt")
    assert mot[:, 0].tolist() == list(range(1, 10))
    assert set(mot[:, 1]) == {1}  # ids start at 1 there
    # The square moves 3 pixels a frame, and its corner counts from 1.
    np.testing.assert_allclose(mot[:, 2], 3 * np.arange(9) + 1, atol=1.5)
    np.testing.assert_allclose(mot[:, 4], 12, atol=2)
    results = json.loads((tracker / "out.json").read_text())
    for row, frame in zip(mot, results["frames"], strict=True):
        (instance,) = frame["instances"]
        assert set(instance) == {"track_id", "category_id", "score", "bbox"}
        assert instance["track_id"] == 0
        np.testing.assert_allclose(instance["bbox"], row[2:6] - [1, 1, 0, 0], atol=1e-2)


def test_trails_and_scale(demo, tracker):
    def last_picture(*more: str) -> np.ndarray:
        demo.main(arguments(tracker, "--output", f"{tracker}/pictures", *more))
        *_, last = open_video(tracker / "pictures")
        shutil.rmtree(tracker / "pictures")
        return last.image

    plain, default, short = (
        last_picture(*more) for more in (("--trails", "0"), (), ("--trails", "3"))
    )
    # From x = 6 to x = 30 below the square, of which the last 3 frames reach back to x = 24.
    differs = [
        np.abs(picture.astype(int) - plain).sum(-1)[28:36] > 60 for picture in (default, short)
    ]
    assert differs[0][:, 8:23].any(0).all()
    assert differs[1][:, 25:].any()
    assert not differs[1][:, :20].any()
    assert last_picture("--scale", "3").shape == (144, 192, 3)
    for wrong in (("--trails", "-1"), ("--scale", "0")):
        with pytest.raises(SystemExit):
            last_picture(*wrong)


def test_tracks_of_masks(demo, clip):
    demo.main(
        arguments(clip, "--mots-results", f"{clip}/masks.txt", "--mot-results", f"{clip}/boxes.txt")
    )
    lines = [line.split() for line in (clip / "masks.txt").read_text().splitlines()]
    assert [line[:5] for line in lines] == [[f"{t + 1}", "6", "2", "48", "64"] for t in range(9)]
    area = [mask_tools.area({"size": [48, 64], "counts": line[5]}) for line in lines]
    np.testing.assert_allclose(area, 144, rtol=0.3)
    assert len(rows(clip / "boxes.txt")) == 9


def test_masks_of_a_model_without_masks(demo, tracker, capsys):
    files = ["--mots-results", f"{tracker}/out.txt", "--results", f"{tracker}/out.json"]
    with pytest.raises(SystemExit):
        demo.main(arguments(tracker, *files))
    assert "error: the model predicts no masks, which MOTS needs" in capsys.readouterr().err
    assert not list(tracker.glob("*out*"))


def test_folder_with_a_damaged_frame(demo, tracker, capsys):
    (tracker / "frames").mkdir()
    for frame in open_video(tracker / "in.mp4"):
        Image.fromarray(frame.image).save(tracker / "frames" / f"{frame.index}.png")
    (tracker / "frames" / "6.png").write_bytes(b"no image")
    args = arguments(tracker, "--mot-results", f"{tracker}/out.txt")
    args[3] = f"{tracker}/frames"
    with pytest.raises(SystemExit):
        demo.main(args)
    assert "6.png" in capsys.readouterr().err
    assert not (tracker / "out.txt").exists()
    demo.main([*args, "--stop-at-damage"])
    assert len(rows(tracker / "out.txt")) == 6


@pytest.mark.parametrize(
    ("name", "numbers"),
    [("{:06d}.png", range(10, 55, 5)), ("frame_{:06d}.PNG", range(1, 10))],
)
def test_results_of_a_folder_have_the_numbers_of_its_images(demo, tracker, name, numbers):
    (tracker / "frames").mkdir()
    for frame in open_video(tracker / "in.mp4"):
        image = Image.fromarray(frame.image)
        image.save(tracker / "frames" / name.format(10 + 5 * frame.index))
    args = arguments(tracker, "--mot-results", f"{tracker}/out.txt")
    args[3] = f"{tracker}/frames"
    demo.main(args)
    lines = (tracker / "out.txt").read_text().splitlines()
    assert [int(line.split(",")[0]) for line in lines] == [*numbers]


class Camera:
    """A device of 20 frames a second that says it had 40, and does not stop by itself."""

    def __init__(self, number: int) -> None: ...

    def isOpened(self) -> bool:
        return True

    def get(self, key: int) -> float:
        return 40.0

    def read(self):
        time.sleep(0.05)
        image = np.full((48, 64, 3), 60, np.uint8)
        image[20:32, 20:32] = 255
        return True, image

    def release(self) -> None: ...


def test_camera_until_interrupted(demo, tracker, monkeypatch):
    answers = StubTracker.stream_video

    def interrupted(self, frames, output_size):
        for count, answer in enumerate(answers(self, frames, output_size), start=1):
            if count == 4:
                signal.raise_signal(signal.SIGINT)
            yield answer

    monkeypatch.setattr(StubTracker, "stream_video", interrupted)
    monkeypatch.setattr(cv2, "VideoCapture", Camera)
    files = ["--output", f"{tracker}/out.mp4", "--results", f"{tracker}/out.json"]
    args = arguments(tracker, *files, "--mot-results", f"{tracker}/out.txt")
    args[3] = "camera:0"
    before = signal.getsignal(signal.SIGINT)
    demo.main(args)
    assert signal.getsignal(signal.SIGINT) is before
    assert not [thread for thread in threading.enumerate() if thread.name == "d2video-camera"]
    results = json.loads((tracker / "out.json").read_text())
    # The frame in work is the last one.
    assert results["num_frames"] == len(rows(tracker / "out.txt")) == 4
    # It plays at the pace of the scene, though the camera promised more frames.
    assert open_video(tracker / "out.mp4").fps < 30
    shown = [frame.time for frame in open_video(tracker / "out.mp4")]
    assert shown == pytest.approx([frame["time"] for frame in results["frames"]], abs=1e-3)


def test_camera_that_is_not_there(demo, tracker, monkeypatch, capsys):
    monkeypatch.setattr(Camera, "isOpened", lambda self: False)
    monkeypatch.setattr(cv2, "VideoCapture", Camera)
    args = arguments(tracker, "--output", f"{tracker}/out.mp4")
    args[3] = "camera:1"
    with pytest.raises(SystemExit):
        demo.main(args)
    assert "error: cannot open camera 1" in capsys.readouterr().err


def test_help_runs_without_a_model(demo, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["demo.py", "--help"])
    with pytest.raises(SystemExit) as stop:
        demo.main()
    assert stop.value.code == 0
    assert "--config-file" in capsys.readouterr().out


@pytest.mark.parametrize("value", ["2", "-0.1", "nan", "high"])
def test_score_thresholds_that_cannot_be(demo, clip, capsys, value):
    with pytest.raises(SystemExit):
        demo.main(arguments(clip, "--score-threshold", value))
    assert "argument --score-threshold: " in capsys.readouterr().err


def test_drawing_options(demo, clip):
    common = arguments(clip, "--output", f"{clip}/out")
    pictures = {}
    for option in ("", "--no-labels", "--no-masks", "--draw-boxes", "--label-size=0.5"):
        shutil.rmtree(clip / "out", ignore_errors=True)
        demo.main([*common, *option.split()])
        pictures[option] = next(iter(open_video(clip / "out"))).image.tobytes()
    assert len({*pictures.values()}) == len(pictures)
    with pytest.raises(SystemExit) as stop:
        demo.main([*common, "--label-size", "0"])
    assert stop.value.code == 1
