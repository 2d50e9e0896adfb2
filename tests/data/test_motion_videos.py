"""Generated videos of motion: what tells the class, and what does not."""

import importlib.util
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from d2video.data.datasets.video_classification import load_video_folders
from d2video.data.shapes import (
    MOTION_CLASSES,
    MotionSpec,
    render_motion_video,
    video_rng,
    write_motion_videos,
)
from d2video.utils.errors import UserError
from d2video.utils.video_reader import open_video

SPEC = MotionSpec(noise=0.0, texture_contrast=0.0, background_contrast=0.0)


def hue_mask(frames, hue):
    """Where frames (L,H,W,3) show vivid pixels of a hue, in turns: bool (L,H,W)."""
    hsv = np.stack([cv2.cvtColor(frame, cv2.COLOR_RGB2HSV) for frame in frames]).astype(float)
    away = np.abs((hsv[..., 0] / 180 - hue + 0.5) % 1 - 0.5)
    return (away < 0.04) & (hsv[..., 1] > 140)


def sorted_frames(video):
    return sorted(frame.tobytes() for frame in video)


@pytest.mark.parametrize("index", range(3))
def test_all_classes_show_the_same_frames_in_another_order(index):
    videos = {
        name: render_motion_video(SPEC, video_rng(0, "a", index), name) for name in MOTION_CLASSES
    }
    first = sorted_frames(videos["right"])
    assert all(sorted_frames(video) == first for video in videos.values())
    assert len({video.tobytes() for video in videos.values()}) == len(MOTION_CLASSES)


def test_single_frames_tell_nothing_at_any_place_in_the_video():
    """Where the running object is in frame t: alike for all t and all classes."""
    spec = MotionSpec(noise=0.0, texture_contrast=0.0, background_contrast=0.0, num_frames=(4, 4))
    for name in ("right", "left", "up"):
        first = []
        for index in range(50):
            video = render_motion_video(spec, video_rng(0, name, index), name)
            mask = hue_mask(video, 0.14)
            columns = mask.any(1)
            if columns.any(1).all():
                angle = 2 * np.pi * np.arange(64) / 64
                first.append(np.angle((mask.sum(1) * np.exp(1j * angle)).sum(1)))
        # The mean direction of n uniform angles is about 1/sqrt(n) long.
        length = np.abs(np.exp(1j * np.array(first)).mean(0))
        assert len(first) > 30
        assert (length < 3 / np.sqrt(len(first))).all()


@pytest.mark.parametrize(("name", "sign"), [("right", 1), ("left", -1)])
def test_direction_is_to_be_seen(name, sign):
    spec = MotionSpec(
        noise=0.0, texture_contrast=0.0, background_contrast=0.0, classes=("right", "left")
    )
    angle = np.exp(2j * np.pi * np.arange(64) / 64)
    for index in range(5):
        video = render_motion_video(spec, video_rng(0, "dir", index), name)
        mask = hue_mask(video, 0.14).sum(1)
        steps = np.diff(np.unwrap(np.angle((mask * angle).sum(1))))
        assert np.sign(np.median(steps)) == sign
        assert np.median(np.abs(steps)) == pytest.approx(2 * np.pi / 16, rel=0.1)


def test_order_of_the_lamp():
    spec = MotionSpec(noise=0.0, texture_contrast=0.0, classes=("red-then-blue", "blue-then-red"))
    for name, expected in (("red-then-blue", "rb"), ("blue-then-red", "br")):
        for index in range(5):
            video = render_motion_video(spec, video_rng(0, "lamp", index), name)
            red, blue = (hue_mask(video, hue).sum((1, 2)) > 30 for hue in (0.0, 0.6))
            assert 5 <= red.sum() <= 6
            assert 5 <= blue.sum() <= 6
            cycle = "".join("r" if r else "b" if b else "-" for r, b in zip(red, blue, strict=True))
            assert expected in cycle + cycle[0]
            assert expected[::-1] not in cycle + cycle[0]


def test_files(tmp_path):
    spec = MotionSpec(num_frames=(6, 8), height=32, width=48)
    splits = {"train": 9, "val": 8}
    assert write_motion_videos(tmp_path / "m", splits, spec, 1, progress=False)
    assert not write_motion_videos(tmp_path / "m", splits, spec, 1, progress=False)
    records, names = load_video_folders(str(tmp_path / "m/train"))
    assert names == sorted(MOTION_CLASSES)
    assert len(records) == 9
    path = tmp_path / "m/train/left/00001.mp4"
    drawn = render_motion_video(spec, video_rng(1, "train", 1), "left")
    stored = [frame.image for frame in open_video(path)]
    assert 6 <= len(stored) == len(drawn) <= 8
    # Lossy, but each frame is nearest to itself.
    distance = np.abs(np.stack(stored)[:, None].astype(int) - drawn[None]).mean((2, 3, 4))
    assert distance.argmin(1).tolist() == list(range(len(drawn)))
    assert distance.diagonal().max() < 12
    other = render_motion_video(spec, video_rng(1, "val", 1), "left")
    assert len(other) != len(drawn) or not np.array_equal(other, drawn)
    with pytest.raises(UserError, match="other arguments"):
        write_motion_videos(tmp_path / "m", splits, spec, 2, progress=False)
    assert write_motion_videos(tmp_path / "m", splits, spec, 2, overwrite=True, progress=False)


def test_every_frame_is_a_key_frame(tmp_path):
    write_motion_videos(tmp_path / "m", {"a": 8}, progress=False)
    with av.open(str(tmp_path / "m/a/up/00003.mp4")) as container:
        frames = list(container.decode(video=0))
    assert len(frames) == 16
    assert all(frame.key_frame for frame in frames)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"classes": ("sideways",)}, "sideways"),
        ({"num_frames": (2, 4)}, "num_frames"),
        ({"height": 33}, "even"),
        ({"size": (0.3, 0.6)}, "size"),
        ({"noise": -1}, "noise"),
    ],
)
def test_wrong_specification(arguments, message):
    with pytest.raises(UserError, match=message):
        MotionSpec(**arguments)


def test_too_few_videos_for_the_classes(tmp_path):
    with pytest.raises(UserError, match="each of the 8 classes"):
        write_motion_videos(tmp_path / "m", {"a": 7}, progress=False)
    assert not list(tmp_path.iterdir())


def test_command_line(tmp_path, capsys):
    source = Path(__file__).parents[2] / "tools/make_shapes_dataset.py"
    spec = importlib.util.spec_from_file_location("tool", source)
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    root = str(tmp_path / "m")
    options = [root, "--format", "motion", "--split", "a=2", "--classes", "left", "right"]
    tool.main([*options, "--num-frames", "4", "5", "--height", "32"])
    expected = MotionSpec(num_frames=(4, 5), height=32, classes=("left", "right"))
    assert not write_motion_videos(root, {"a": 2}, expected, progress=False)
    with pytest.raises(SystemExit):
        tool.main([*options, "--speed", "1", "2"])
    assert "error: --speed: not for --format motion" in capsys.readouterr().err
