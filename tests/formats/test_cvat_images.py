"""CVAT's XML of images: round trips, where images are found, and what is wrong."""

from dataclasses import replace
from functools import partial

import pytest

from d2video.formats.cvat_images import read_cvat_images
from d2video.formats.faults import Doubt, Fault, LeftOut
from d2video.formats.readers import read_labels
from tests.helpers.cvat_xml import (
    as_box,
    as_mask,
    as_polygon,
    document,
    drawable,
    element,
    labels,
    shape,
    task,
    write_xml,
)
from tests.helpers.findings import one_line, reading
from tests.helpers.true_labels import (
    HEIGHT,
    WIDTH,
    TrueVideo,
    assert_equal,
    true_videos,
    write_images,
    write_video,
)

told = partial(reading, read_labels, format="cvat_images")


def image(number, name, *shapes, **others):
    size = {"width": WIDTH, "height": HEIGHT, **others}
    return element("image", "".join(shapes), id=number, name=name, **size)


def images_of(video, write, name="frame_{:06d}", **others):
    for frame in range(video.num_frames):
        shapes = [
            write(
                each,
                label=each.category,
                occluded=int(each.occluded),
                inner=element("attribute", "true", name="ignored") if each.crowd else "",
            )
            for each in video.in_frame(frame)
        ]
        yield image(frame, name.format(frame), *shapes, **others)


def images_as_videos(video, name="frame_{:06d}"):
    return [
        TrueVideo(name.format(k), 1, tuple(replace(o, frame=0) for o in video.in_frame(k)))
        for k in range(video.num_frames)
    ]


@pytest.mark.parametrize("write", [as_box, as_polygon, as_mask])
@pytest.mark.parametrize("footage", ["images", "video", "image_root", "unnamed", "video_root"])
def test_round_trip(tmp_path, write, footage):
    """Exact, as in the XML of videos; also the last image, which has no shape."""
    video = true_videos()[0]
    video = drawable(video) if write is as_polygon else video
    meta = element("task", task(video.num_frames, extra=labels()))
    write_xml(tmp_path / "task", document(meta, *images_of(video, write)))
    root = tmp_path / "task"
    if footage == "unnamed":  # a job does not name its video
        write_xml(root, document(element("job", labels()), *images_of(video, write)))
    if footage in ("video", "unnamed", "video_root"):
        place = tmp_path if footage == "video_root" else root
        write_video(video, place / ("clip.mp4" if footage == "video" else "any.mp4"))
    elif footage == "images":
        write_images(video, root / "images", "frame_{:06d}.PNG")
    else:
        write_images(video, tmp_path / "frames", "frame_{:06d}.jpg")
    roots = {"image_root": str(tmp_path / "frames"), "video_root": str(tmp_path / "any.mp4")}
    elsewhere = roots.get(footage)
    read, texts = told(root, image_root=elsewhere)
    assert not read.tracked
    assert texts[Fault] == texts[LeftOut] == []
    assert read.classes == ["dog", "cat", "bird"]
    assert [v.name for v in read.videos] == [f"frame_{k:06d}" for k in range(video.num_frames)]
    # The format has no tracks: each object gets that of the true one with its box.
    truth = images_as_videos(video)
    for found, true in zip(read.videos, truth, strict=True):
        tracks = {each.box: each.track for each in true.objects}
        found.objects = [replace(each, track=tracks[each.box]) for each in found.objects]
    assert_equal(read, truth, masks=write is not as_box, occlusion=True)


def test_projects_and_several_files(tmp_path):
    other = true_videos(crowd=False)[1]
    names = []
    for number, name in enumerate(("one", "two")):
        meta = element("project", element("tasks", element("task", task(8, extra="<id>1</id>"))))
        entries = images_of(other, as_box, "pic/{}.jpg", subset="train", task_id=number)
        write_xml(tmp_path / name, document(meta, *entries))
        write_images(other, tmp_path / name / "images" / "train" / "pic", "{}.jpg")
        names += [f"{name}_train/pic/{k}.jpg" for k in range(other.num_frames)]
    read, texts = told(tmp_path)
    assert texts[Fault] == []
    assert [v.name for v in read.videos] == names
    assert all(v.frames[0].endswith(v.name.partition("_")[2]) for v in read.videos)
    assert read.classes == ["dog"]


def test_what_is_left_out_is_counted(tmp_path):
    colour = element("attribute", "red", name="colour")
    box = {"xtl": 1, "ytl": 1, "xbr": 9, "ybr": 9, "label": "cat"}
    entry = image(
        0,
        "a.png",
        shape("box", colour, group_id=3, **box),
        shape("box", rotation=90, **box),
        shape("box", element("attribute", "True", name="is_crowd"), **box),
        element("tag", colour, label="cat"),
        shape("skeleton", shape("points", label="nose"), label="person"),
    )
    names = labels(["person", "cat"])
    point = element("label", element("name", "nose") + element("parent", "person"))
    meta = element("task", names.replace("</labels>", point + "</labels>"))
    write_xml(tmp_path, document(meta, entry, element("relation")))
    write_images(TrueVideo("x", 1, ()), tmp_path / "images", "a.png")
    read, texts = told(tmp_path)
    assert read.classes == ["person", "cat"]
    assert [o.ignored for o in read.videos[0].objects] == [False, False, True]
    text = " ".join(texts[LeftOut] + texts[Doubt])
    for part in (
        "1 of type tag",
        "1 of type relation",
        "1 of type skeleton",
        "1 that are crowds or regions to ignore",
        "1 called colour",
        "shapes with a group_id (1)",
        "1 as the upright boxes around them",
    ):
        assert part in text


@pytest.mark.parametrize(
    ("entry", "part"),
    [
        (image(0, "b.png"), "line 9: its image, b.png, is not in"),
        (image(0, "../a.png"), "line 9: its name, '../a.png', must be one in the folder"),
        (image(0, "a.png", width=65), "labels frames of 65x48 pixels"),
        (image(0, "a.png", width="x"), "line 9: its size, xx48, must be whole numbers"),
        (image(0, "a.png", height=0), "line 9: its size is 64x0, which cannot be"),
        (image(0, "a.png") * 2, "the video a.png is there twice"),
        (image(0, "a.png", shape("box")), "line 9: it has no label"),
        (image(0, "a.png", shape("box", label="cow")), "it has no xtl"),
        (
            image(0, "a.png", shape("polygon", label="cow", points="1,1;9,9;1,9")),
            "the class 'cow' is not among those listed",
        ),
        ("<track></track>", "holds tracks: its format is cvat_video"),
        ("<image>", "mismatched tag"),
    ],
)
def test_faults_are_one_line(tmp_path, entry, part):
    meta = element("task", labels(["cat"]))
    write_xml(tmp_path, document(meta, entry))
    write_images(TrueVideo("x", 1, ()), tmp_path / "images", "a.png")
    with one_line(part):
        read_cvat_images(str(tmp_path))
