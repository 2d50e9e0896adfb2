"""Palette masks of DAVIS and of tools that write alike."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from d2video.formats.davis import read_davis
from d2video.formats.labels.exports import find_exports
from d2video.formats.labels.recognition import RECOGNISERS, Seen
from d2video.formats.readers import read_labels
from d2video.utils.errors import UserError
from tests.helpers.findings import one_line
from tests.helpers.mask_pngs import label_values, of_one_class, write_grey, write_palette
from tests.helpers.true_labels import (
    HEIGHT,
    WIDTH,
    TrueVideo,
    assert_equal,
    true_videos,
    write_images,
    write_video,
)

REAL = Path(__file__).parents[3] / "shared" / "data" / "real" / "davis_masks"
EMPTY = np.zeros((HEIGHT, WIDTH), np.uint8)


def write_masks(
    videos: list[TrueVideo], folder: Path, write=write_palette, void: int = 255
) -> None:
    for video in videos:
        for frame in range(video.num_frames):
            values = label_values(video, frame, lambda each: void if each.crowd else each.track)
            write(values.astype(np.uint8), folder / video.name / f"{frame:05d}.png")


def _formats_of(path: Path) -> list[str]:
    return [name for name, recognises in RECOGNISERS.items() if recognises(Seen(str(path)))]


@pytest.fixture
def truth() -> list[TrueVideo]:
    return of_one_class(true_videos(), "object")


@pytest.fixture
def davis(tmp_path: Path, truth) -> Path:
    """A DAVIS folder of two videos with lists of two years."""
    root = tmp_path / "DAVIS"
    write_masks(truth, root / "Annotations" / "480p")
    for video in truth:
        write_images(video, root / "JPEGImages" / "480p" / video.name, "{:05d}.jpg")
    for year, name in (("2016", "clip_a"), ("2017", "clip_b")):
        (root / "ImageSets" / year).mkdir(parents=True)
        (root / "ImageSets" / year / "train.txt").write_text(f"{name}\n")
    (root / "ImageSets" / "2017" / "val.txt").write_text("clip_a")
    (root / "ImageSets" / "480p").mkdir()
    pair = "/JPEGImages/480p/clip_a/{0:05d}.jpg /Annotations/480p/clip_a/{0:05d}.png\n"
    (root / "ImageSets" / "480p" / "trainval.txt").write_text(pair.format(0) + pair.format(1))
    return root


@pytest.mark.parametrize("below", ["", "Annotations", "Annotations/480p"])
def test_a_davis_folder(davis, truth, below):
    assert find_exports(str(davis / below)).format == "davis"
    # Masks are lossless, and boxes are those of the masks.
    assert_equal(read_davis(str(davis / below)), truth)


@pytest.mark.parametrize(
    ("split", "name"),
    [("2016/train", "clip_a"), ("2017/train", "clip_b"), ("val", "clip_a"), ("trainval", "clip_a")],
)
def test_splits(davis, truth, split, name):
    assert_equal(read_davis(str(davis), split=split), [v for v in truth if v.name == name])


@pytest.mark.parametrize(("write", "void"), [(write_palette, 254), (write_grey, 255)])
def test_masks_apart_from_their_frames(tmp_path, write, void):
    truth = of_one_class(true_videos(), "animal")
    write_masks(truth, tmp_path / "masks", write, void)
    # Without a palette they may be pictures.
    assert len(_formats_of(tmp_path / "masks")) == (write is write_palette)
    write_images(truth[0], tmp_path / "frames" / "clip_b")
    write_video(truth[1], tmp_path / "frames" / "clip_a.mp4")
    labels = read_davis(
        str(tmp_path / "masks"), image_root=str(tmp_path / "frames"), class_name="animal"
    )
    assert_equal(labels, truth)
    assert labels.videos[0].frames[2] == f"{tmp_path}/frames/clip_a.mp4#frame=2"
    # One video, and its frames themselves.
    assert len(_formats_of(tmp_path / "masks" / "clip_b")) == (write is write_palette)
    labels = read_davis(
        str(tmp_path / "masks" / "clip_b"),
        image_root=str(tmp_path / "frames" / "clip_b"),
        class_name="animal",
    )
    assert_equal(labels, truth[:1])


@pytest.mark.parametrize("frames", ["images", "frames", "my clip.avi", "masks/my clip.mkv"])
def test_frames_beside_masks_of_any_tool(tmp_path, truth, frames):
    video = TrueVideo("my clip", 8, truth[0].objects)
    write_masks([video], tmp_path / "masks")
    for junk in ("Thumbs.db", ".DS_Store"):
        (tmp_path / "masks" / "my clip" / junk).touch()
    if frames.endswith("s"):
        write_images(video, tmp_path / frames / "my clip", "{:05d}.JPG")
    else:
        write_video(video, tmp_path / frames)
    assert_equal(read_labels(str(tmp_path / "masks")), [video])


def test_frames_without_a_mask_are_not_labelled_and_numbers_are_those_of_the_names(tmp_path):
    truth = of_one_class(true_videos(), "object")[0]
    write_masks([truth], tmp_path / "Annotations")
    write_images(truth, tmp_path / "JPEGImages" / "clip_b")
    for frame in (1, 4, 7):
        (tmp_path / "Annotations" / "clip_b" / f"{frame:05d}.png").unlink()
    (video,) = read_davis(str(tmp_path)).videos
    assert video.numbers == [0, 2, 3, 5, 6]
    assert [Path(frame).stem for frame in video.frames] == [
        "00000",
        "00002",
        "00003",
        "00005",
        "00006",
    ]
    absent = [o.frame for o in video.objects if o.track == 1]
    assert absent == [0, 1, 3, 4]  # numbers 0, 2, 5 and 6


def test_255_is_the_object_where_there_is_nothing_else(tmp_path):
    truth = true_videos()[1]
    write_images(truth, tmp_path / "JPEGImages" / "clip_a")
    for frame in range(truth.num_frames):
        values = label_values(truth, frame, lambda each: 0 if each.crowd else 255)
        write_grey(
            values.astype(np.uint8), tmp_path / "Annotations" / "clip_a" / f"{frame:05d}.png"
        )
    found = []
    labels = read_davis(str(tmp_path), found.append)
    assert [o.ignored for o in labels.videos[0].objects] == [False] * 5
    (doubt,) = found
    assert "255 is read as the object" in doubt.text


def _smooth(path: Path) -> None:
    values = np.asarray(Image.open(path)).copy()
    values[0, 0] = 137
    write_palette(values, path)


BAD_FILES = {
    "colours \\(RGB\\)": lambda path: Image.open(path).convert("RGB").save(path),
    "number 137, above max_id, 100": _smooth,
    "is 32x24 and its frame 64x48": lambda path: write_palette(EMPTY[::2, ::2], path),
    "cannot read image": lambda path: path.write_bytes(path.read_bytes()[:60]),
    "has no image 00077": lambda path: path.rename(path.with_name("00077.png")),
}


@pytest.mark.parametrize("message", BAD_FILES)
def test_a_bad_file_is_named_and_its_frame_is_left_out(davis, message):
    path = davis / "Annotations" / "480p" / "clip_b" / "00003.png"
    BAD_FILES[message](path)
    with one_line("clip_b", match=message):
        read_davis(str(davis))
    found = []
    labels = read_davis(str(davis), found.append)
    assert labels.videos[1].numbers == [0, 1, 2, 4, 5, 6, 7]
    assert re.search(message, str(found[0]))


def test_many_bad_files_are_one_line_a_video(davis):
    for path in (davis / "JPEGImages").rglob("*.jpg"):
        Image.new("RGB", (8, 6)).save(path)
    found = []
    with pytest.raises(UserError, match="holds no labelled frame"):
        read_davis(str(davis), found.append)
    assert [re.sub(".*00000.png is", "", str(each)) for each in found] == [
        f" 64x48 and its frame 8x6: give the frames that were labelled (image_root); {n} more files of "
        f"{davis}/Annotations/480p/{name} are alike"
        for name, n in (("clip_a", 4), ("clip_b", 7))
    ]


def test_wrong_places_are_one_line(tmp_path, davis, truth):
    masks = davis / "Annotations" / "480p" / "clip_b"
    video = tmp_path / "short.mp4"
    write_video(truth[1], video)  # of 5 frames
    several = davis / "Annotations" / "Full-Resolution" / "clip_b"
    (davis / "ImageSets" / "2017" / "odd.txt").write_text("nix")
    write_palette(EMPTY, tmp_path / "named" / "last.png")
    for message, root, options in (
        ("has 5 frames, from 0 on", masks, {"image_root": str(video)}),
        ("image_root, .*short.mp4, is one", davis, {"image_root": str(video)}),
        ("the frames are not in", davis, {"image_root": str(tmp_path)}),
        ("holds the masks", masks, {"image_root": str(masks)}),
        ("split is 'train', .* has 2016/train, 2017/train: name one", davis, {"split": "train"}),
        ("lists nix, of which .* has no masks: fetch them", davis, {"split": "odd"}),
        ("is not a folder", masks / "00000.png", {}),
        ("has no folder with PNGs", davis / "ImageSets", {}),
        (
            "last.png: its name does not end in the number",
            tmp_path / "named",
            {"image_root": str(video)},
        ),
    ):
        with one_line(match=message):
            read_davis(str(root), **options)
    shutil.rmtree(davis / "ImageSets")
    with pytest.raises(UserError, match="no file in .*ImageSets lists videos: leave out split"):
        read_davis(str(davis), split="train")
    write_palette(EMPTY, several / "00000.png")
    with pytest.raises(UserError, match="480p and Full-Resolution: give"):
        read_davis(str(davis))
    (davis / "Annotations_unsupervised").mkdir()
    with pytest.raises(UserError, match="Annotations and Annotations_unsupervised: give"):
        read_davis(str(davis))


def test_first_frame_of_a_video_file(tmp_path):
    truth = of_one_class(true_videos(), "object")[0]
    for frame in range(truth.num_frames):
        values = label_values(truth, frame, lambda each: each.track)
        write_palette(values, tmp_path / "masks" / f"frame_{frame + 1:06d}.png")
    write_video(truth, tmp_path / "clip.mp4")
    video = str(tmp_path / "clip.mp4")
    with pytest.raises(UserError, match="frame_000008.png: .* has 8 frames, from 0 on"):
        read_davis(str(tmp_path / "masks"), image_root=video)
    (found,) = read_davis(str(tmp_path / "masks"), image_root=video, first_frame=1).videos
    assert found.frames[7] == f"{video}#frame=7"
    assert found.numbers[7] == 8
    write_palette(EMPTY, tmp_path / "masks" / "other_3.png")
    with pytest.raises(UserError, match="are of one frame"):
        read_davis(str(tmp_path / "masks"), image_root=video, first_frame=1)


def test_real_masks(tmp_path):
    if not REAL.is_dir():
        pytest.skip("../shared/data/real is not there")
    for name in ("dogs-jump", "libby"):
        (tmp_path / name).mkdir()
        for path in (REAL / name).glob("*.png"):
            Image.new("L", (854, 480)).save(tmp_path / name / f"{path.stem}.jpg")
    assert find_exports(str(REAL)).format == "davis"
    labels = read_davis(str(REAL), image_root=str(tmp_path))
    assert [(v.name, len(v.frames), {o.track for o in v.objects}) for v in labels.videos] == [
        ("dogs-jump", 66, {1, 2, 3}),
        ("libby", 49, {1}),
    ]
    # The areas of the first masks by Pillow's histogram.
    from pycocotools import mask as coco_mask

    histogram = Image.open(REAL / "dogs-jump" / "00000.png").histogram()
    first = [o for o in labels.videos[0].objects if o.frame == 0]
    assert [int(coco_mask.area(o.mask)) for o in first] == histogram[1:4]
