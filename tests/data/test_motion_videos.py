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
    first = sorted_frames(videos[MOTION_CLASSES[0]])
    assert all(sorted_frames(video) == first for video in videos.values())
    assert len({video.tobytes() for video in videos.values()}) == len(MOTION_CLASSES)


def places(video):
    """Of each frame where the running object is in its row, as an angle, NaN where it is not."""
    circle = np.exp(2j * np.pi * np.arange(video.shape[2]) / video.shape[2])
    columns = hue_mask(video, 0.14).sum(1)
    return np.where(columns.any(1), np.angle((columns * circle).sum(1)), np.nan)


def test_single_frames_tell_nothing_at_any_place_in_the_video():
    """Where the running object is in frame t: alike for all t and all classes."""
    spec = MotionSpec(noise=0.0, texture_contrast=0.0, background_contrast=0.0, num_frames=(9, 9))
    for name in (MOTION_CLASSES[0], MOTION_CLASSES[-1]):
        angles = np.array(
            [places(render_motion_video(spec, video_rng(0, name, k), name)) for k in range(120)]
        )
        count = np.isfinite(angles).sum(0)
        # Scenes come in random order, and the mean direction of n uniform angles is about
        # 1/sqrt(n) long.
        assert (count > 20).all()
        length = np.abs(np.nanmean(np.exp(1j * angles), axis=0))
        assert (length < 3 / np.sqrt(count)).all()


@pytest.mark.parametrize(("way", "sign"), [("right", 1), ("left", -1)])
def test_direction_is_to_be_seen(way, sign):
    for index in range(5):
        video = render_motion_video(
            SPEC, video_rng(0, "dir", index), f"{way}_counterclockwise_red-blue"
        )
        masks = hue_mask(video, 0.14)
        area = masks.sum((1, 2))
        column = (masks.sum(1) * np.arange(masks.shape[2])).sum(1) / np.maximum(area, 1)
        whole = area > 0.9 * area.max()  # not cut by the border
        steps = np.diff(column)[whole[1:] & whole[:-1]]
        assert len(steps) > 0
        # The way is the frame's width and 2.4 radii of 8 to 11.2 pixels, in five steps.
        assert (steps * sign > 64 / 5).all()
        assert (steps * sign < (64 + 2.4 * 11.2) / 5 + 1).all()


@pytest.mark.parametrize(("turn", "sign"), [("clockwise", 1), ("counterclockwise", -1)])
def test_the_arrow_turns(turn, sign):
    """By its axis, which points away from where it turns."""
    for index in range(5):
        video = render_motion_video(SPEC, video_rng(0, "turn", index), f"left_{turn}_red-blue")
        masks = hue_mask(video, 0.82)
        seen = masks.any((1, 2))
        assert 3 <= seen.sum() <= 4  # of five, without those in the lowest quarter
        thirds, (frames,) = [], np.nonzero(seen)
        for mask in masks[seen]:
            y, x = np.nonzero(mask)
            offset = (x - x.mean()) + 1j * (y - y.mean())
            thirds.append(np.angle((offset**2 * np.abs(offset)).sum()))  # the axis, twice its angle
        steps = np.diff(np.unwrap(thirds))[np.diff(frames) == 1]
        # An arrow's axis turns by 72 degrees a step, twice that here: 144.
        assert np.median(steps) == pytest.approx(sign * 4 * np.pi / 5, rel=0.2)


@pytest.mark.parametrize(("order", "expected"), [("red-blue", "rb"), ("blue-red", "br")])
def test_order_of_the_lamp(order, expected):
    for index in range(5):
        video = render_motion_video(SPEC, video_rng(0, "lamp", index), f"right_clockwise_{order}")
        red, blue = (hue_mask(video, hue).sum((1, 2)) > 30 for hue in (0.0, 0.6))
        (scene,) = {k // 5 for k in np.flatnonzero(red | blue)}
        frames = range(5 * scene, 5 * scene + 5)
        cycle = "".join("r" if red[k] else "b" if blue[k] else "-" for k in frames)
        assert expected in cycle + cycle[0]
        assert expected[::-1] not in cycle + cycle[0]


def test_files(tmp_path):
    spec = MotionSpec(num_frames=(9, 11), height=32, width=48)
    splits = {"train": 9, "val": 8}
    assert write_motion_videos(tmp_path / "m", splits, spec, 1, progress=False)
    assert not write_motion_videos(tmp_path / "m", splits, spec, 1, progress=False)
    records, names = load_video_folders(str(tmp_path / "m/train"))
    assert names == sorted(MOTION_CLASSES)
    assert len(records) == 9
    path = tmp_path / f"m/train/{MOTION_CLASSES[1]}/00001.mp4"
    drawn = render_motion_video(spec, video_rng(1, "train", 1), MOTION_CLASSES[1])
    stored = [frame.image for frame in open_video(path)]
    assert 9 <= len(stored) == len(drawn) <= 11
    # Lossy, but each frame is nearest to itself.
    distance = np.abs(np.stack(stored)[:, None].astype(int) - drawn[None]).mean((2, 3, 4))
    assert distance.argmin(1).tolist() == list(range(len(drawn)))
    assert distance.diagonal().max() < 12
    other = render_motion_video(spec, video_rng(1, "val", 1), MOTION_CLASSES[1])
    assert len(other) != len(drawn) or not np.array_equal(other, drawn)
    with pytest.raises(UserError, match="other arguments"):
        write_motion_videos(tmp_path / "m", splits, spec, 2, progress=False)
    assert write_motion_videos(tmp_path / "m", splits, spec, 2, overwrite=True, progress=False)


def test_every_frame_is_a_key_frame(tmp_path):
    write_motion_videos(tmp_path / "m", {"a": 8}, progress=False)
    with av.open(str(tmp_path / f"m/a/{MOTION_CLASSES[3]}/00003.mp4")) as container:
        frames = list(container.decode(video=0))
    assert len(frames) == 15
    assert all(frame.key_frame for frame in frames)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"classes": ("sideways",)}, "sideways"),
        ({"num_frames": (8, 9)}, "num_frames"),
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
    options = [root, "--format", "motion", "--split", "a=2", "--classes", *MOTION_CLASSES[:2]]
    tool.main([*options, "--num-frames", "9", "10", "--height", "32"])
    expected = MotionSpec(num_frames=(9, 10), height=32, classes=MOTION_CLASSES[:2])
    assert not write_motion_videos(root, {"a": 2}, expected, progress=False)
    with pytest.raises(SystemExit):
        tool.main([*options, "--speed", "1", "2"])
    assert "error: --speed: not for --format motion" in capsys.readouterr().err
