"""YouTube-VOS: palette masks with classes in meta.json."""

import json
from pathlib import Path

import pytest

import d2video.formats.readers  # noqa: F401
from d2video.formats.labels.exports import find_exports
from d2video.formats.youtube_vos import read_youtube_vos
from tests.helpers.findings import one_line
from tests.helpers.mask_pngs import label_values, write_palette
from tests.helpers.true_labels import TrueVideo, assert_equal, true_videos, write_images

STEP = 5  # frames of 30 a second are labelled


def meta_of(videos: list[TrueVideo]) -> dict:
    return {
        "videos": {
            video.name: {
                "objects": {
                    str(track): {
                        "category": category,
                        "frames": [f"{STEP * o.frame:05d}" for o in video.of_track(track)],
                    }
                    for track, category in video.tracks.items()
                }
            }
            for video in videos
        }
    }


def write(videos: list[TrueVideo], root: Path, *, first_only: bool = False) -> Path:
    """``first_only``: as in the valid split, an object is marked in its first frame only."""
    for video in videos:
        write_images(video, root / "JPEGImages" / video.name, "{:05d}.jpg", step=STEP)
        first = {track: video.of_track(track)[0].frame for track in video.tracks}
        for frame in range(video.num_frames):
            values = label_values(
                video, frame, lambda o, f=first: o.track * (not first_only or f[o.track] == o.frame)
            )
            if values.any() or not first_only:
                write_palette(values, root / f"Annotations/{video.name}/{STEP * frame:05d}.png")
    (root / "meta.json").write_text(json.dumps(meta_of(videos)))
    return root


@pytest.fixture
def truth() -> list[TrueVideo]:
    return true_videos(crowd=False)


@pytest.mark.parametrize("below", ["", "train", "train/meta.json"])
def test_train(tmp_path, truth, below):
    write(truth, tmp_path / "train")
    path = str(tmp_path / below)
    assert find_exports(path).format == "youtube_vos"
    labels = read_youtube_vos(path)
    assert_equal(labels, truth)
    assert labels.videos[0].numbers == [*range(0, 40, 5)]
    assert labels.classes == ["cat", "dog"]


def test_frames_of_all_frames_and_a_class_of_your_choice(tmp_path, truth):
    root = write(truth, tmp_path / "train")
    for video in truth:
        folder = tmp_path / "train_all_frames" / "JPEGImages" / video.name
        folder.mkdir(parents=True)
        for k in range(STEP * video.num_frames):
            source = root / "JPEGImages" / video.name / f"{k // STEP * STEP:05d}.jpg"
            (folder / f"{k:05d}.jpg").write_bytes(source.read_bytes())
    labels = read_youtube_vos(
        str(root), image_root=str(tmp_path / "train_all_frames/JPEGImages"), class_name="thing"
    )
    assert labels.classes == ["thing"]
    assert len(labels.videos[0].frames) == 8
    assert labels.videos[0].frames[1].endswith("train_all_frames/JPEGImages/clip_b/00005.jpg")


def test_frames_of_the_valid_split_are_used_where_they_mark_all_that_is_there(tmp_path, truth):
    root = write(truth, tmp_path / "valid", first_only=True)
    found = []
    labels = read_youtube_vos(str(root), found.append)
    # Frame 2 marks object 2, and not 1 and 7 which are there.
    assert [(v.name, [*v.numbers]) for v in labels.videos] == [("clip_b", [0]), ("clip_a", [0])]
    assert sorted(o.track for o in labels.videos[0].objects) == [1, 7]
    assert [str(each) for each in found] == [
        f"{root}: 2 of 3 frames with a PNG are used; left out: 1 that do not mark all objects which are "
        "there by the meta.json"
    ]


def test_what_the_meta_file_and_the_folders_do_not_share(tmp_path, truth):
    root = write(truth, tmp_path)
    meta = meta_of(truth)
    del meta["videos"]["clip_a"]
    (root / "meta.json").write_text(json.dumps(meta))
    found = []
    assert [v.name for v in read_youtube_vos(str(root), found.append).videos] == ["clip_b"]
    assert "1 of 2 videos are used; left out: 1 that the meta.json does not list" in str(found[0])
    for change, message in (
        ({"clip_c": {"objects": {}}}, "video clip_c: there is no folder Annotations/clip_c"),
        ({"../clip_a": {"objects": {}}}, "there is no folder Annotations/../clip_a"),
        (
            {"clip_b": {"objects": {"1": {"category": "cat"}}}},
            "object 7: the meta.json does not have",
        ),
        ({"clip_b": {"objects": {"1": {}}}}, "object 1 has no category: .*class_name"),
        ({"clip_b": {"objects": {"one": {}}}}, "object 'one' is not a number"),
        ({"clip_b": {"objects": {"1": {"category": "a", "frames": [5]}}}}, "frames of object 1"),
        ({"clip_b": {"objects": None}, "clip_a": {"objects": {}}}, "it has no 'objects'"),
    ):
        (root / "meta.json").write_text(json.dumps({"videos": change}))
        with one_line(match=message):
            read_youtube_vos(str(root))


def test_wrong_places_are_one_line(tmp_path, truth):
    for split in ("train", "valid"):
        write(truth[1:], tmp_path / split)
    (tmp_path / "odd.json").write_text('{"videos": []}')
    for message, root, options in (
        ("several splits, train, valid: give", tmp_path, {}),
        ("frames are not in", tmp_path / "train", {"image_root": str(tmp_path / "nothing")}),
        ("odd.json has no videos with objects", tmp_path / "odd.json", {}),
    ):
        with one_line(match=message):
            read_youtube_vos(str(root), **options)
