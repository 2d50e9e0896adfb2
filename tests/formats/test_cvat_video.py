"""CVAT's XML of tracks: round trips, what CVAT does not write out, and what is wrong."""

import math
from functools import partial

import numpy as np
import pytest

from d2video.formats.cvat_video import read_cvat_video
from d2video.formats.faults import Doubt, Fault, LeftOut
from d2video.formats.readers import read_labels
from d2video.utils.errors import UserError
from tests.helpers.cvat_xml import (
    as_box,
    as_mask,
    as_polygon,
    box,
    document,
    drawable,
    element,
    labels,
    shape,
    size,
    task,
    track,
    tracks_of,
    write_xml,
)
from tests.helpers.findings import reading
from tests.helpers.true_labels import (
    WIDTH,
    TrueVideo,
    assert_equal,
    true_videos,
    write_images,
    write_video,
)

EMPTY = TrueVideo("clip", 10, ())

told = partial(reading, read_labels, format="cvat_video")


@pytest.mark.parametrize("write", [as_box, as_polygon, as_mask])
@pytest.mark.parametrize("footage", ["images", "video", "image_root"])
def test_round_trip(tmp_path, write, footage):
    """Exact: CVAT's two decimals hold whole pixels, and outlines on pixel edges are the masks."""
    truth = [drawable(video) if write is as_polygon else video for video in true_videos()]
    for video in truth:
        entries = tracks_of(video, write, start=3, step=2)
        inner = task(video.num_frames, start=3, step=2, source=f"{video.name}.mp4", extra=labels())
        write_xml(tmp_path / video.name, document(element("task", inner), *entries))
        place = tmp_path / (video.name if footage != "image_root" else "elsewhere")
        if footage == "images":
            write_images(video, place / "images", "frame_{:06d}.PNG", first=3, step=2)
        else:
            # Frames that are not in the task, before, between and after.
            padded = TrueVideo(video.name, 3 + 2 * video.num_frames, ())
            write_video(padded, place / f"{video.name}.mp4")
    root = str(tmp_path / "elsewhere") if footage == "image_root" else None
    read, texts = told(tmp_path, image_root=root)
    assert texts[Fault] == []
    assert_equal(read, truth, masks=write is not as_box, occlusion=True)
    assert read.classes == ["dog", "cat", "bird"]
    assert read.videos[1].numbers == [3, 5, 7, 9, 11, 13, 15, 17]
    assert (
        read.videos[1]
        .frames[1]
        .endswith("frame_000005.PNG" if footage == "images" else "clip_b.mp4#frame=5")
    )


def clip(folder, *entries, frames=10, meta=None, images=True, **others):
    """A clip of 10 frames beside an XML file with these tracks."""
    inner = task(frames, extra=labels(), **others)
    write_xml(folder, document(element("task", inner) if meta is None else meta, *entries))
    if images:
        write_images(TrueVideo("clip", frames, ()), folder / "images", "frame_{:06d}.PNG")
    return folder


def boxes(read):
    (video,) = read.videos
    return {(o.track, video.numbers[o.frame]): o.box for o in video.objects}


def test_keyframes_only(tmp_path):
    """Corner by corner to the next keyframe, be it outside; to the end if nothing closes the track."""
    root = clip(
        tmp_path,
        track(
            3,
            "cat",
            [
                box(0, 0, 10, 10, frame=1, occluded=1),
                box(8, 4, 26, 18, frame=5),
                box(20, 4, 38, 18, frame=8, outside=1),
            ],
        ),
        track(4, "dog", [box(1, 2, 5, 6, frame=7)]),
    )
    read, texts = told(root)
    found = boxes(read)
    assert sorted(found) == [(3, k) for k in (1, 2, 3, 4, 5, 6, 7)] + [(4, 7), (4, 8), (4, 9)]
    assert found[3, 2] == (2, 1, 12, 11)
    assert found[3, 4] == (6, 3, 16, 13)
    assert found[3, 7] == (16, 4, 18, 14)
    assert found[4, 9] == found[4, 7] == (1, 2, 4, 4)
    hidden = {o.frame for o in read.videos[0].objects if o.visibility == 0}
    assert hidden == {1, 2, 3, 4}
    assert any("7 shapes between keyframes" in text for text in texts[Doubt])


def test_ellipses_and_rotations_between_keyframes(tmp_path):
    """The shorter way round: from 350 to 10 degrees by 0."""
    turned = {"cx": 30, "cy": 20, "rx": 12, "ry": 6}
    root = clip(
        tmp_path,
        track(
            0,
            "cat",
            [
                shape("ellipse", frame=0, rotation="350.00", **turned),
                shape("ellipse", frame=4, rotation="10.00", **turned),
                shape("ellipse", frame=5, outside=1, **turned),
            ],
        ),
    )
    by_frame = {o.frame: o for o in told(root)[0].videos[0].objects}
    middle = by_frame[2]
    assert middle.box == (18, 14, 24, 12)
    # At 355 degrees still wide, and not at 265, as by 180.
    assert by_frame[1].box[2:] == pytest.approx((24, 12), abs=1.5)
    from pycocotools import mask as coco_mask

    area = int(coco_mask.area(middle.mask))
    # Pixels of which a part is covered count or not: up to half a pixel along the outline of 58.
    assert area == pytest.approx(math.pi * 12 * 6, abs=15)


def test_a_rotated_box_is_the_upright_box_around_it(tmp_path):
    root = clip(
        tmp_path,
        track(0, "cat", [box(10, 10, 30, 20, frame=k, rotation=90) for k in (0, 1)]),
        track(1, "cat", [box(10, 10, 20, 20, frame=k, rotation=45) for k in range(10)]),
        track(2, "cat", [box(10, 10, 30, 20, frame=k, rotation=180) for k in range(10)]),
    )
    read, texts = told(root)
    found = boxes(read)
    np.testing.assert_allclose(found[0, 0], (15, 5, 10, 20), atol=1e-9)
    side = 10 * math.sqrt(2)
    np.testing.assert_allclose(found[1, 0], (15 - side / 2, 15 - side / 2, side, side), atol=1e-9)
    assert found[2, 0] == (10, 10, 20, 10)
    assert any("20 as the upright boxes around them are" in text for text in texts[LeftOut])


def test_what_a_file_of_cvat_does_not_list_is_absent(tmp_path):
    """One shape that is no keyframe tells that all frames are listed: frame 2 may be deleted."""
    root = clip(
        tmp_path,
        track(
            0,
            "cat",
            [
                box(0, 0, 9, 9, frame=0),
                box(0, 0, 9, 9, frame=1, keyframe=0),
                box(1, 1, 9, 9, frame=3),
            ],
        ),
    )
    assert sorted(boxes(told(root)[0])) == [(0, 0), (0, 1), (0, 3)]


def test_a_shape_that_cvat_does_not_close(tmp_path):
    """In the last frame but one it writes no closing shape: this is not an unclosed track."""
    root = clip(
        tmp_path,
        track(0, "cat", [box(0, 0, 9, 9, frame=8)]),
        track(1, "cat", [box(0, 0, 9, 9, frame=k) for k in range(10)]),
    )
    read, texts = told(root)
    assert {number for number, _ in boxes(read)} == {0, 1}
    assert (0, 9) not in boxes(read)
    assert any("1 of 2 tracks are in one frame only" in text for text in texts[Doubt])


def masks_of(video):
    """A track a frame, as CVAT writes masks."""
    return [
        track(
            k,
            each.category,
            [as_mask(each, frame=each.frame), as_mask(each, frame=each.frame + 1, outside=1)],
        )
        for k, each in enumerate(video.objects)
    ]


def test_masks_without_identity_are_images(tmp_path):
    video = true_videos()[0]
    root = clip(tmp_path, *masks_of(video))
    read, texts = told(root)
    assert not read.tracked
    assert [v.name for v in read.videos] == [f"clip/{k}" for k in range(7)]
    wanted = sorted((o.frame, o.box) for o in video.objects)
    assert sorted((int(v.name[5:]), o.box) for v, o in read.objects()) == wanted
    assert all(o.mask is not None for _, o in read.objects())
    assert any("no object is in more than one frame" in text for text in texts[Doubt])
    assert any("7 of 10 frames are used; left out: 3 without a shape" in t for t in texts[LeftOut])


def test_masks_beside_tracks(tmp_path):
    """They are left out, unless every frame is to be an image."""
    video = true_videos()[0]
    root = clip(
        tmp_path, *masks_of(video), track(99, "cat", [box(0, 0, 9, 9, frame=k) for k in range(10)])
    )
    read, texts = told(root)
    assert read.tracked
    assert {o.track for _, o in read.objects()} == {99}
    (left_out,) = texts[LeftOut]
    count = len(video.objects)
    assert f"10 of {10 + count} objects in frames are used" in left_out
    assert f"{count} that are masks without a track; tracked=False" in left_out
    read, _ = told(root, tracked=False)
    assert len(read.videos) == 10
    assert len([*read.objects()]) == 10 + count


def test_a_project_counts_frames_through_its_tasks(tmp_path):
    truth = true_videos()
    offset, tasks, entries = 0, "", []
    for number, video in enumerate(truth, 21):
        source = element("subset", "train") + element("id", number)
        tasks += element("task", task(video.num_frames, source=f"{video.name}.mp4", extra=source))
        texts = tracks_of(video, as_box, start=offset)
        entries += [t.replace("<track ", f'<track task_id="{number}" ', 1) for t in texts]
        write_images(video, tmp_path / "images" / "train", "frame_{:06d}.PNG", first=offset)
        offset += video.num_frames
    write_xml(tmp_path, document(element("project", element("tasks", tasks) + labels()), *entries))
    read, texts = told(tmp_path)
    assert_equal(read, truth, masks=False, occlusion=True)
    assert read.videos[1].numbers == [0, 1, 2, 3, 4]
    assert read.videos[1].frames[0].endswith("frame_000008.PNG")
    (left_out,) = texts[LeftOut] + texts[Fault]
    assert "left out: 1 that are crowds" in left_out


def test_a_project_closes_no_shapes(tmp_path):
    """Of its later tasks CVAT writes shapes without a track so: they are in one frame, not to the end."""
    tasks = [element("task", task(4, source=f"{k}.mp4", extra=element("id", k))) for k in (1, 2)]
    entries = [track(k, "cat", [box(1, 1, 9, 9, frame=k)], task_id=2) for k in (5, 6)]
    meta = element("project", element("tasks", "".join(tasks)) + labels())
    write_xml(tmp_path, document(meta, *entries))
    write_images(TrueVideo("x", 8, ()), tmp_path / "images" / "default", "frame_{:06d}.PNG")
    read, _ = told(tmp_path)
    assert [(v.name, len(v.objects)) for v in read.videos] == [("2/1", 1), ("2/2", 1)]


def test_a_job_has_its_size_beside_it(tmp_path):
    job = "<size>4</size><mode>interpolation</mode><start_frame>3</start_frame><stop_frame>6</stop_frame>"
    meta = element("job", job + labels()) + size()
    root = clip(
        tmp_path, track(0, "cat", [box(1, 1, 9, 9, frame=k) for k in (3, 4, 5, 6)]), meta=meta
    )
    read, texts = told(root)
    assert read.videos[0].numbers == [3, 4, 5, 6]
    assert read.videos[0].name == tmp_path.name
    assert any("4 of 10 frames are used" in t and "not in CVAT's task" in t for t in texts[LeftOut])
    write_xml(tmp_path, document(meta.replace(f">{WIDTH}<", ">65<")))
    with pytest.raises(UserError, match="labels frames of 65x48 pixels"):
        read_cvat_video(str(root))


def test_images_without_numbers(tmp_path):
    """The file of a task of images has places only: 'a10' comes before 'a9' in CVAT."""
    inner = task(2, extra=labels()).replace("interpolation", "annotation").replace(size(), "")
    write_xml(
        tmp_path,
        document(
            element("task", inner), track(0, "cat", [box(1, 1, 9, 9, frame=k) for k in (0, 1)])
        ),
    )
    write_images(TrueVideo("clip", 2, ()), tmp_path / "images", "a{:02d}.png", first=9)
    (video,) = told(tmp_path)[0].videos
    assert [f[-7:] for f in video.frames] == ["a09.png", "a10.png"]
    (tmp_path / "images" / "a09.png").rename(tmp_path / "images" / "a9.png")
    with pytest.raises(UserError, match="export as 'CVAT for images', which names them"):
        read_cvat_video(str(tmp_path))


def test_what_is_left_out_is_counted(tmp_path):
    skeleton = element("points", points="1,2", label="nose", outside=0, occluded=0)
    colour = element("attribute", "red", name="colour")
    root = clip(
        tmp_path,
        track(0, "cat", [box(0, 0, 9, 9, frame=k, inner=colour) for k in range(10)], group_id=4),
        track(1, "cat", [shape("skeleton", skeleton, frame=k) for k in (0, 1)]),
        track(
            2,
            "dog",
            [
                shape("polyline", frame=0, points="1,2;3,4"),
                shape("polyline", frame=1, points="1,2;3,4", outside=1),
                shape("cuboid", frame=2, xtl1="1"),
                box(70, 0, 90, 9, frame=3),
                shape("polygon", frame=4, points="1,2;3,4", keyframe=0),
                shape("points", frame=5, points="1,2"),
            ],
        ),
        element("relation"),
    )
    (root / "images" / "frame_000009.PNG").unlink()
    read, texts = told(root)
    assert len(read.videos[0].frames) == 9
    (fault,) = texts[Fault]
    assert "frame 9 is not one of the 9 frames of clip" in fault
    text = " ".join(texts[LeftOut])
    for part in (
        "9 of 10 frames are used; left out: 1 without an image (deleted in CVAT, or missing)",
        "9 of 17 objects in frames are used",
        "2 of type skeleton",
        "1 of type relation",
        "1 of type polyline",
        "1 of type cuboid",
        "1 of type points",
        "1 whose box lies outside the image",
        "1 without a shape that covers a pixel",
        "10 called colour",
        "1 with fewer than three points",
    ):
        assert part in text
    assert any("tracks with a group_id (1)" in text for text in texts[Doubt])
