"""CVAT's XML of tracks that is wrong: one line each."""

import pytest

from d2video.formats.cvat_video import read_cvat_video
from d2video.formats.faults import Fault
from d2video.utils.errors import UserError
from tests.formats.test_cvat_video import EMPTY, clip, told
from tests.helpers.cvat_xml import (
    box,
    document,
    element,
    labels,
    shape,
    task,
    track,
)
from tests.helpers.findings import one_line
from tests.helpers.true_labels import (
    HEIGHT,
    WIDTH,
    TrueVideo,
    write_images,
    write_video,
)


def one(*shapes, label="cat", **others):
    return track(0, label, shapes, **others)


BOX = {"left": 1, "top": 1, "right": 9, "bottom": 9}
MASK = {"left": 2, "top": 3, "width": 2, "height": 2}
LINE = "annotations.xml, line 14: "  # of the track in these documents; its first shape stands in it, too


@pytest.mark.parametrize(
    ("entry", "part"),
    [
        (one(box(**BOX, frame=12)), f"{LINE}frame 12 is not one of the 10 frames of clip"),
        (one(box(**BOX, frame="x")), f"{LINE}its frame, 'x', is not a whole number from 0 on"),
        (one(box(**BOX, frame=-1)), f"{LINE}its frame, '-1', is not a whole number from 0 on"),
        (one(box(**BOX, frame=0), label="cow"), f"{LINE}the class 'cow' is not among those listed"),
        (one(shape("box", frame=0)), f"{LINE}it has no xtl"),
        (
            one(box(**BOX, frame=0).replace('"9.00"', '"nan"')),
            f"{LINE}its xbr, 'nan', must be numbers",
        ),
        (one(shape("polygon", frame=0)), "its points, '', must be numbers"),
        (one(shape("polygon", frame=0, points="1,2;3")), "has 3 numbers, not pairs"),
        (one(shape("polygon", frame=0, points="99,0;99,9;120,9")), "lies outside the 64x48 image"),
        (one(shape("mask", frame=0, rle="1, 2", **MASK)), "rle cover 3 pixels, and 2x2 are 4"),
        (one(shape("mask", frame=0, rle="1, x", **MASK)), "its rle, '1, x', must be numbers"),
        (
            one(shape("mask", frame=0, rle="0, 4", **{**MASK, "left": 63})),
            "its mask is 2x2 at 63, 3, outside the frame of 64x48",
        ),
        (one(shape("mask", frame=0, rle="-1, 5", **MASK)), "must be whole numbers from 0 on"),
        (
            one(
                *(shape("polygon", frame=k, points=f"{k},0;9,0;9,9", keyframe=1) for k in (2, 6)),
            ),
            "track 0 has a polygon in frame 2 and the next in frame 6",
        ),
        (
            one(box(**BOX, frame=0), box(**BOX, frame=0), box(**BOX, frame=1)),
            "line 15: track 0 is twice in frame 0",
        ),
        (
            one(box(**BOX, frame=0), box(**BOX, frame=1))
            + one(box(**BOX, frame=3), box(**BOX, frame=4), label="dog"),
            "track 0 is a dog here and a cat before",
        ),
        ("<track>", "mismatched tag"),
        ('<image id="0"></image>', "holds images: its format is cvat_images"),
        ("<track></track>", "needs an id and a label"),
    ],
)
def test_a_faulty_track_is_one_line(tmp_path, entry, part):
    root = clip(tmp_path, entry)
    with one_line(part):
        read_cvat_video(str(root))


BOMB = '<!DOCTYPE a [<!ENTITY b "xxxxxxxxxx"><!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;">]>'
FILE = '<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]>'


@pytest.mark.parametrize(
    ("change", "part"),
    [
        (lambda text: text[: len(text) // 2], "line 16: it is not XML, or cut off here"),
        (lambda text: "", "line 1: it is not XML, or cut off here (no element found)"),
        (lambda text: text.replace("<annotations>", BOMB + "<annotations>"), "document type"),
        (lambda text: text.replace("<annotations>", FILE + "<annotations>"), "document type"),
        (lambda text: text.replace("annotations>", "labels>"), "<labels>, not <annotations>"),
        (lambda text: text.replace("utf-8", "klingon"), "unknown encoding: klingon"),
        (lambda text: text.replace("<name>bird", "<name>cat"), "the class 'cat' is listed twice"),
        (lambda text: text.replace("<size>10", "<size>ten"), "its size, 'ten', is not a whole"),
        (lambda text: text.replace("<size>10", "<size>99999999"), "99999999 frames, above"),
        (lambda text: text.replace(">48<", ">0<"), "its size is 64x0, which cannot be"),
        (lambda text: text.replace(">48<", ">47<"), "labels frames of 64x47 pixels"),
        (lambda text: text.replace("<start_frame>0", "<start_frame>90"), "no image in"),
    ],
)
def test_a_faulty_file_is_one_line(tmp_path, change, part):
    path = clip(tmp_path, one(*(box(**BOX, frame=k) for k in range(10)))) / "annotations.xml"
    path.write_text(change(path.read_text()))
    with one_line(part):
        read_cvat_video(str(tmp_path))


@pytest.mark.parametrize(
    ("tasks", "part"),
    [
        ("", "its project has no tasks"),
        (element("task", element("id", 1)), "task 1 has no size"),
    ],
)
def test_a_faulty_project_is_one_line(tmp_path, tasks, part):
    meta = element("project", element("tasks", tasks) + labels())
    root = clip(tmp_path, one(box(**BOX, frame=0), task_id=1), meta=meta)
    with one_line(part):
        read_cvat_video(str(root))


def test_images_of_other_names(tmp_path):
    root = clip(tmp_path, one(box(**BOX, frame=0)), images=False)
    write_images(EMPTY, root / "images", "a{}.png")
    with one_line("have no frame numbers: name them as CVAT does"):
        read_cvat_video(str(root))


def test_a_shorter_video(tmp_path):
    root = clip(tmp_path, one(box(**BOX, frame=0), box(**BOX, frame=1)), images=False)
    with pytest.raises(UserError, match=r"the frames are not in .* \(looked for images, clip.mp4"):
        read_cvat_video(str(root))
    write_video(TrueVideo("clip", 9, ()), root / "clip.mp4")
    with pytest.raises(UserError, match=r"labels the frames 0 to 9, and .* has 9 frames"):
        read_cvat_video(str(root))


def test_an_unknown_label_is_one_fault_of_its_track(tmp_path):
    _, texts = told(clip(tmp_path, one(box(**BOX, frame=0), box(**BOX, frame=1), label="cow")))
    (fault,) = texts[Fault]
    assert "the class 'cow' is not among those listed" in fault


def test_names_that_lead_out_of_the_folder_are_not_followed(tmp_path):
    write_video(TrueVideo("clip", 10, ()), tmp_path / "secret.mp4")
    root = clip(tmp_path / "a", one(box(**BOX, frame=0)), images=False, source="../secret.mp4")
    with pytest.raises(UserError, match="the frames are not in"):
        read_cvat_video(str(root))


@pytest.mark.parametrize("source", ["clip.avi", "/home/me/clip.mp4", "C:\\videos\\clip.mp4"])
@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_older_versions_and_editors(tmp_path, source, encoding):
    """<source>, once a whole path, stood beside <task>. Without a track there is no object."""
    meta = element("task", task(10, source="", extra=labels())) + element("source", source)
    text = document(meta).replace("utf-8", encoding.removesuffix("-sig")).replace("\n", "\r\n")
    (tmp_path / "annotations.xml").write_bytes(text.encode(encoding))
    write_video(EMPTY, tmp_path / "clip.mp4")
    read, texts = told(tmp_path)
    (video,) = read.videos
    assert (video.name, len(video.frames), video.objects) == ("clip", 10, [])
    assert read.tracked
    assert not any(texts.values())


def test_a_file_without_head_or_labels(tmp_path):
    """Classes are those of the tracks; all frames that are found belong to it."""
    entries = [one(box(**BOX, frame=0), label="zebra")]
    entries += [track(7, "ant", [box(**BOX, frame=k) for k in (2, 3)])]
    root = clip(tmp_path, *entries, meta="")
    read, _ = told(root)
    assert read.classes == ["ant", "zebra"]
    assert len(read.videos[0].frames) == 10
    assert read.videos[0].size == (HEIGHT, WIDTH)
