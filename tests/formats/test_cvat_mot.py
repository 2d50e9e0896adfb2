"""CVAT's export in MOTChallenge's layout: round trips, boxes without tracks, and what is wrong."""

from functools import partial

import pytest
from PIL import Image

from d2video.formats.cvat_mot import read_cvat_mot
from d2video.formats.faults import Doubt, Fault, LeftOut
from d2video.formats.readers import read_labels
from d2video.utils.errors import UserError
from tests.helpers.findings import one_line, reading
from tests.helpers.true_labels import (
    CLASSES,
    TrueVideo,
    assert_equal,
    renumbered,
    true_videos,
    write_images,
    write_video,
)

told = partial(reading, read_labels, format="cvat_mot")


def write(folder, rows, classes=CLASSES):
    (folder / "gt").mkdir(parents=True, exist_ok=True)
    (folder / "gt" / "gt.txt").write_bytes("".join(f"{row}\r\n" for row in rows).encode())
    (folder / "gt" / "labels.txt").write_text("\n".join(classes))
    (folder / "img1").mkdir(exist_ok=True)  # empty where images are not saved
    return folder


def rows_of(video, first=1):
    """As CVAT writes them: by frame, tracks by their first appearance from 1 on."""
    (numbered,) = renumbered([video])
    for each in sorted(numbered.objects, key=lambda each: each.frame):
        x, y, w, h = (float(n) for n in each.box)
        fields = (each.frame + first, each.track, x, y, w, h, int(not each.crowd))
        yield f"{','.join(map(str, fields))},{CLASSES.index(each.category) + 1},{1.0 - each.occluded}"


@pytest.mark.parametrize("footage", ["images", "numbers", "video", "image_root"])
def test_round_trip(tmp_path, footage):
    """Exact: the file has fractions. CVAT counts tracks from 1, by their first appearance."""
    truth = renumbered(true_videos())
    for video in truth:
        first = 60 if footage == "numbers" else 1
        root = write(tmp_path / "exports" / video.name, rows_of(video, first))
        if footage == "image_root":
            write_video(video, tmp_path / "videos" / f"{video.name}.mp4")
        elif footage == "video":
            write_video(video, root / "img1.mp4")
        else:
            write_images(video, root / "img1", "{:06d}.jpg", first)
    videos = str(tmp_path / "videos") if footage == "image_root" else None
    read, texts = told(tmp_path / "exports", image_root=videos)
    assert texts[Fault] == texts[Doubt] == []
    assert_equal(read, truth, masks=False, occlusion=True)
    assert read.classes == [*CLASSES]
    assert [*read.videos[0].numbers] == [*range(first, first + 5)]


def test_a_task_that_skips_frames(tmp_path):
    """gt.txt counts the labelled frames of the video file: 3, 8, 13."""
    root = write(tmp_path / "task", [f"{k},1,{k},1,9,9,1,2,1.0" for k in (1, 2, 3)])
    write_video(TrueVideo("x", 14, ()), root / "task.mp4")
    for path in (root, root / "gt" / "gt.txt"):
        (video,) = told(path, start_frame=3, frame_step=5)[0].videos
        assert [name.partition("#")[2] for name in video.frames] == [
            "frame=3",
            "frame=8",
            "frame=13",
        ]
        assert [o.box[0] for o in video.objects] == [1, 2, 3]
    _, texts = told(root)
    assert "the last box is in frame 3, and" in " ".join(texts[Doubt])
    with pytest.raises(UserError, match="frame_step 0: give those of the task"):
        read_cvat_mot(str(root), frame_step=0)


def test_images_need_no_step(tmp_path):
    with pytest.raises(UserError, match="are of a video file, and the frames of .* are images"):
        read_cvat_mot(str(clip(tmp_path, ["1,1,1,1,9,9,1,1,1.0"])), frame_step=2)


def clip(folder, rows, frames=6, **others):
    root = write(folder, rows, **others)
    write_images(TrueVideo("x", frames, ()), root / "img1", "{:06d}.png", first=1)
    return root


def test_boxes_without_tracks(tmp_path):
    """Left out beside tracks, unless every frame is an image; without any track all are images."""
    loose = ["1,-1,1,1,9,9,1,1,1.0", "1,-1,2,1,9,9,1,2,1.0", "3,-1,1,1,9,9,1,1,1.0"]
    root = clip(tmp_path, [*loose, *(f"{k},6,5,5,9,9,1,2,0.0" for k in range(1, 7))])
    read, texts = told(root)
    assert {o.track for _, o in read.objects()} == {6}
    assert "3 without a track (id -1); tracked=False" in " ".join(texts[LeftOut])
    read, _ = told(root, tracked=False)
    assert [len(v.objects) for v in read.videos] == [3, 1, 2, 1, 1, 1]
    write(root, loose)
    read, texts = told(root)
    assert not read.tracked
    assert [len(v.objects) for v in read.videos] == [2, 0, 1, 0, 0, 0]
    assert "all ids are -1" in " ".join(texts[Doubt])


@pytest.mark.parametrize(
    ("row", "part"),
    [
        ("7,1,1,1,9,9,1,1,1.0", "line 2: frame 7 is not among the sequence's frames 1 to 6"),
        ("2,1,1,1,9,9,1,9,1.0", "line 2: the class 9 is not among the 3 of labels.txt"),
        ("2,1,1,1,9,9,1,1,1.5", "line 2: the visibility 1.5 is not from 0 to 1"),
        ("1,1,1,1,9,9,1,1,1.0", "line 2: track 1 is twice in frame 1"),
        ("2,1,1,1,9,9,1,2,1.0", "line 2: track 1 is a cat here and a dog before"),
        ("2,1,1,1,-9,9,1,1,1.0", "line 2: the box is -9 wide"),
        ("2,1.5,1,1,9,9,1,1,1.0", "line 2: the id 1.5 is not a whole number"),
        ("2,1,1,1,9,9,1,1,x", "line 2: 'x' is not a number"),
        ("2,1,1,1,9,9,1,1", "line 2: it has 8 columns split by commas, not 9"),
    ],
)
def test_a_faulty_row_is_one_line(tmp_path, row, part):
    with one_line(f"gt.txt, {part}"):
        read_cvat_mot(str(clip(tmp_path, ["1,1,1,1,9,9,1,1,1.0", row])))


def test_corners_in_place_of_sizes_are_doubted(tmp_path):
    rows = [f"{k},1,{40 + k},30,{50 + k},40,1,1,1.0" for k in range(1, 7)]
    (doubt,) = told(clip(tmp_path, rows))[1][Doubt]
    assert "read as corners" in doubt


def test_frames_that_are_not_there(tmp_path):
    root = write(tmp_path, ["1,1,1,1,9,9,1,1,1.0"])
    with pytest.raises(UserError, match=r"the frames are not in .* \(looked for img1"):
        read_cvat_mot(str(root))
    with pytest.raises(
        UserError, match=r"is not an export of CVAT with gt/gt.txt and gt/labels.txt"
    ):
        read_cvat_mot(str(root / "img1"))
    clip(tmp_path, ["1,1,1,1,9,9,1,1,1.0"], classes=["cat", "cat"])
    with pytest.raises(UserError, match=r"labels.txt, line 2: 'cat' is there twice"):
        read_cvat_mot(str(root))
    Image.new("RGB", (9, 9)).save(root / "img1" / "cover.png")
    (root / "gt" / "labels.txt").write_text("cat")
    with pytest.raises(UserError, match=r"cover.png: name it by its frame's number"):
        read_cvat_mot(str(root))
