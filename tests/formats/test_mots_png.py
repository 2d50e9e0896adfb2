"""Masks whose pixels are 1000 x class + track: CVAT's, KITTI's and MOTSChallenge's."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pycocotools import mask as coco_mask

import d2video.formats.readers  # noqa: F401
from d2video.formats.geometry.rle import encode_masks
from d2video.formats.labels.exports import find_exports
from d2video.formats.mots_png import read_mots_png
from d2video.utils.errors import UserError
from tests.helpers.findings import one_line
from tests.helpers.mask_pngs import label_values, of_classes, write_grey, write_palette
from tests.helpers.true_labels import (
    CLASSES,
    HEIGHT,
    WIDTH,
    TrueVideo,
    assert_equal,
    true_videos,
    write_images,
    write_video,
)

KITTI = {"car": 1, "pedestrian": 2}


def write_cvat(video: TrueVideo, root: Path, *, subset: str = "default", below: str = "") -> Path:
    """As CVAT writes it: tracks from 0, 10 for regions to ignore, no file for a frame without objects."""
    folder = root / subset / "instances"
    for frame in range(video.num_frames):
        values = label_values(
            video,
            frame,
            lambda o: 10_000 if o.crowd else 1000 * (1 + CLASSES.index(o.category)) + o.track - 1,
        )
        if values.any():
            write_grey(values, folder / below / f"frame_{frame:06d}.png")
    (folder / "labels.txt").write_text("\n".join(CLASSES))
    return root


def write_kitti(videos: list[TrueVideo], root: Path, form: str, first: int = 0) -> Path:
    for number, video in enumerate(videos):
        lines = []
        for frame in range(video.num_frames):
            values = label_values(
                video,
                frame,
                lambda o: 10_000 if o.crowd else 1000 * KITTI[o.category] + o.track,
            )
            if form == "png":
                write_grey(
                    values, root / "instances" / f"{number:04d}" / f"{frame + first:06d}.png"
                )
            for value in np.unique(values[values > 0]).tolist():
                (mask,) = encode_masks((values == value)[None])
                sizes = f"{value // 1000} {HEIGHT} {WIDTH} {mask['counts'].decode()}"
                lines.append(f"{frame + first} {value} {sizes}")
        if form == "txt":
            path = root / "instances_txt" / f"{number:04d}.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("\n".join(lines))
    return root


def _named(video: TrueVideo, name: str) -> TrueVideo:
    return TrueVideo(name, video.num_frames, video.objects)


@pytest.fixture
def cvat(tmp_path: Path) -> Path:
    video = true_videos()[0]
    write_images(video, tmp_path / "default" / "images", "frame_{:06d}.PNG")
    return write_cvat(video, tmp_path)


@pytest.mark.parametrize("below", ["", "default", "default/instances"])
def test_cvat(cvat, below):
    assert find_exports(str(cvat / below)).format == "mots_png"
    labels = read_mots_png(str(cvat / below))
    assert labels.classes == [*CLASSES]
    # The last frame has no object, and no file: it is labelled as its image is there.
    assert not (cvat / "default/instances/frame_000007.png").exists()
    assert_equal(labels, [_named(true_videos()[0], cvat.name)], track_offset=-1)


def test_cvat_subsets_folders_and_regions_to_ignore(tmp_path):
    first, second = true_videos()
    write_cvat(first, tmp_path, subset="train")
    write_cvat(second, tmp_path, subset="val", below="city/clip_a")
    write_images(first, tmp_path / "frames" / "train", "frame_{:06d}.png")
    write_video(second, tmp_path / "frames" / "val" / "city" / "clip_a.mp4")
    labels = read_mots_png(str(tmp_path), image_root=str(tmp_path / "frames"))
    (region,) = [o for o in labels.videos[1].objects if o.ignored]
    assert region.category == -1
    assert coco_mask.area(region.mask) == 6 * 28
    truth = [_named(first, "train"), _named(second, "val_city_clip_a")]
    assert_equal(labels, truth, track_offset=-1, crowds=True)


def test_cvat_without_any_object(tmp_path):
    empty = TrueVideo("empty", 3, ())
    (tmp_path / "default" / "instances").mkdir(parents=True)
    write_images(empty, tmp_path / "default" / "images", "frame_{:06d}.png")
    (video,) = read_mots_png(str(write_cvat(empty, tmp_path))).videos
    assert (len(video.frames), video.objects) == (3, [])


def test_cvat_with_a_video_file_says_which_frames_are_not_labelled(tmp_path):
    video = true_videos()[0]
    write_cvat(video, tmp_path)
    write_video(video, tmp_path / "clip.mp4")
    found = []
    labels = read_mots_png(str(tmp_path), found.append, image_root=str(tmp_path / "clip.mp4"))
    assert [*labels.videos[0].numbers] == [*range(7)]
    (doubt,) = found
    assert "1 of 8 frames" in doubt.text


@pytest.mark.parametrize("form", ["png", "txt"])
@pytest.mark.parametrize("first", [0, 1])  # KITTI MOTS and MOTSChallenge
@pytest.mark.parametrize("frames", ["images", "image_02", "videos"])
def test_kitti(tmp_path, form, first, frames):
    names = {"dog": "car", "cat": "pedestrian"}
    truth = of_classes(true_videos(), names)
    write_kitti(truth, tmp_path, form, first)
    options = {}
    for number, video in enumerate(truth):
        if frames == "videos":
            write_video(video, tmp_path / frames / f"{number:04d}.mp4")
            options = {"image_root": str(tmp_path / "videos"), "first_frame": first}
        else:
            write_images(video, tmp_path / frames / f"{number:04d}", "{:06d}.png", first)
    assert find_exports(str(tmp_path)).format == "mots_png"
    labels = read_mots_png(str(tmp_path), **options)
    assert labels.classes == ["car", "pedestrian"]
    assert [each.numbers[0] for each in labels.videos] == [first, first]
    for video, true in zip(labels.videos, truth, strict=True):
        assert {o.track // 1000 for o in video.objects if not o.ignored} <= {1, 2}
        video.objects = [replace(o, track=o.track % 1000) for o in video.objects]
        video.name = true.name
    assert_equal(labels, truth)


BAD_PNGS = {
    "object 5: its class number .* is 0, and classes are 1 dog, 2 cat, 3 bird": lambda v: np.where(
        v, 5, 0
    ),
    "object 4001: its class number .* is 4": lambda v: np.where(v == 2000, 4001, v),
    "object 1000: track 0 is a dog here and a cat before": lambda v: np.where(v == 2000, 1000, v),
    "32x24 and its frame 64x48": lambda v: v[::2, ::2],
}


@pytest.mark.parametrize("message", BAD_PNGS)
def test_bad_pixels_are_one_line_with_the_file(cvat, message):
    video = true_videos()[0]
    values = label_values(video, 6, lambda o: 1000 * (1 + CLASSES.index(o.category)) + o.track - 1)
    path = cvat / "default/instances/frame_000006.png"
    write_grey(BAD_PNGS[message](values).astype(np.uint16), path)
    with one_line(match=f"frame_000006.png.*{message}"):
        read_mots_png(str(cvat))


def test_wrong_places_and_files_are_one_line(tmp_path, cvat):
    short = tmp_path / "short.mp4"
    write_video(true_videos()[1], short)
    for message, root, options in (
        ("has 5 frames, from 0 on", cvat, {"image_root": str(short)}),
        ("no folder instances with PNGs", cvat / "default/images", {}),
        ("the frames are not in .*nowhere", cvat, {"image_root": str(cvat / "nowhere")}),
    ):
        with one_line(match=message):
            read_mots_png(str(root), **options)
    (cvat / "default/instances/labels.txt").write_text("cat\ncat\n")
    with pytest.raises(UserError, match="a class a line, each once"):
        read_mots_png(str(cvat))
    write_kitti(of_classes(true_videos(), {"dog": "car", "cat": "car"}), tmp_path / "k", "txt")
    write_images(true_videos()[0], tmp_path / "k/images/0000", "{:06d}.png")
    write_images(true_videos()[1], tmp_path / "k/images/0001", "{:06d}.png")
    path = tmp_path / "k/instances_txt/0001.txt"
    path.write_text(path.read_text().replace("1001 1 48", "1001 3 48"))
    with pytest.raises(UserError, match="0001.txt, line 1: its class number .* is 3"):
        read_mots_png(str(tmp_path / "k"))


def test_palette_pngs_in_a_folder_of_this_name_are_not_recognised(tmp_path):
    write_palette(np.zeros((4, 4)), tmp_path / "instances" / "0000" / "000000.png")
    assert find_exports(str(tmp_path)).format == "davis"
