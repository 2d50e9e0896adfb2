"""BDD100K's boxes, RLE and bitmasks of tracks: round trips, older files, and faulty ones."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from d2video.formats.bdd100k import read_bdd100k
from d2video.formats.faults import Doubt
from d2video.formats.geometry.rle import encode_masks
from d2video.formats.labels.label_set import LabelSet
from d2video.formats.readers import read_labels
from d2video.utils.errors import UserError
from tests.helpers.mask_pngs import of_classes
from tests.helpers.true_labels import (
    HEIGHT,
    WIDTH,
    TrueVideo,
    assert_equal,
    true_videos,
    write_images,
    write_video,
)

NAMES = {"dog": "car", "cat": "pedestrian"}
NUMBERS = {"pedestrian": 1, "car": 3}


def videos() -> list[TrueVideo]:
    return of_classes(true_videos(), NAMES)


def frames_of(video: TrueVideo, *, masks: bool = False) -> list[dict]:
    frames = []
    for t in range(video.num_frames):
        labels = []
        for each in video.in_frame(t):
            x, y, w, h = each.box
            label = {"id": str(each.track), "category": each.category}
            label["attributes"] = {"occluded": each.occluded, "truncated": False}
            label["attributes"]["crowd"] = each.crowd
            if masks:
                (rle,) = encode_masks(each.mask[None])
                label["rle"] = {**rle, "counts": rle["counts"].decode()}
            else:
                label["box2d"] = {"x1": x, "y1": y, "x2": x + w - 1, "y2": y + h - 1}
            labels.append(label)
        name = f"{video.name}-{t + 1:07d}.jpg"
        frames.append({"name": name, "videoName": video.name, "frameIndex": t})
        frames[-1]["labels"] = labels or None
    return frames[::-1]


def write(root: Path, kind: str, content: dict[str, list[dict]] | None = None) -> Path:
    """``box_track_20/train``, ``seg_track_20/rles/train`` or ``seg_track_20/bitmasks/train``."""
    folder = root / "labels" / kind / "train"
    folder.mkdir(parents=True)
    images = "seg_track_20" if kind.startswith("seg") else "track"
    for video in videos():
        pattern = f"{video.name}-{{:07d}}.jpg"
        write_images(video, root / "images" / images / "train" / video.name, pattern, first=1)
        if kind.endswith("bitmasks"):
            _write_bitmasks(video, folder / video.name)
        else:
            frames = frames_of(video, masks=kind.endswith("rles"))
            (folder / f"{video.name}.json").write_text(
                json.dumps((content or {}).get(video.name, frames))
            )
    return folder


def _write_bitmasks(video: TrueVideo, folder: Path) -> None:
    folder.mkdir()
    for t in range(video.num_frames):
        pixels = np.zeros((HEIGHT, WIDTH, 4), np.uint8)
        for each in video.in_frame(t):
            flags = 2 * each.crowd + 4 * each.occluded
            track = each.track + 300  # B is not 0
            pixels[each.mask] = (NUMBERS[each.category], flags, track // 256, track % 256)
        Image.fromarray(pixels).save(folder / f"{video.name}-{t + 1:07d}.png")


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("box_track_20", {"masks": False}),
        ("seg_track_20/rles", {}),
        ("seg_track_20/bitmasks", {"track_offset": 300}),
    ],
)
def test_round_trip(tmp_path, kind, options):
    folder = write(tmp_path, kind)
    for given in (folder, folder.parent):
        labels = read_labels(str(given))
        assert_equal(labels, videos(), occlusion=True, **options)
    assert labels.classes[:3] == ["pedestrian", "rider", "car"]
    assert labels.benchmark == "BDD100K"
    first = 1 if kind.endswith("bitmasks") else 0
    assert list(labels.videos[0].numbers) == [*range(first, first + 5)]
    assert labels.videos[0].frames[0].endswith("train/clip_a/clip_a-0000001.jpg")


def test_one_file_of_all_videos(tmp_path):
    folder = write(tmp_path, "box_track_20")
    path = tmp_path / "val.json"
    path.write_text(json.dumps({"frames": [f for v in videos() for f in frames_of(v)]}))
    labels = read_labels(str(path), image_root=str(tmp_path / "images" / "track" / "train"))
    assert_equal(labels, videos(), masks=False, occlusion=True)
    path = path.rename(path.with_stem("train"))  # the folder of the images is called so
    for given in (path, tmp_path / "labels"):
        assert_equal(read_labels(str(given)), videos(), masks=False)
    only = folder / "clip_a.json"
    write_video(videos()[1], tmp_path / "clip_a.mp4")
    labels = read_labels(str(only), image_root=str(tmp_path / "clip_a.mp4"))
    assert labels.videos[0].frames[4].endswith("clip_a.mp4#frame=4")
    write_video(videos()[0], tmp_path / "other.mp4")
    with pytest.raises(UserError, match="clip_a.json labels 5 frames, and .*other.mp4 has 8"):
        read_labels(str(only), image_root=str(tmp_path / "other.mp4"))


def one(tmp_path: Path, *labels: dict, frame: dict | None = None, report=None) -> LabelSet:
    """A video whose first frame has these labels."""
    frames = [{**each, "labels": []} for each in frames_of(videos()[1])]
    frames[-1]["labels"] = [*labels]
    frames[-1] |= frame or {}
    folder = write(tmp_path, "box_track_20", {"clip_a": frames})
    path = str(folder / "clip_a.json")
    return read_bdd100k(path) if report is None else read_bdd100k(path, report)


def label(identity="12", category="car", **fields) -> dict:
    box = {"x1": 1, "y1": 2, "x2": 3.5, "y2": 5}
    return {"id": identity, "category": category, "box2d": box, **fields}


def test_boxes_hold_their_last_pixel_and_older_names_are_known(tmp_path):
    older = {"index": 0, "frameIndex": None}
    given = [
        label("7", "motor", attributes={"Occluded": True, "Crowd": False}),
        label("8", "other vehicle"),
        label("9", "rider", attributes={"Crowd": True}),
    ]
    labels = one(tmp_path, *given, frame=older)
    motor, vehicle, crowd = labels.videos[0].objects
    assert (motor.box, motor.track, motor.visibility) == ((1, 2, 3.5, 4), 7, 0)
    assert [labels.classes[each.category] for each in (motor, vehicle, crowd)] == [
        *("motorcycle", "car", "rider")
    ]
    assert [each.ignored for each in (motor, vehicle, crowd)] == [False, True, True]


def test_ids_need_not_be_numbers(tmp_path):
    labels = one(tmp_path, label("00-a"), label("7", "bus"), label("9" * 5000))
    assert [each.track for each in labels.videos[0].objects] == [1, 2, 3]


def test_a_track_of_several_classes_is_one_of_each(tmp_path):
    frames = frames_of(videos()[1])
    frames[0]["labels"], frames[-1]["labels"] = [label("4", "rider")], [label("4", "pedestrian")]
    folder, told = write(tmp_path, "box_track_20", {"clip_a": frames}), []
    labels = read_bdd100k(str(folder / "clip_a.json"), told.append)
    tracks = {
        each.category: each.track for each in labels.videos[0].objects if each.frame in (0, 4)
    }
    assert len({*tracks.values()}) == 2
    assert any(
        isinstance(each, Doubt) and "(such as track 4 of clip_a)" in str(each) for each in told
    )


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            [label(category="traffic light")],
            "label 12 of .*: the class 'traffic light' is not among",
        ),
        ([label(box2d={"x1": 3})], "its box2d, .* lacks one of x1, y1, x2, y2"),
        ([label(None)], r"label \[0\] of clip_a-0000001.jpg: it has no id"),
        ([label(), label()], "track 12 is twice in frame 0"),
        ([3], r"label \[0\] of .* it is not an object"),
        ([label(category=None)], "its category must be a text"),
        (
            [label(box2d=None, poly2d=[{}])],
            "holds poly2d, outlines .*: give the rles or the bitmasks",
        ),
        ([label(box2d=None)], "nothing is left"),
        ([label(rle={"size": [5, 5], "counts": "1"})], "its segmentation: the mask's size is"),
    ],
)
def test_faulty_labels_are_one_line(tmp_path, given, message):
    with pytest.raises(UserError, match=message) as caught:
        one(tmp_path, *given)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        ({"videoName": None}, r"frame \[4\]: it needs videoName and name"),
        ({"videoName": "../clip_a"}, "its videoName, '../clip_a', is not that of a folder"),
        ({"size": {"width": 9, "height": 8}}, "labels frames of 9x8 pixels, and .* has 64x48"),
        ({"size": {"width": 9}}, "its size, 9xnull, must be whole numbers"),
        ({"frameIndex": 2.5}, "its frameIndex, 2.5, is not a whole number"),
        ({"frameIndex": 3}, "a frameIndex of clip_a is there twice"),
        ({"labels": 3}, "its labels are a number, not a list"),
        ({"name": "x.jpg"}, "frame x.jpg: its image is not in"),
    ],
)
def test_faulty_frames_are_one_line(tmp_path, frame, message):
    with pytest.raises(UserError, match=message) as caught:
        one(tmp_path, label(), frame=frame)
    assert "\n" not in str(caught.value)


def test_faulty_bitmasks(tmp_path):
    folder = write(tmp_path, "seg_track_20/bitmasks")
    path = folder / "clip_a" / "clip_a-0000001.png"
    pixels = np.zeros((HEIGHT, WIDTH, 4), np.uint8)
    pixels[:9, :9] = (9, 0, 0, 1)
    Image.fromarray(pixels).save(path)
    with pytest.raises(UserError, match="object 1: its class, 9, is not one of BDD100K's 1 to 8"):
        read_bdd100k(str(folder))
    Image.fromarray(pixels[..., :3]).save(path)
    with pytest.raises(UserError, match="its pixels are RGB, not RGBA"):
        read_bdd100k(str(folder))


def test_what_is_no_split(tmp_path):
    folder = write(tmp_path, "box_track_20")
    (folder.parent / "val").mkdir()
    (folder.parent / "val" / "x.json").write_text("[]")
    with pytest.raises(UserError, match="holds several splits .*: give one of them, or its name"):
        read_bdd100k(str(tmp_path))
    assert len(read_bdd100k(str(tmp_path), split="train").videos) == 2
    with pytest.raises(UserError, match="has no split 'test': it has .*/train, .*/val"):
        read_bdd100k(str(tmp_path), split="test")
    with pytest.raises(UserError, match="holds no labelled frame"):
        read_bdd100k(str(folder.parent / "val"))
    (tmp_path / "none").mkdir()
    with pytest.raises(UserError, match="holds neither JSON files nor bitmasks"):
        read_bdd100k(str(tmp_path / "none"))
    (folder / "again.json").write_bytes((folder / "clip_a.json").read_bytes())
    with pytest.raises(UserError, match="clip_a.json and .*again.json have frames of clip_a: give"):
        read_bdd100k(str(folder))
    (folder / "again.json").write_text("[3]")
    with pytest.raises(UserError, match=r"again.json: frame \[0\]: it is not an object"):
        read_bdd100k(str(folder))
    (folder / "again.json").write_text('{"images": []}')
    with pytest.raises(UserError, match="must be a list of frames, and is an object"):
        read_bdd100k(str(folder))
