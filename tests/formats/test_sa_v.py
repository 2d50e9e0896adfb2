"""SA-V: masklets as JSON with a video (train), and as PNGs (val, test)."""

import json
from pathlib import Path

import numpy as np
import pytest

import d2video.formats.readers  # noqa: F401
from d2video.formats.geometry.rle import encode_masks
from d2video.formats.labels.exports import find_exports
from d2video.formats.sa_v import read_sa_v
from tests.helpers.findings import one_line
from tests.helpers.mask_pngs import of_one_class, write_grey
from tests.helpers.true_labels import (
    HEIGHT,
    WIDTH,
    TrueObject,
    TrueVideo,
    assert_equal,
    true_videos,
    write_images,
    write_video,
)

STEP = 4


def _rle(mask: np.ndarray) -> dict:
    (code,) = encode_masks(mask[None])
    return {"size": [HEIGHT, WIDTH], "counts": code["counts"].decode()}


def content_of(video: TrueVideo, kind: str = "manual", absent=None) -> dict:
    """As Meta writes it: numbers of the video are floats."""
    rows = []
    for frame in range(video.num_frames):
        masks = {o.track: _rle(o.mask) for o in video.in_frame(frame)}
        rows.append([masks.get(track, absent) for track in video.tracks])
    return {
        "video_id": video.name,
        "video_frame_count": float(STEP * video.num_frames - 2),
        "video_height": float(HEIGHT),
        "video_width": float(WIDTH),
        "masklet": rows,
        "masklet_id": [*video.tracks],
        "masklet_frame_count": [float(video.num_frames)] * len(video.tracks),
        "masklet_type": [kind] * len(video.tracks),
    }


def with_frames_between(video: TrueVideo) -> TrueVideo:
    """The video that is labelled in every fourth frame; the last one is followed by one frame."""
    objects = tuple(TrueObject(STEP * o.frame, o.track, o.category, o.mask) for o in video.objects)
    return TrueVideo(video.name, STEP * video.num_frames - 2, objects)


@pytest.fixture
def truth() -> list[TrueVideo]:
    return of_one_class(true_videos(crowd=False), "object")


@pytest.fixture
def train(tmp_path: Path, truth) -> Path:
    """Two videos, one of which also has automatic masklets, whose ids are the same."""
    root = write_train(truth, tmp_path / "sav_train")
    _write_json(root / "sav_000/clip_a_auto.json", content_of(truth[1], "auto"))
    return root


def write_train(truth: list[TrueVideo], root: Path) -> Path:
    """Two videos with their masklets: absent objects of one are masks of zeros, of the other null."""
    zeros = _rle(np.zeros((HEIGHT, WIDTH), bool))
    for video, absent in zip(truth, (zeros, None), strict=True):
        write_video(with_frames_between(video), root / "sav_000" / f"{video.name}.mp4")
        _write_json(root / f"sav_000/{video.name}_manual.json", content_of(video, absent=absent))
    return root


def _write_json(path: Path, content) -> None:
    path.write_text(json.dumps(content))


def test_train(train, truth):
    assert find_exports(str(train)).format == "sa_v"
    found = []
    labels = read_sa_v(str(train), found.append)
    assert_equal(labels, truth)
    video = next(each for each in labels.videos if each.name == "clip_b")
    assert [*video.numbers] == [*range(0, 32, 4)]
    assert video.frames[3] == f"{train}/sav_000/clip_b.mp4#frame=12"
    assert [str(each) for each in found] == [
        f"{train}: 2 of 3 JSON files are used; left out: 1 of auto masklets; masklets chooses the kind"
    ]


def test_kinds_of_masklets(train, truth):
    labels = read_sa_v(str(train), lambda _: None, masklets="auto")
    assert_equal(labels, truth[1:])
    single = str(train / "sav_000/clip_a_auto.json")
    assert find_exports(single).format == "sa_v"
    assert_equal(read_sa_v(single), truth[1:])


@pytest.mark.parametrize(
    "form",
    [
        lambda content: content["masklet"],
        lambda content: {"masks": content["masklet"], "fps": [6.0]},
        lambda content: {"masks": content["masklet"], "fps": 24},
    ],
)
def test_forms_that_sam_2_reads(tmp_path, truth, form):
    video = TrueVideo(truth[0].name, 8, truth[0].objects)
    content = form(content_of(video))
    step = 1 if isinstance(content, dict) and content["fps"] == 24 else STEP
    shown = video if step == 1 else with_frames_between(video)
    write_images(shown, tmp_path / "clip_b")
    _write_json(tmp_path / "clip_b.json", content)
    assert find_exports(str(tmp_path / "clip_b.json")).format == "sa_v"
    labels = read_sa_v(str(tmp_path / "clip_b.json"))
    assert [*labels.videos[0].numbers] == [step * k for k in range(8)]
    # Without masklet_id the tracks are the columns.
    columns = {track: k for k, track in enumerate(video.tracks)}
    objects = tuple(TrueObject(o.frame, columns[o.track], "object", o.mask) for o in video.objects)
    assert_equal(labels, [TrueVideo("clip_b", 8, objects)])


def write_val(videos: list[TrueVideo], root: Path, *, empty: bool) -> Path:
    for video in videos:
        write_images(
            with_frames_between(video), root / "JPEGImages_24fps" / video.name, "{:05d}.jpg"
        )
        for track in video.tracks:
            masks = {o.frame: o.mask for o in video.of_track(track)}
            for frame in range(video.num_frames):
                mask = masks.get(frame, np.zeros((HEIGHT, WIDTH), bool))
                if mask.any() or empty:
                    name = f"{video.name}/{track:03d}/{STEP * frame:05d}.png"
                    write_grey(mask.astype(np.uint8) * 255, root / "Annotations_6fps" / name)
    return root


def test_val_keeps_overlaps(tmp_path, truth):
    objects = []
    for each in truth[0].objects:
        objects.append(each)
        if each.track == 1:  # a part of object 1
            part = each.mask.copy()
            part[: HEIGHT // 2] = False
            objects += [TrueObject(each.frame, 3, "object", part)] * bool(part.any())
    truth[0] = TrueVideo("clip_b", 8, tuple(objects))
    write_val(truth, tmp_path / "sav_val", empty=True)
    for path in (tmp_path / "sav_val", tmp_path / "sav_val" / "Annotations_6fps"):
        assert find_exports(str(path)).format == "sa_v"
        labels = read_sa_v(str(path))
        assert_equal(labels, truth)
    assert labels.videos[1].numbers == [*range(0, 32, 4)]


def test_val_objects_without_a_file_are_absent(tmp_path, truth):
    write_val(truth, tmp_path, empty=False)
    labels = read_sa_v(str(tmp_path), image_root=str(tmp_path / "JPEGImages_24fps"))
    # No file, no frame: nothing says that somebody looked at the last one.
    truth[0] = TrueVideo("clip_b", 7, truth[0].objects)
    assert_equal(labels, truth)


def _row(content: dict, number: int, mask) -> dict:
    content["masklet"][number][0] = mask
    return content


BAD_FILES = {
    "row 1 of 'masklet' has 2 masks, and the first 3": lambda c: c["masklet"][1].pop() and c,
    "'masklet_id' is \\[1, 1, 7\\]": lambda c: c | {"masklet_id": [1, 1, 7]},
    "has no 'masklet'": lambda c: {"masklet": []},
    "'fps' is 7": lambda c: {"masks": c["masklet"], "fps": 7},
    "row 1, masklet 1: its segmentation: the mask's size is \\[64, 48\\]": lambda c: _row(
        c, 1, {"size": [WIDTH, HEIGHT], "counts": "x"}
    ),
    "row 2, masklet 1: its segmentation: 'counts' is not": lambda c: _row(
        c, 2, {"size": [HEIGHT, WIDTH], "counts": "0P"}
    ),
    "row 0, masklet 1: its segmentation": lambda c: _row(c, 0, 7),
    "labels frames of 48x64 pixels, and .* has 64x48": lambda c: (
        c | {"video_height": float(WIDTH), "video_width": float(HEIGHT)}
    ),
    "9 rows of .* reach to frame 32, and .* has 30 frames": lambda c: (
        c["masklet"].append(c["masklet"][0]) or c
    ),
}


@pytest.mark.parametrize("message", BAD_FILES)
def test_bad_files_are_one_line(train, truth, message):
    path = train / "sav_000/clip_b_manual.json"
    path.write_text(json.dumps(BAD_FILES[message](json.loads(path.read_text()))))
    with one_line("clip_b_manual.json", match=message):
        read_sa_v(str(train))


def test_wrong_places_and_options_are_one_line(tmp_path, train, truth):
    odd = np.zeros((HEIGHT, WIDTH), np.uint8)
    odd[0, :2] = 1, 2
    write_val(truth[1:], tmp_path / "val", empty=True)
    write_grey(odd, tmp_path / "val/Annotations_6fps/clip_a/001/00004.png")
    write_grey(np.array([[1, 2]], np.uint8), tmp_path / "size" / "0.png")
    for number in "01":
        (train.parent / "twice" / f"00{number}").mkdir(parents=True)
        _write_json(train.parent / f"twice/00{number}/clip_b_manual.json", {})
    write_val(truth[1:], tmp_path / "named", empty=True)
    named = tmp_path / "named/Annotations_6fps/clip_a"
    (named / "001").rename(named / "one")
    for message, root, options in (
        ("masklets is 'all': choose", train, {"masklets": "all"}),
        ("frame_step is 0", train, {"frame_step": 0}),
        ("no JSON file of masklets 'manual'", tmp_path / "size", {}),
        ("001/clip_b_manual.json and .* are of one video", train.parent / "twice", {}),
        ("clip_a/one is not called by the number", tmp_path / "named", {}),
        ("frames are not in .*size", train, {"image_root": str(tmp_path / "size")}),
        ("has the numbers 1, 2, and a mask of SA-V has one", tmp_path / "val", {}),
    ):
        with one_line(match=message):
            read_sa_v(str(root), **options)
    found = []
    content = content_of(truth[0])
    content["masklet"] = content["masklet"][:4]
    _write_json(train / "sav_000/clip_b_manual.json", content)
    read_sa_v(str(train / "sav_000/clip_b_manual.json"), found.append)
    assert "4 rows end at frame 12, and" in str(found[0])
