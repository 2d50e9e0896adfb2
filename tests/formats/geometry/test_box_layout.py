"""Boxes in another layout are reported, those of sound files are not."""

import re
from pathlib import Path

import numpy as np
import pytest

from d2video.formats.geometry.box_layout import layout_doubt

HEIGHT, WIDTH = 120, 200
REAL = Path(__file__).parents[4] / "shared" / "data" / "real"
SIDES = np.array([WIDTH, HEIGHT] * 2)


def _corners(count: int, seed: int = 0) -> np.ndarray:
    """(count, 4) boxes inside the image."""
    rng = np.random.default_rng(seed)
    size = rng.uniform(0.05, 0.5, (count, 2)) * [WIDTH, HEIGHT]
    low = rng.uniform(0, 1, (count, 2)) * ([WIDTH, HEIGHT] - size)
    return np.concatenate([low, low + size], axis=1)


def _sizes(corners: np.ndarray) -> np.ndarray:
    return np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1)


def _centres(corners: np.ndarray) -> np.ndarray:
    return np.concatenate(
        [(corners[:, :2] + corners[:, 2:]) / 2, corners[:, 2:] - corners[:, :2]], axis=1
    )


def _y_first(boxes: np.ndarray) -> np.ndarray:
    return boxes[:, [1, 0, 3, 2]]


LAYOUTS = {
    "corners x0, y0, x1, y1": lambda c: c,
    "corners y0, x0, y1, x1": _y_first,
    "centre and size cx, cy, width, height": _centres,
    "corners x0, y0, x1, y1 as fractions of the image": lambda c: c / SIDES,
    "x, y, width, height as fractions of the image": lambda c: _sizes(c / SIDES),
    "centre and size cx, cy, width, height as fractions of the image": lambda c: _centres(
        c / SIDES
    ),
}
# Seen only where masks are there to compare with.
WITH_MASKS = {
    "corners y0, x0, y1, x1 as fractions of the image": lambda c: _y_first(c / SIDES),
    "y, x, height, width": lambda c: _y_first(_sizes(c)),
    "corners x0, y0, x1, y1 in percent of the image": lambda c: 100 * c / SIDES,
    "x, y, width, height in percent of the image": lambda c: _sizes(100 * c / SIDES),
}


@pytest.mark.parametrize("count", [8, 300])
@pytest.mark.parametrize("name", LAYOUTS)
def test_the_layout_that_fits_is_named(name, count):
    boxes = LAYOUTS[name](_corners(count))
    doubt = layout_doubt("a.json", boxes, np.full((count, 2), [HEIGHT, WIDTH]))
    assert str(doubt).startswith("a.json: ")
    assert f"; read as {name}, {count} of {count} fit" in str(doubt)


@pytest.mark.parametrize("count", [3, 50])
@pytest.mark.parametrize("name", [*LAYOUTS, *WITH_MASKS])
def test_masks_tell_more(name, count):
    corners = _corners(count)
    boxes = (LAYOUTS | WITH_MASKS)[name](corners)
    masks = _sizes(np.rint(corners))  # masks end at pixels
    masks[1] = np.nan
    doubt = layout_doubt("a.json", boxes, np.full((count, 2), [HEIGHT, WIDTH]), masks)
    assert f"; read as {name}, {count} of {count} fit" in str(doubt)
    assert "or contradict their masks" in str(doubt)


@pytest.mark.parametrize("name", [*LAYOUTS, *WITH_MASKS])
def test_a_part_in_another_layout_is_told(name):
    corners = _corners(100)
    boxes = _sizes(corners)
    boxes[:20] = (LAYOUTS | WITH_MASKS)[name](corners[:20])
    sizes = np.full((100, 2), [HEIGHT, WIDTH])
    doubt = layout_doubt("a.json", boxes, sizes, _sizes(np.rint(corners)))
    assert re.search(rf"; read as {name}, (\d+) of these \1 fit", str(doubt))
    without = layout_doubt("a.json", boxes, sizes)
    if name in LAYOUTS and "centre and size" not in name:
        assert re.search(rf"; read as {name}, (\d+) of these \1 fit", str(without))


@pytest.mark.parametrize(("height", "width"), [(120, 200), (200, 120), (60, 60)])
def test_boxes_that_leave_the_image_are_not_in_another_layout(height, width):
    for seed in range(50):
        rng = np.random.default_rng(seed)
        size = rng.uniform(0.05, 0.5, (200, 2)) * [width, height]
        low = rng.uniform(-0.5, 1, (200, 2)) * [width, height] * rng.uniform(0.6, 1)
        boxes = np.concatenate([low, size], axis=1)
        outside = (low < 0).any(axis=1) | (low + size > [width, height]).any(axis=1)
        boxes = np.concatenate([boxes[~outside], boxes[outside][: (~outside).sum() // 2]])
        assert layout_doubt("", boxes, np.full((len(boxes), 2), [height, width])) is None


@pytest.mark.parametrize("with_masks", [False, True])
@pytest.mark.parametrize("count", [1, 2, 3, 10, 200])
def test_sound_boxes_are_not_doubted(count, with_masks):
    sizes = np.full((count, 2), [HEIGHT, WIDTH])
    for seed in range(50):
        corners = _corners(count, seed)
        masks = _sizes(np.rint(corners)) if with_masks else None
        # Rounded outwards, in the files' own ways, a pixel beyond the image at most.
        boxes = _sizes(np.concatenate([corners[:, :2] - 1, corners[:, 2:] + 1], axis=1))
        assert layout_doubt("", boxes, sizes, masks) is None
    assert layout_doubt("", np.zeros((count, 4)), sizes) is None


def test_half_of_the_boxes_elsewhere_than_their_masks_is_told_without_a_layout():
    boxes = _sizes(_corners(20))
    doubt = layout_doubt("", boxes, np.full((20, 2), [HEIGHT, WIDTH]), _sizes(_corners(20, 1)))
    assert "no other layout fits them: compare them with the images" in str(doubt)


def test_whole_bodies_may_leave_the_image():
    corners = _corners(100)
    corners[:60] += [0.4 * WIDTH, 0.3 * HEIGHT, 0.4 * WIDTH, 0.3 * HEIGHT]
    corners = corners[((corners[:, :2] + corners[:, 2:]) / 2 < [WIDTH, HEIGHT]).all(axis=1)]
    sizes = np.full((len(corners), 2), [HEIGHT, WIDTH])
    assert layout_doubt("", _sizes(corners), sizes, whole_bodies=True) is None
    doubt = layout_doubt("", corners, sizes, whole_bodies=True)
    assert "read as corners x0, y0, x1, y1," in str(doubt)


def test_fractions_are_seen_in_images_of_unknown_size():
    fractions = _sizes(_corners(5) / SIDES)
    doubt = layout_doubt("", fractions, np.full((5, 2), np.inf), whole_bodies=True)
    assert "as fractions of the image, 5 of 5 fit" in str(doubt)
    assert layout_doubt("", _corners(5), np.full((5, 2), np.inf)) is None


def test_real_ground_truth():
    """Pedestrians of MOTChallenge, of whom many leave the picture."""
    paths = sorted(REAL.glob("*/*/gt/gt.txt"))
    if not paths:
        pytest.skip("../shared/data/real is not there")
    for path in paths:
        boxes = np.loadtxt(path, delimiter=",", usecols=range(2, 6))
        height, width = (1080, 1920) if "MOT17" in str(path) else (480, 640)
        sizes = np.full((len(boxes), 2), [height, width])
        assert layout_doubt("", boxes, sizes, whole_bodies=True) is None
        corners = np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)
        assert "read as corners x0," in str(layout_doubt("", corners, sizes, whole_bodies=True))
