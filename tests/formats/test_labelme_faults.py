"""What is wrong with some of labelme's files: one line each."""

import numpy as np
import pytest

from d2video.formats.faults import Fault
from d2video.formats.labelme import read_labelme
from d2video.utils.errors import UserError
from tests.formats.test_labelme import _image, _one, _png, _write_file

SQUARE = {"points": [[2, 2], [6, 2], [6, 6], [2, 6]]}
MASK = {"shape_type": "mask", "points": [[0, 0], [2, 2]], "mask": _png(np.eye(3, dtype=bool))}


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ({"shape_type": "cuboid", "points": []}, "shape_type, 'cuboid', is not one of polygon"),
        ({"points": [[1, 2], [3]]}, "not a list of pairs"),
        ({"points": [[1, 2], [3, float("nan")], [4, 5]]}, "not a list of pairs"),
        (
            {"shape_type": "rectangle", "points": [[1, 2]]},
            "a rectangle has 2 or 4 points, and it has 1",
        ),
        ({"points": [[1, 1], [9, 1], [9, 2**21]]}, "coordinates of a polygon"),
        ({"points": [[100, 1], [109, 1], [109, 9]]}, "a polygon lies outside the 64x48 image"),
        (SQUARE | {"label": None}, "its label, null, must be a text"),
        (SQUARE | {"group_id": "a"}, "its group_id, 'a', must be a whole number"),
        (MASK | {"points": [[0, 0], [3, 3]]}, "its mask is 3x3 pixels and its points span 4x4"),
        (MASK | {"mask": None}, "its mask, null, is not a PNG"),
        (MASK | {"mask": "aGVsbG8="}, "is not a PNG"),
        (MASK | {"mask": MASK["mask"][:-40]}, "is not a PNG"),
        (MASK | {"mask": _png(np.zeros((3, 3, 3), np.uint8))}, "its mask has colours"),
    ],
)
def test_bad_shapes_are_one_line_with_their_place(tmp_path, shape, words):
    labels, found = _one(tmp_path, SQUARE, shape)
    faults = [each for each in found if isinstance(each, Fault)]
    assert len(faults) == 1
    assert labels.tally.used == 1
    assert str(faults[0]).startswith(f"{tmp_path / 'a.json'}: shape [1]: ")
    assert words in str(faults[0])


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (
            {"imageHeight": 60, "imageWidth": 80},
            "its labels are for 80x60 pixels, and .* has 64x48",
        ),
        ({"imagePath": "b.png"}, "b.png is missing: put the image there"),
        (
            {"imagePath": "b.png", "imageData": "AAAA"},
            "from imageData, which is that file in base64, or give image_root",
        ),
        ({"imagePath": None}, "imagePath must be a path"),
        ({"imagePath": "a.json"}, "cannot read image"),
    ],
)
def test_bad_images_are_one_line(tmp_path, more, words):
    _image(tmp_path)
    path = _write_file(tmp_path, "a.png", [SQUARE | {"label": "cat"}], **more)
    with pytest.raises(UserError, match=words) as error:
        read_labelme(str(tmp_path))
    assert str(error.value).startswith(f"{path}: image ")


def test_images_in_a_file(tmp_path):
    _one(tmp_path, SQUARE)
    with pytest.raises(UserError, match=r"image_root, .*a.png, is not a folder"):
        read_labelme(str(tmp_path), image_root=str(tmp_path / "a.png"))


@pytest.mark.parametrize(
    ("second", "tracks", "words"),
    [
        ({"label": "dog", "group_id": 1}, "group_id", "track 1 is a dog here and a cat before"),
        ({"label": "cat"}, "group_id", "it has no group_id"),
        ({"label": "cat"}, "label", "its label, 'cat', does not end in a dash and a number"),
    ],
)
def test_bad_tracks_are_one_line(tmp_path, second, tracks, words):
    first = {"label": "cat-1" if tracks == "label" else "cat", "group_id": 1}
    for number, each in enumerate((first, second)):
        _image(tmp_path, f"{number}.png")
        _write_file(tmp_path, f"{number}.png", [SQUARE | each])
    with pytest.raises(UserError, match=words) as error:
        read_labelme(str(tmp_path), tracks=tracks)
    assert str(error.value).startswith(f"{tmp_path / '1.json'}: shape [0]: ")


def test_images_of_a_video_have_one_size(tmp_path):
    for number, size in enumerate(((48, 64), (60, 80))):
        _image(tmp_path, f"{number}.png", size)
        _write_file(tmp_path, f"{number}.png", [], imageHeight=size[0], imageWidth=size[1])
    with pytest.raises(UserError, match="it has 80x60 pixels, and the first of its video 64x48"):
        read_labelme(str(tmp_path), tracks="group_id")
    assert len(read_labelme(str(tmp_path)).videos) == 2
