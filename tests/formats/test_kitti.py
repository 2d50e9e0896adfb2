"""KITTI's tracking labels: round trip, what the benchmark needs of them, and faulty files."""

from pathlib import Path

import pytest

from d2video.data.datasets.label_sets import load_labels
from d2video.formats.faults import Doubt
from d2video.formats.kitti import read_kitti
from d2video.formats.labels.label_set import EVERY_CLASS
from d2video.formats.readers import read_labels
from d2video.utils.errors import UserError
from tests.helpers.true_labels import (
    TrueVideo,
    assert_equal,
    true_videos,
    write_images,
    write_video,
)

TYPES = {"dog": "Car", "cat": "Pedestrian", "bird": "Cyclist"}
_REST = "1.5 1.6 3.9 2.0 1.7 20.0 -1.5"


def row(frame: int, track: int, type: str, box=(4, 6, 16, 16), truncated=0, occluded=0) -> str:
    """``box``: left, top, right, bottom."""
    corners = " ".join(f"{value:.6f}" for value in box)
    return f"{frame} {track} {type} {truncated} {occluded} -1.57 {corners} {_REST}"


def write(root: Path, videos: list[TrueVideo]) -> Path:
    """``label_02`` and ``image_02`` of videos, rows in any order."""
    (root / "label_02").mkdir(parents=True)
    for video in videos:
        lines = []
        for each in reversed(video.objects):
            x, y, w, h = each.box
            track, name = (-1, "DontCare") if each.crowd else (each.track, TYPES[each.category])
            occluded = 1 if each.occluded else -1 if each.crowd else 0
            lines.append(row(each.frame, track, name, (x, y, x + w, y + h), occluded=occluded))
        (root / "label_02" / f"{video.name}.txt").write_text("\n".join(lines) + "\n")
        write_images(video, root / "image_02" / video.name, "{:06d}.png")
    return root


def _in_our_words(labels):
    """The true classes in place of KITTI's."""
    back = {new: old for old, new in TYPES.items()}
    labels.classes = [back.get(name, name) for name in labels.classes]
    return labels


def test_round_trip(tmp_path):
    truth = true_videos()
    root = write(tmp_path / "training", truth)
    for given in (tmp_path, root, root / "label_02"):
        labels = _in_our_words(read_labels(str(given)))
        # Six decimals hold whole pixels.
        assert_equal(labels, truth, masks=False, occlusion=True)
        assert [each.category for each in labels.videos[0].objects if each.ignored] == [EVERY_CLASS]
    one = read_labels(str(root / "label_02" / "clip_a.txt"))
    assert [video.name for video in one.videos] == ["clip_a"]
    assert one.classes == [
        *("Car", "Van", "Truck", "Pedestrian", "Person", "Cyclist", "Tram", "Misc")
    ]


def test_the_frames_are_elsewhere(tmp_path):
    truth = true_videos()
    root = write(tmp_path / "training", truth)
    (root / "image_02").rename(tmp_path / "frames")
    labels = read_kitti(str(root), image_root=str(tmp_path / "frames"))
    assert labels.videos[1].frames[0] == str(tmp_path / "frames" / "clip_b" / "000000.png")
    write_video(truth[1], tmp_path / "clip_a.mp4")
    file = root / "label_02" / "clip_a.txt"
    of_file = read_kitti(str(file), image_root=str(tmp_path / "clip_a.mp4"))
    assert of_file.videos[0].frames[2].endswith("clip_a.mp4#frame=2")
    with pytest.raises(UserError, match=r"frames are not in .* \(looked for image_02/clip_a\)"):
        read_kitti(str(root))


@pytest.fixture
def one(tmp_path):
    """A function of lines: the sequence of these labels, of three frames, the second of which is missing."""

    def write_one(*lines: str) -> str:
        (tmp_path / "label_02").mkdir()
        video = true_videos()[1]
        write_images(video, tmp_path / "image_02" / "0000", "{:06d}.png")
        (tmp_path / "image_02" / "0000" / "000001.png").unlink()
        (tmp_path / "label_02" / "0000.txt").write_text("".join(f"{line}\n" for line in lines))
        return str(tmp_path)

    return write_one


def test_what_the_benchmark_takes_out(one):
    objects = [
        row(0, 0, "Car"),
        row(0, 1, "Car", occluded=3),
        row(2, 1, "Car", truncated=1),
        row(0, 2, "Van", (20, 6, 30, 16)),
        row(0, 3, "Person_sitting"),
        row(0, -1, "DontCare", (1, 1, 9, 9), truncated=-1, occluded=-1),
    ]
    labels = read_kitti(one(*objects))
    assert labels.benchmark == "KITTI"
    assert [each.scored for each in labels.videos[0].objects] == [True, False, False, *[True] * 3]
    assert [each.visibility for each in labels.videos[0].objects[:2]] == [1, 0]
    assert list(labels.videos[0].numbers) == [0, 2, 3, 4]
    assert "Person_sitting" in labels.classes
    assert "Person" not in labels.classes
    (record,) = load_labels(labels.source, format="kitti", classes=["Car"])
    (first, second, *_), ignored = record["annotations"], record["ignored"]
    assert [(each["id"], each["scored"]) for each in first] == [(0, True), (1, False)]
    assert [(each["id"], each["scored"]) for each in second] == [(1, False)]
    van, region = ignored[0]
    assert (van["category_id"], van["scored"], van["bbox"][0]) == (0, False, 20)
    assert (region["category_id"], region["scored"], region["bbox"]) == (0, True, [1, 1, 8, 8])


def test_types_of_your_own(one):
    told = []
    labels = read_kitti(one(row(0, 0, "cat"), row(0, 1, "Car")), told.append)
    assert labels.classes == ["Car", "cat"]
    assert labels.benchmark is None
    assert any(isinstance(each, Doubt) and "(cat)" in str(each) for each in told)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([row(0, 0, "Car") + " 0.9"], "line 1: it has 18 columns, as results"),
        ([row(0, 0, "Car"), "0 1 Car"], "line 2: it has 3 columns, not 17"),
        ([row(0, 0, "Car").replace("6.0", "x.0")], "line 1: frame, track, truncated"),
        ([row(0, 0, "Car", (4, 6, float("nan"), 9))], "is not made of four finite numbers"),
        ([row(0, -1, "Car")], "line 1: track -1 is not a number from 0 on; give the Car a track"),
        ([row(1, 0, "Car")], r"line 1: frame 1 is not one of the 4 frames of 0000 \(0 to 4\)"),
        ([row(0, 0, "Car"), row(0, 0, "Car")], "line 2: track 0 is twice in frame 0"),
        ([row(0, 0, "Car"), row(2, 0, "Van")], "line 2: track 0 is a Van here and a Car before"),
        ([row(0, 0, "Car", (9, 6, 4, 9))], "nothing is left"),
    ],
)
def test_faulty_labels_are_one_line(one, lines, message):
    with pytest.raises(UserError, match=message) as caught:
        read_kitti(one(*lines))
    assert "\n" not in str(caught.value)


def test_names_that_are_no_numbers(one, tmp_path):
    root = one(row(0, 0, "Car"))
    (tmp_path / "image_02" / "0000" / "000002.png").rename(tmp_path / "image_02/0000/two.png")
    with pytest.raises(UserError, match="the names of the images must be the numbers"):
        read_kitti(root)


def test_no_labels(tmp_path):
    with pytest.raises(UserError, match="holds no label_02/0000.txt"):
        read_kitti(str(tmp_path))
    for name in ("first", "second"):
        (tmp_path / name / "label_02").mkdir(parents=True)
    with pytest.raises(UserError, match="holds several folders label_02"):
        read_kitti(str(tmp_path))
