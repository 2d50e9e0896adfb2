"""Label Studio's exports of images: rectangles, polygons, ellipses and the brush."""

import contextlib
import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from d2video.formats.faults import EntryError, LeftOut
from d2video.formats.label_studio import read_label_studio
from d2video.formats.label_studio_brush import decode_brush
from d2video.formats.readers import read_labels
from d2video.utils.errors import UserError
from tests.helpers.findings import one_line
from tests.helpers.true_labels import HEIGHT, WIDTH, true_videos, write_images


def encode_brush(
    mask: np.ndarray, *, values_alike: int = 3, length_bits=(3, 4, 8, 16)
) -> list[int]:
    """A mask as Label Studio's editor packs it: runs of one value, and literal ones where it changes.

    Args:
        values_alike: from so many on they are a run.
    """
    values = np.zeros((*mask.shape, 4), np.uint8)
    values[mask] = 255, 0, 128, 200  # alpha is not always 255
    values[~mask] = 9, 9, 9, 0
    flat = values.ravel().tolist()
    bits = [f"{len(flat):032b}", f"{8 - 1:05b}", *(f"{width - 1:04b}" for width in length_bits)]

    def write(run: list[int], repeated: bool) -> None:
        while run:
            part, run = run[: 2 ** max(length_bits)], run[2 ** max(length_bits) :]
            which = next(k for k, width in enumerate(length_bits) if len(part) <= 2**width)
            bits.append(f"{int(repeated)}{which:02b}{len(part) - 1:0{length_bits[which]}b}")
            bits.extend(f"{value:08b}" for value in (part[:1] if repeated else part))

    literal: list[int] = []
    place = 0
    while place < len(flat):
        end = place
        while end < len(flat) and flat[end] == flat[place]:
            end += 1
        if end - place >= values_alike:
            write(literal, False)
            write(flat[place:end], True)
            literal = []
        else:
            literal += flat[place:end]
        place = end
    write(literal, False)
    text = "".join(bits)
    text += "0" * (-len(text) % 8)
    return [int(text[k : k + 8], 2) for k in range(0, len(text), 8)]


def shape(kind: str, label="cat", identity="a", **value) -> dict:
    return {
        "id": identity,
        "type": kind,
        "original_width": WIDTH,
        "original_height": HEIGHT,
        "image_rotation": 0,
        "value": {**value, kind: [label]},
    }


def task(identity: int, results: list[dict], image: str) -> dict:
    annotation = {"result": results, "was_cancelled": False}
    return {"id": identity, "annotations": [annotation], "data": {"image": image}}


def read(folder: Path, *results: dict):
    """Objects and findings of one image."""
    Image.fromarray(np.zeros((HEIGHT, WIDTH, 3), np.uint8)).save(folder / "a.png")
    path = folder / "export.json"
    path.write_text(json.dumps([task(1, [*results], "/data/upload/3/01234567-a.png")]))
    found = []
    labels = read_label_studio(str(path), found.append)
    return [each for _, each in labels.objects()], found


def decoded(each) -> np.ndarray:
    return coco_mask.decode(each.mask).astype(bool)


def write_truth(video, folder: Path, frames, values_alike: int = 3) -> Path:
    """The images of a video, of which some frames are labelled with the brush."""
    write_images(video, folder, "{}.png")
    tasks = []
    for frame in frames:
        results = []
        for each in video.in_frame(frame):
            rle = encode_brush(each.mask, values_alike=values_alike)
            brush = shape("brushlabels", each.category, f"{each.track}", format="rle", rle=rle)
            results.append(brush)
        tasks.append(task(frame, results, f"/data/upload/3/01234567-{frame}.png"))
    path = folder / "export.json"
    path.write_text(json.dumps(tasks))
    return path


@pytest.mark.parametrize("values_alike", [1, 3, 10**9])  # runs only, mixed, literals only
def test_round_trip_of_the_brush(tmp_path, values_alike):
    (video, _) = true_videos(crowd=False)
    frames = 0, 2, 7  # the last one is empty
    path = write_truth(video, tmp_path, frames, values_alike)
    labels = read_labels(str(path))
    assert not labels.tracked
    assert [image.name for image in labels.videos] == ["0.png", "2.png", "7.png"]
    for frame, image in zip(frames, labels.videos, strict=True):
        truth = video.in_frame(frame)
        assert [labels.classes[o.category] for o in image.objects] == [o.category for o in truth]
        for each, true in zip(image.objects, truth, strict=True):
            assert (decoded(each) == true.mask).all()
            assert each.box == true.box


def test_the_brush_of_a_large_mask():
    """1080p, as fast as its runs are few."""
    mask = np.zeros((1080, 1920), bool)
    rows, columns = np.mgrid[:1080, :1920]
    mask[(rows - 500) ** 2 + (columns - 900) ** 2 < 300**2] = True
    # In rows of whole-pixel runs; a word size of 32 would do as well.
    rle = encode_brush(mask[490:510])
    assert (decode_brush(rle, 20, 1920) == mask[490:510]).all()


def test_shapes_in_per_cent(tmp_path):
    (box, turned, polygon, ellipse), found = read(
        tmp_path,
        shape("rectanglelabels", x=25, y=50, width=50, height=25, rotation=0),
        shape("rectanglelabels", x=50, y=25, width=25, height=25, rotation=90),
        shape("polygonlabels", "dog", points=[[25, 25], [75, 25], [75, 50], [25, 50]]),
        shape("ellipselabels", x=50, y=50, radiusX=25, radiusY=12.5, rotation=30),
    )
    assert box.box == (16, 24, 32, 12)
    assert box.mask is None
    np.testing.assert_allclose(turned.box, [20, 12, 12, 16])  # about its left top corner
    square = np.zeros((HEIGHT, WIDTH), bool)
    square[12:24, 16:48] = True
    assert (decoded(polygon) == square).all()
    ys, xs = np.mgrid[:HEIGHT, :WIDTH] + 0.5
    # 16 by 6 pixels; clockwise, so that the right end is lower.
    cos, sin = np.cos(np.pi / 6), np.sin(np.pi / 6)
    along, across = (xs - 32) * cos + (ys - 24) * sin, (ys - 24) * cos - (xs - 32) * sin
    distance = np.hypot(along / 16, across / 6)
    assert decoded(ellipse)[distance < 0.9].all()
    assert not decoded(ellipse)[distance > 1.1].any()
    assert not any(isinstance(each, LeftOut) for each in found)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"original_width": 80}, "its labels are for 80x48 pixels, and .*a.png has 64x48"),
        ({"original_width": None}, "its labels are for nullx48 pixels"),
        ({"image_rotation": 90}, "turned by 90 degrees"),
        ({"value": {"rectanglelabels": ["cat"], "x": "1"}}, "must be numbers"),
    ],
)
def test_bad_rectangles_are_one_line(tmp_path, change, words):
    sound = shape("rectanglelabels", x=25, y=50, width=50, height=25)
    _, (fault,) = read(tmp_path, sound, sound | change | {"id": "bad"})
    assert str(fault).startswith(f"{tmp_path / 'export.json'}: result bad of task 1: ")
    assert re.search(words, str(fault))


@pytest.mark.parametrize(
    ("kind", "value", "words"),
    [
        ("brushlabels", {"format": "png"}, "the format of its mask, 'png', is not rle"),
        ("brushlabels", {"format": "rle", "rle": 5}, "is not a list of bytes"),
        ("brushlabels", {"format": "rle", "rle": [300]}, "is not a list of bytes"),
        ("brushlabels", {"format": "rle", "rle": []}, "its rle ends within a run"),
        ("polygonlabels", {"points": [[1, 2], [3]]}, "are not pairs of numbers"),
        ("ellipselabels", {"x": 1, "y": 2, "radiusX": 3}, "its radiusX, radiusY"),
        ("rectanglelabels", {"x": 1, "y": 2, "width": 3, "height": 4, "rotation": "a"}, "rotation"),
    ],
)
def test_bad_values_are_one_line(tmp_path, kind, value, words):
    sound = shape("rectanglelabels", x=25, y=50, width=50, height=25)
    _, (fault,) = read(tmp_path, sound, shape(kind, identity="bad", **value))
    assert "result bad of task 1: " in str(fault)
    assert words in str(fault)


def test_a_polygon_of_two_points_is_counted(tmp_path):
    sound = shape("polygonlabels", points=[[25, 25], [75, 25], [75, 50]])
    objects, found = read(tmp_path, sound, shape("polygonlabels", points=[[1, 1], [9, 9]]))
    assert len(objects) == 1
    assert "1 with fewer than three points" in " ".join(map(str, found))


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda rle: rle[:-3], "ends within a run"),
        (lambda rle: [0, 0, 0, 8, *rle[4:]], "is for 2 pixels, and an image of 64x48"),
        (lambda rle: [*rle[:7], 255, *rle[8:]], "ends within a run|more values than it says"),
    ],
)
def test_damaged_brushes(damage, words):
    rle = encode_brush(np.eye(HEIGHT, WIDTH, dtype=bool))
    with pytest.raises(EntryError, match=words):
        decode_brush(damage(rle), HEIGHT, WIDTH)


def test_any_damage_is_an_entry_error_or_a_mask():
    rng = np.random.default_rng(0)
    sound = encode_brush(np.eye(8, 12, dtype=bool))
    for _ in range(300):
        rle = [*sound]
        rle[rng.integers(4, len(rle))] = int(rng.integers(256))
        with contextlib.suppress(EntryError):
            assert decode_brush(rle, 8, 12).shape == (8, 12)


@pytest.mark.parametrize("kind", ["rectangle", "polygon", "ellipse", "brush"])
def test_shapes_whose_label_stands_apart(tmp_path, kind):
    """As of the tags Rectangle and Labels."""
    rle = encode_brush(np.eye(HEIGHT, WIDTH, dtype=bool))
    place = {"x": 25, "y": 50, "width": 50, "height": 25, "radiusX": 9, "radiusY": 9}
    value = place | {"points": [[25, 25], [75, 25], [75, 50]], "format": "rle", "rle": rle}
    with_label = shape(f"{kind}labels", identity="a", **value)
    alone = with_label | {"type": kind, "value": value}
    label = with_label | {"type": "labels", "value": place | {"labels": ["cat"]}}
    others = label | {"id": "b"}, alone | {"id": "c"}
    (wanted,), _ = read(tmp_path, with_label)
    (each,), (told,) = read(tmp_path, label, alone, *others)
    assert each == wanted
    assert "2 of 4 results are used; left out: 1 of type labels, 1 without a label" in str(told)


def test_two_tasks_of_one_image(tmp_path):
    sound = shape("rectanglelabels", x=25, y=50, width=50, height=25)
    read(tmp_path, sound)
    path = tmp_path / "export.json"
    path.write_text(json.dumps([task(k, [sound], f"/x/{k:08d}-a.png") for k in (1, 2)]))
    with one_line(str(path), "task 2: its image is ", "a.png, and so is that of task 1"):
        read_label_studio(str(path))


def test_an_image_that_is_not_there(tmp_path):
    path = tmp_path / "export.json"
    path.write_text(json.dumps([task(4, [], "s3://bucket/set/b.png")]))
    with pytest.raises(
        UserError, match="task 4: its image is not in .*looked for .*set/b.png, b.png"
    ):
        read_label_studio(str(path))
