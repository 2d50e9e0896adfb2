"""Pixels of generated images and of backgrounds of stuff."""

import itertools

import cv2
import numpy as np
import pytest

from d2video.synthetic import (
    STUFF_NAMES,
    ShapesSpec,
    render_image,
    render_video,
    sample_scene,
    video_rng,
)
from d2video.synthetic.stuff import stuff_background, stuff_texture
from d2video.utils.errors import UserError

STUFF = ("water", "grass", "brick")


def test_every_object_of_every_image_shows():
    spec = ShapesSpec(max_objects=4)
    images = [render_image(spec, video_rng(0, "show", index)) for index in range(60)]
    for image in images:
        assert image.frames.shape == (1, 64, 96, 3)
        assert image.masks.sum(axis=(2, 3)).min() > 0.3 * np.pi * (0.25 / 2 * 64 * 0.7) ** 2
        assert image.masks.sum(axis=0).max() == 1
        assert image.stuff is None
    assert {len(image.classes) for image in images} == {1, 2, 3, 4}
    assert any((mask[0, 0].any() or mask[0, :, 0].any()) for im in images for mask in im.masks)


def test_objects_below_a_pixel_are_one_clear_line():
    with pytest.raises(UserError, match="no object shows") as error:
        render_image(ShapesSpec(height=16, width=16, size=(0.001, 0.001)), video_rng(0, "a", 0))
    assert "\n" not in str(error.value)


def test_stuff_can_be_told_by_hue():
    turns = {name: [] for name in STUFF_NAMES}
    for name, contrast, seed in itertools.product(STUFF_NAMES, (0.0, 1.0), range(30)):
        pixels = stuff_texture(np.random.default_rng(seed), 32, 48, name, contrast)
        hue = cv2.cvtColor(pixels, cv2.COLOR_RGB2HSV_FULL)[..., 0] / 256
        turns[name].extend(np.unique(hue))
    for name, own in turns.items():
        for other, others in turns.items():
            if name < other:
                apart = np.abs(np.subtract.outer(own, others))
                assert np.minimum(apart, 1 - apart).min() > 0.02, (name, other)


def test_stuff_can_be_told_by_pattern():
    def steps(name):
        grey = stuff_texture(np.random.default_rng(2), 256, 256, name).mean(axis=-1)
        return np.abs(np.diff(grey, axis=0)).mean() / np.abs(np.diff(grey, axis=1)).mean()

    assert steps("grass") < 0.5  # upright blades
    assert steps("water") > 1.5  # level waves
    assert 0.8 < steps("sand") < 1.25
    brick = stuff_texture(np.random.default_rng(2), 256, 256, "brick").reshape(-1, 3)
    assert len(np.unique(brick, axis=0)) == 2  # stone and joint
    assert len(STUFF_NAMES) == 4  # a new class needs a line here


def test_place_of_stuff_tells_nothing():
    pairs = set()
    for seed in range(60):
        _, label = stuff_background(np.random.default_rng(seed), 128, 192, STUFF)
        top, bottom = label[0, 96], label[-1, 96]
        assert set(np.unique(label)) == {top, bottom}
        assert 0.3 < (label == top).mean() < 0.7
        pairs.add((int(top), int(bottom)))
    assert pairs == {(a, b) for a in range(3) for b in range(3) if a != b}
    _, label = stuff_background(np.random.default_rng(0), 16, 16, ("sand",))
    assert not label.any()


def test_stuff_labels_follow_the_camera():
    spec = ShapesSpec(
        num_frames=(6, 6),
        stuff=("water", "brick"),
        background_contrast=0.0,
        noise=0.0,
        max_objects=1,
    )
    moved = 0
    for index in range(12):
        scene = sample_scene(spec, video_rng(0, "camera", index))
        video = render_video(spec, video_rng(0, "camera", index))
        assert video.stuff.shape == video.frames.shape[:3]
        moved += bool((video.stuff != video.stuff[:1]).any())
        colours = [scene.background[scene.stuff == k][0] for k in range(2)]
        for t, frame in enumerate(video.frames):
            objects = video.masks[:, t].any(axis=0).astype(np.uint8)
            free = ~cv2.dilate(objects, np.ones((5, 5))).astype(bool)
            for k, colour in enumerate(colours):
                # Along the horizon the two colours blend; a trace of it reaches the next pixel.
                inner = cv2.erode((video.stuff[t] == k).astype(np.uint8), np.ones((3, 3)))
                region = free & (inner > 0)
                assert np.abs(frame[region].astype(int) - colour).max(initial=0) <= 5
    assert moved >= 6


def test_videos_without_stuff_are_those_of_old():
    known = [  # made before there was stuff
        (10, [0], [2230], 100.32),
        (12, [0, 0, 1], [4053, 3013, 2735], 97.53),
        (10, [2, 1], [2091, 2712], 134.16),
    ]
    for index, (length, classes, areas, grey) in enumerate(known):
        video = render_video(ShapesSpec(), video_rng(0, "train", index))
        assert len(video.frames) == length
        assert video.classes.tolist() == classes
        assert video.masks.sum(axis=(1, 2, 3)).tolist() == pytest.approx(areas, abs=2)
        assert video.frames.mean() == pytest.approx(grey, abs=0.05)
        assert video.stuff is None


@pytest.mark.parametrize("stuff", [("lava",), ("sand", "sand")])
def test_wrong_stuff_is_one_clear_line(stuff):
    with pytest.raises(UserError, match="stuff") as error:
        ShapesSpec(stuff=stuff)
    assert "\n" not in str(error.value)
