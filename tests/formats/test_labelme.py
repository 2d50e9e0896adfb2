"""labelme's files, written as labelme writes them, and what is wrong with some."""

import base64
import io
import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from d2video.formats.faults import Doubt, LeftOut
from d2video.formats.labelme import read_labelme
from d2video.formats.labels.exports import find_exports
from d2video.formats.labels.label_set import EVERY_CLASS
from d2video.formats.readers import read_labels
from d2video.utils.errors import UserError
from tests.helpers.true_labels import (
    HEIGHT,
    WIDTH,
    assert_equal,
    renumbered,
    true_videos,
    write_images,
)

REAL = Path(__file__).resolve().parents[3] / "shared/data/real/labelme_video"


def _png(mask: np.ndarray) -> str:
    file = io.BytesIO()
    Image.fromarray(mask).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def as_mask(each) -> list[dict]:
    x, y, w, h = each.box
    crop = each.mask[y : y + h, x : x + w]
    return [{"shape_type": "mask", "points": [[x, y], [x + w - 1, y + h - 1]], "mask": _png(crop)}]


def as_polygons(each) -> list[dict]:
    """A polygon a row of pixels, so that the mask is their union, and exact."""
    shapes = []
    for y in np.flatnonzero(each.mask.any(axis=1)).tolist():
        xs = np.flatnonzero(np.diff(each.mask[y], prepend=False, append=False)).tolist()
        for left, right in zip(xs[::2], xs[1::2], strict=True):
            points = [[left, y], [right, y], [right, y + 1.0], [left, y + 1.0]]
            shapes.append({"points": points})  # no type: an old file
    return shapes


def as_rectangle(each) -> list[dict]:
    x, y, w, h = each.box
    return [{"shape_type": "rectangle", "points": [[x + w, y], [x, y + h]]}]


def write(truth, root: Path, shapes_of=as_mask, label="{0.category}", grouped=True) -> None:
    for video in truth:
        write_images(video, root / video.name, "{:d}.png")
        for frame in range(video.num_frames):
            shapes = [
                {"label": label.format(each), "group_id": each.track if grouped else None} | shape
                for each in video.in_frame(frame)
                for shape in shapes_of(each)
            ]
            _write_file(root / video.name, f"{frame}.png", shapes)


def _write_file(folder: Path, image: str, shapes, **more) -> Path:
    content = {"version": "5.5.0", "flags": {}, "shapes": shapes, "imagePath": image}
    content |= {"imageData": None, "imageHeight": HEIGHT, "imageWidth": WIDTH}
    path = folder / f"{Path(image.replace(chr(92), '/')).stem}.json"
    path.write_text(json.dumps(content | more))
    return path


def _image(folder: Path, name: str = "a.png", size=(HEIGHT, WIDTH)) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.zeros((*size, 3), np.uint8)).save(folder / name)


def _one(folder: Path, *shapes: dict, **options):
    """Set and findings of an image with these shapes, each a cat by default."""
    _image(folder)
    _write_file(folder, "a.png", [{"label": "cat"} | shape for shape in shapes])
    found = []
    return read_labelme(str(folder), found.append, **options), found


def _decoded(labels) -> list[np.ndarray]:
    return [coco_mask.decode(each.mask).astype(bool) for _, each in labels.objects()]


@pytest.mark.parametrize("shapes_of", [as_mask, as_polygons, as_rectangle])
def test_round_trip_of_videos_by_group_id(tmp_path, shapes_of):
    truth = true_videos(crowd=False)
    write(truth, tmp_path, shapes_of)
    labels = read_labels(str(tmp_path), tracks="group_id")
    assert labels.classes == ["cat", "dog"]
    assert_equal(labels, truth, masks=shapes_of is not as_rectangle)  # exact: whole pixels
    assert [*labels.videos[0].numbers] == [*range(5)]


def test_round_trip_of_videos_by_label(tmp_path):
    truth = true_videos(crowd=False)
    write(truth, tmp_path, as_polygons, label="{0.category}-{0.track}", grouped=False)
    assert_equal(read_labelme(str(tmp_path), tracks="label"), renumbered(truth))


def test_images_stand_by_themselves_and_say_how_not_to(tmp_path):
    truth = true_videos(crowd=False)
    write(truth, tmp_path, as_mask)
    found = []
    labels = read_labelme(str(tmp_path), found.append)
    assert not labels.tracked
    assert len(labels.videos) == 13
    assert [video.name for video in labels.videos[:2]] == ["clip_a/0", "clip_a/1"]
    (each,) = found
    assert isinstance(each, LeftOut)
    assert each.reasons.total() == 19
    assert "tracks" in str(each)


def test_order_tells_tracks_where_counts_agree(tmp_path):
    box = {"shape_type": "rectangle", "label": "cat"}
    frames = [[[1, 1], [9, 9]], [[20, 20], [30, 30]]], [[[2, 2], [9, 9]], [[21, 20], [30, 30]]]
    for number, boxes in enumerate(frames):
        _image(tmp_path, f"{number}.png")
        _write_file(tmp_path, f"{number}.png", [box | {"points": each} for each in boxes])
    _image(tmp_path, "2.png")
    _write_file(tmp_path, "2.png", [])
    (video,) = read_labelme(str(tmp_path), tracks="order").videos
    assert [(o.frame, o.track, o.box[0]) for o in video.objects] == [
        (0, 1, 1),
        (0, 2, 20),
        (1, 1, 2),
        (1, 2, 21),
    ]
    path = _write_file(tmp_path, "2.png", [box | {"points": frames[0][0]}])
    with pytest.raises(UserError, match=f"{path}: .*it has 1 object 'cat'.*before has 2"):
        read_labelme(str(tmp_path), tracks="order")


def test_what_nobody_looked_at_is_no_frame(tmp_path):
    for number in (3, 10, 20, 21):
        _image(tmp_path, f"{number}.jpg")
    for number in (10, 20, 3):
        _write_file(tmp_path, f"{number}.jpg", [])
    shape = {"label": "cat", "group_id": 1, "points": [[1, 1], [9, 1], [9, 9]]}
    _write_file(tmp_path, "10.jpg", [shape])
    (tmp_path / "other.json").write_text("[]")
    found = []
    (video,) = read_labelme(str(tmp_path), found.append, tracks="group_id").videos
    assert [*video.numbers] == [3, 10, 20]  # not 10, 20, 3
    assert [str(each).removeprefix(f"{tmp_path}: ") for each in found] == [
        "3 of 4 JSON files are used; left out: 1 that are not labelme's",
        "3 of 4 images are used; left out: 1 without a JSON file, which nobody has labelled",
    ]


def test_a_circle_covers_the_pixels_within(tmp_path):
    labels, _ = _one(tmp_path, {"shape_type": "circle", "points": [[30, 24], [30, 34]]})
    (mask,) = _decoded(labels)
    ys, xs = np.mgrid[:HEIGHT, :WIDTH] + 0.5
    distance = np.hypot(xs - 30, ys - 24)
    assert mask[distance < 9.3].all()
    assert not mask[distance > 10.7].any()
    assert mask.sum() == pytest.approx(np.pi * 100, rel=0.01)


def test_shapes_of_a_group_are_one_object(tmp_path):
    square = {"group_id": 4, "points": [[2, 2], [6, 2], [6, 6], [2, 6]]}
    mask = {"group_id": 4, "shape_type": "mask", "points": [[10.7, 20], [12.7, 22]]}
    mask["mask"] = _png(np.eye(3, dtype=np.uint8))
    other = square | {"label": "dog"}
    labels, _ = _one(tmp_path, square, mask, other, square | {"group_id": None})
    union, dog, alone = _decoded(labels)
    expected = np.zeros((HEIGHT, WIDTH), bool)
    expected[2:6, 2:6] = True
    assert (dog == expected).all()
    assert (alone == expected).all()
    expected[[20, 21, 22], [10, 11, 12]] = True
    assert (union == expected).all()
    assert [labels.classes[o.category] for _, o in labels.objects()] == ["cat", "dog", "cat"]


def test_a_rectangle_is_never_a_mask(tmp_path):
    polygon = {"group_id": 1, "points": [[2, 2], [6, 2], [6, 6], [2, 6]]}
    around = {"group_id": 1, "shape_type": "rectangle", "points": [[20, 30], [1, 1]]}
    turned = {
        "shape_type": "oriented_rectangle",
        "points": [[30, 10], [40, 20], [30, 30], [20, 20]],
    }
    labels, found = _one(tmp_path, polygon, around, turned)
    both, box = (each for _, each in labels.objects())
    assert both.box == (1, 1, 19, 29)
    assert coco_mask.area(both.mask) == 16
    assert box.box == (20, 10, 20, 20)
    assert box.mask is None
    assert [type(each) for each in found] == [LeftOut, Doubt]
    assert "0 of 1 rotations of boxes are used" in str(found[0])


def test_a_mask_that_leaves_the_image_is_cut(tmp_path):
    crop = np.arange(20).reshape(4, 5) % 2 == 0
    shape = {"shape_type": "mask", "mask": _png(crop.astype(np.uint8) * 255)}
    labels, found = _one(
        tmp_path,
        shape | {"points": [[-2, -1], [2, 2]]},
        shape | {"points": [[WIDTH - 2, HEIGHT - 3], [WIDTH + 2, HEIGHT]]},
        shape | {"points": [[WIDTH, 3], [WIDTH + 4, 6]]},
        shape | {"points": [[3, -9], [7, -6]]},
    )
    assert "left out: 2 without a shape that covers a pixel" in str(found[0])
    first, last = _decoded(labels)
    assert (first[:3, :3] == crop[1:, 2:]).all()
    assert first.sum() == crop[1:, 2:].sum()
    assert (last[-3:, -2:] == crop[:3, :2]).all()
    assert last.sum() == crop[:3, :2].sum()


def test_points_and_lines_are_counted(tmp_path):
    square = {"points": [[2, 2], [6, 2], [6, 6], [2, 6]], "flags": {"blurred": True, "new": False}}
    skipped = [
        {"shape_type": kind, "points": [[1, 1]]}
        for kind in ("point", "point", "points", "line", "linestrip")
    ]
    labels, found = _one(tmp_path, square, *skipped, {"points": [[1, 1], [3, 3]]})
    assert labels.tally.used == 1
    told = " ".join(map(str, found))
    for part in ("2 of type point", "1 of type linestrip", "1 with fewer than three points"):
        assert part in told
    assert "left out: 1 of images and shapes" in told  # the flag that is set


def test_an_image_whose_json_is_faulty_has_one(tmp_path):
    _image(tmp_path, "b.png")
    (tmp_path / "b.json").write_text('{"shapes": [')
    _, (fault,) = _one(tmp_path, {"points": [[2, 2], [6, 2], [6, 6]]})
    assert "b.json is not JSON" in str(fault)


def test_shapes_of_x_anylabeling(tmp_path):
    """Rectangles have four corners, rotations an angle besides; attributes and what is difficult count."""
    corners = {"shape_type": "rectangle", "points": [[1, 2], [9, 2], [9, 6], [1, 6]]}
    turned = {"shape_type": "rotation", "points": [[30, 10], [40, 20], [30, 30], [20, 20]]}
    others = {"direction": 0.8, "difficult": True, "attributes": {"colour": "red"}}
    labels, found = _one(tmp_path, corners, turned | others)
    assert [each.box for _, each in labels.objects()] == [(1, 2, 8, 4), (20, 10, 20, 20)]
    text = " ".join(map(str, found))
    assert "left out: 2 of images and shapes" in text
    assert "0 of 1 rotations" in text


@pytest.mark.parametrize("tracks", [None, "group_id", "label", "order"])
def test_what_labelme_means_to_be_ignored(tmp_path, tracks):
    first = {"points": [[2, 2], [6, 2], [6, 6], [2, 6]], "group_id": 1}
    other = {"points": [[30, 2], [36, 2], [36, 6], [30, 6]]}
    ignored, background = other | {"label": "__ignore__"}, other | {"label": "_background_"}
    labels, found = _one(tmp_path, first | {"label": "cat-1"}, ignored, background, tracks=tracks)
    assert labels.classes == (["cat"] if tracks == "label" else ["cat-1"])
    (cat, region) = (each for _, each in labels.objects())
    assert (cat.ignored, region.ignored) == (False, True)
    assert (region.category, region.box) == (EVERY_CLASS, (30, 2, 6, 4))
    assert "1 labelled _background_" in " ".join(map(str, found))


def test_copies_and_spellings_are_doubted(tmp_path):
    square = {"points": [[2, 2], [6, 2], [6, 6], [2, 6]]}
    _image(tmp_path)
    path = _write_file(tmp_path, "a.png", [square | {"label": "cat"}])
    path.with_stem("a copy").write_text(path.read_text().replace('"cat"', '"Cat "'))
    hidden = tmp_path / ".ipynb_checkpoints" / "a-checkpoint.json"
    hidden.parent.mkdir()
    hidden.write_text(path.read_text())
    (tmp_path / "0.json").write_text("{}")  # another program's
    assert find_exports(str(tmp_path)).format == "labelme"
    found = []
    read_labelme(str(tmp_path), found.append)
    one, other = (str(each) for each in found if isinstance(each, Doubt))
    assert f"labelled twice (1), such as {tmp_path}/a.png in a copy and in a" in one
    assert "such as 'cat' and 'Cat '" in other


@pytest.mark.parametrize(
    ("stated", "place", "image_root"),
    [
        ("..\\images\\a.png", "images/a.png", False),
        ("C:\\Users\\me\\a.png", "labels/sub/a.png", False),
        ("../images/a.png", "elsewhere/sub/a.png", True),
        ("../images/a.png", "elsewhere/a.png", True),
    ],
)
def test_where_images_are(tmp_path, stated, place, image_root):
    folder = tmp_path / "labels" / ("sub" if "sub" in place else "")
    folder.mkdir(parents=True)
    _image((tmp_path / place).parent)
    path = _write_file(folder, stated, [])
    root = str(tmp_path / "elsewhere") if image_root else None
    (video,) = read_labelme(str(tmp_path / "labels"), image_root=root).videos
    assert os.path.samefile(video.frames[0], tmp_path / place)
    if not image_root:
        assert read_labelme(str(path)).videos[0].frames == video.frames


def test_real_frames():
    """Five frames of labelme's own example of a video, without group_ids."""
    if not REAL.is_dir():
        pytest.skip("../shared/data/real is not there")
    images = read_labels(str(REAL))
    assert 'set tracks to "group_id"' in str(images.track_advice)
    assert images.classes == ["car", "track"]
    assert not images.tracked
    assert len(images.videos) == 5
    assert images.tally.used == 15
    (video,) = read_labels(str(REAL), tracks="order").videos
    assert video.size == (563, 1000)
    assert [*video.numbers] == [100, 101, 102, 103, 104]
    assert [each.track for each in video.objects] == [1, 2, 3] * 5
    lefts = [each.box[0] for each in video.objects if each.track == 1]
    assert lefts == sorted(lefts, reverse=True)  # the camera moves
    with pytest.raises(UserError, match="00000100.json: shape .0.: it has no group_id"):
        read_labels(str(REAL), tracks="group_id")
