"""Generated videos of motion: what tells the class, and what does not."""

import importlib.util
from dataclasses import replace
from itertools import pairwise

import av
import cv2
import numpy as np
import pytest

from d2video.data.datasets.video_classification import load_video_folders
from d2video.synthetic import (
    JOINT_MOTION_CLASSES,
    MOTION_CLASSES,
    MotionSpec,
    render_motion_video,
    video_rng,
    write_motion_videos,
)
from d2video.utils.errors import UserError
from d2video.video.video_reader import open_video
from tests.helpers import ROOT

JOINT = ("right_clockwise_red-blue", "left_counterclockwise_blue-red")
SPEC = MotionSpec(noise=0.0, texture_contrast=0.0, background_contrast=0.0)
JOINT_SPEC = replace(SPEC, num_frames=(9, 9), size=(0.2, 0.25), classes=JOINT_MOTION_CLASSES)


def hue_mask(frames, hue):
    """Where frames (L,H,W,3) show vivid pixels of a hue, in turns: bool (L,H,W)."""
    hsv = np.stack([cv2.cvtColor(frame, cv2.COLOR_RGB2HSV) for frame in frames]).astype(float)
    away = np.abs((hsv[..., 0] / 180 - hue + 0.5) % 1 - 0.5)
    return (away < 0.04) & (hsv[..., 1] > 140)


def sorted_frames(video):
    return sorted(frame.tobytes() for frame in video)


PAIRS = [("right", "left"), ("clockwise", "counterclockwise"), ("red-blue", "blue-red")]


@pytest.mark.parametrize("pair", PAIRS)
def test_the_classes_of_a_scene_show_the_same_frames_in_another_order(pair):
    for index in range(3):
        first, second = (render_motion_video(SPEC, video_rng(0, "a", index), name) for name in pair)
        assert sorted_frames(first) == sorted_frames(second)
        assert np.array_equal(first, second[::-1])
        assert not np.array_equal(first, second)


def test_all_joint_classes_show_the_same_frames_in_another_order():
    assert len(JOINT_MOTION_CLASSES) == 8
    for index in range(3):
        videos = [
            render_motion_video(JOINT_SPEC, video_rng(0, "a", index), name)
            for name in JOINT_MOTION_CLASSES
        ]
        first = sorted_frames(videos[0])
        assert all(sorted_frames(video) == first for video in videos)
        assert len({video.tobytes() for video in videos}) == 8


def places(video):
    """Of each frame where the running object is in its row, as an angle, NaN where it is not."""
    circle = np.exp(2j * np.pi * np.arange(video.shape[2]) / video.shape[2])
    columns = hue_mask(video, 0.14).sum(1)
    return np.where(columns.any(1), np.angle((columns * circle).sum(1)), np.nan)


@pytest.mark.parametrize(("spec", "pair"), [(SPEC, PAIRS[0]), (JOINT_SPEC, JOINT)])
def test_single_frames_tell_nothing_at_any_place_in_the_video(spec, pair):
    """Where the running object is in frame t: alike for both directions."""
    means = []
    for name in pair:
        angles = np.array(
            [places(render_motion_video(spec, video_rng(0, name, k), name)) for k in range(120)]
        )
        means.append(np.nanmean(np.exp(1j * angles), axis=0))
        assert (np.isfinite(angles).sum(0) > 100).all()
    # Means of at least 100 vectors of length 1 each: their difference is about sqrt(2 / 100) long.
    assert (np.abs(means[0] - means[1]) < 3 * np.sqrt(2 / 100)).all()


@pytest.mark.parametrize(("way", "sign"), [("right", 1), ("left", -1)])
def test_direction_is_to_be_seen(way, sign):
    for index in range(5):
        video = render_motion_video(SPEC, video_rng(0, "dir", index), way)
        masks = hue_mask(video, 0.14)
        area = masks.sum((1, 2))
        column = (masks.sum(1) * np.arange(masks.shape[2])).sum(1) / np.maximum(area, 1)
        whole = area > 0.9 * area.max()  # not cut by the border
        steps = np.diff(column)[whole[1:] & whole[:-1]]
        assert len(steps) > 0
        # The way is the frame's width and 2.4 radii of 8 to 11.2 pixels, in eight steps.
        assert (steps * sign > 64 / 8).all()
        assert (steps * sign < (64 + 2.4 * 11.2) / 8 + 1).all()


@pytest.mark.parametrize(("turn", "sign"), [("clockwise", 1), ("counterclockwise", -1)])
def test_the_arrow_turns(turn, sign):
    """By its axis, which points away from where it turns."""
    for index in range(5):
        video = render_motion_video(SPEC, video_rng(0, "turn", index), turn)
        masks = hue_mask(video, 0.82)
        seen = masks.any((1, 2))
        assert seen.sum() == 6  # of eight, without those in the lowest quarter
        axes, (frames,) = [], np.nonzero(seen)
        for mask in masks[seen]:
            y, x = np.nonzero(mask)
            offset = (x - x.mean()) + 1j * (y - y.mean())
            axes.append(np.angle((offset**2 * np.abs(offset)).sum()))  # twice the axis' angle
        steps = np.diff(np.unwrap(axes))[np.diff(frames) == 1]
        # An arrow's axis turns by 45 degrees a step, twice that here.
        assert np.median(steps) == pytest.approx(sign * np.pi / 2, rel=0.2)


@pytest.mark.parametrize(("order", "expected"), [("red-blue", "rb"), ("blue-red", "br")])
def test_order_of_the_lamp(order, expected):
    for index in range(5):
        video = render_motion_video(SPEC, video_rng(0, "lamp", index), order)
        cycle = lamp(video)
        assert {*cycle} == {*"rb-"}
        assert expected in cycle + cycle[0]
        assert expected[::-1] not in cycle + cycle[0]


def lamp(video):
    """Of each frame the lamp's state: r, b or -."""
    red, blue = (hue_mask(video, hue).sum((1, 2)) > 30 for hue in (0.0, 0.6))
    return "".join("r" if r else "b" if b else "-" for r, b in zip(red, blue, strict=True))


@pytest.mark.parametrize("name", JOINT_MOTION_CLASSES)
def test_joint_scenes_move_one_after_the_other(name):
    for index in range(5):
        video = render_motion_video(JOINT_SPEC, video_rng(0, "joint", index), name)
        states = lamp(video)
        third = 3 * next(k for k in range(3) if {*states[3 * k : 3 * k + 3]} == {*"rb-"})
        others = {*states[:third], *states[third + 3 :]}
        assert len(others) == 1  # it stands still while the others move
        order = "rb-r" if name.endswith("red-blue") else "br-b"
        assert all(a == b or a + b in order for a, b in pairwise(states))
        # Nothing else moves with it.
        objects = [hue_mask(video, hue)[third : third + 3] for hue in (0.14, 0.82)]
        # Edges of the arrow over the lamp have mixed hues.
        assert all(((mask != mask[0]).sum((1, 2)) < 12).all() for mask in objects)


def test_files(tmp_path):
    spec = MotionSpec(num_frames=(6, 8), height=32, width=48)
    splits = {"train": 9, "val": 8}
    assert write_motion_videos(tmp_path / "m", splits, spec, 1, progress=False)
    assert not write_motion_videos(tmp_path / "m", splits, spec, 1, progress=False)
    records, names = load_video_folders(str(tmp_path / "m/train"))
    assert names == sorted(MOTION_CLASSES)
    assert len(records) == 9
    path = tmp_path / f"m/train/{MOTION_CLASSES[1]}/00001.mp4"
    drawn = render_motion_video(spec, video_rng(1, "train", 1), MOTION_CLASSES[1])
    stored = [frame.image for frame in open_video(path)]
    assert 6 <= len(stored) == len(drawn) <= 8
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
    assert len(frames) == 8
    assert all(frame.key_frame for frame in frames)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"classes": ("sideways",)}, "sideways"),
        ({"num_frames": (2, 9)}, "num_frames"),
        ({"classes": JOINT}, "num_frames must be two numbers, 9 <= "),
        ({"height": 33}, "even"),
        ({"size": (0.3, 0.6)}, "size"),
        ({"noise": -1}, "noise"),
    ],
)
def test_wrong_specification(arguments, message):
    with pytest.raises(UserError, match=message):
        MotionSpec(**arguments)


def test_too_few_videos_for_the_classes(tmp_path):
    with pytest.raises(UserError, match="each of the 6 classes"):
        write_motion_videos(tmp_path / "m", {"a": 5}, progress=False)
    assert not list(tmp_path.iterdir())


def test_command_line(tmp_path, capsys):
    source = ROOT / "tools/make_shapes_dataset.py"
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
