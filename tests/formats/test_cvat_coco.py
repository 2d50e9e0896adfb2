"""CVAT's COCO files: round trips of tracks, masks that CVAT calls crowds, and what is wrong."""

import json
import shutil
from functools import partial

import pytest

from d2video.formats.cvat_coco import read_cvat_coco
from d2video.formats.faults import Doubt, Fault, LeftOut
from d2video.formats.geometry.rle import encode_masks, mask_areas
from d2video.utils.errors import UserError
from tests.helpers.cvat_xml import drawable, outline, row_runs
from tests.helpers.findings import one_line, reading
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

told = partial(reading, read_cvat_coco)


def image(frame, number, **others):
    name = f"frame_{number:06d}.PNG"
    return {"id": frame + 1, "width": WIDTH, "height": HEIGHT, "file_name": name, **others}


def annotation(frame, box, *, label="cat", segmentation=(), crowd=0, **attributes):
    return {
        "image_id": frame + 1,
        "category_id": CLASSES.index(label) + 1,
        "segmentation": segmentation if isinstance(segmentation, dict) else [*segmentation],
        "area": box[2] * box[3],
        "bbox": [float(n) for n in box],
        "iscrowd": crowd,
        "attributes": {"occluded": False, **attributes},
    }


def content(images, annotations):
    names = [{"id": k, "name": name, "supercategory": ""} for k, name in enumerate(CLASSES, 1)]
    numbered = [{"id": k, **each} for k, each in enumerate(annotations, 1)]
    return {
        "licenses": [],
        "info": {},
        "categories": names,
        "images": images,
        "annotations": numbered,
    }


def write(folder, value, subset="default"):
    path = folder / "annotations" / f"instances_{subset}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))
    return folder


def from_truth(each, kind):
    """Polygons, boxes, or masks, which have iscrowd 1."""
    others = {"track_id": each.track, "keyframe": True, "occluded": each.occluded}
    if kind == "polygon":
        points = [float(n) for point in outline(each.mask) for n in point]
        others["segmentation"] = [points]
    elif kind == "mask":
        others |= {
            "segmentation": {"size": [HEIGHT, WIDTH], "counts": row_runs(each.mask.T)},
            "crowd": 1,
        }
    return annotation(each.frame, each.box, label=each.category, **others)


@pytest.mark.parametrize("kind", ["box", "polygon", "mask"])
@pytest.mark.parametrize("footage", ["images", "old", "video"])
def test_round_trip(tmp_path, kind, footage):
    """Exact: outlines on pixel edges are the masks."""
    video = true_videos(crowd=False)[0]
    video = drawable(video) if kind == "polygon" else video
    root = tmp_path / video.name
    numbers = range(3, 3 + 2 * video.num_frames, 2)
    images = [image(k, number) for k, number in enumerate(numbers)]
    # Not in the order of the frames.
    write(root, content(images[::-1], [from_truth(each, kind) for each in video.objects]))
    if footage == "video":
        write_video(TrueVideo("x", 3 + 2 * video.num_frames, ()), root / "any.mp4")
    else:
        folder = root / "images" / ("default" if footage == "images" else "")
        write_images(video, folder, "frame_{:06d}.PNG", first=3, step=2)
    read, texts = told(root)
    assert texts[Fault] == texts[LeftOut] == []
    assert_equal(read, [video], masks=kind != "box", occlusion=True)
    assert read.classes == [*CLASSES]
    assert [*read.videos[0].numbers] == [*numbers]
    frame = "frame_000005.PNG" if footage != "video" else "any.mp4#frame=5"
    assert read.videos[0].frames[1].endswith(frame)
    crowds = [text for text in texts[Doubt] if f"iscrowd 1 ({len(video.objects)})" in text]
    assert len(crowds) == (kind == "mask")


def clip(folder, annotations, frames=12, **others):
    images = [image(k, k, **others) for k in range(frames)]
    write(folder, content(images, annotations))
    write_images(TrueVideo("x", frames, ()), folder / "images" / "default", "frame_{:06d}.PNG")
    return folder


def test_masks_without_tracks(tmp_path):
    """They are left out beside tracks; without any, all is single images."""
    objects = [o for o in true_videos()[0].objects if o.frame < 4]
    masks = [from_truth(each, "mask") for each in objects]
    for each in masks:
        each["attributes"].pop("track_id")
    root = clip(tmp_path, [*masks, annotation(0, (1, 1, 9, 9), track_id=0)])
    read, texts = told(root)
    assert read.tracked
    assert {o.track for _, o in read.objects()} == {0}
    assert f"{len(masks)} without a track" in " ".join(texts[LeftOut])
    read, _ = told(root, tracked=False)
    assert len([*read.objects()]) == len(masks) + 1
    write(root, content([image(k, k) for k in range(12)], masks))
    read, texts = told(root)
    assert not read.tracked
    assert len(read.videos) == 12
    found = sorted((v.name, o.box) for v, o in read.objects())
    assert found == sorted((f"frame_{o.frame:06d}.PNG", o.box) for o in objects)
    wanted = mask_areas(encode_masks([o.mask for o in objects])).sum()
    assert mask_areas([o.mask for _, o in read.objects()]).sum() == wanted


def test_crowds_on_demand(tmp_path):
    mask = from_truth(true_videos()[0].objects[0], "mask")
    root = clip(tmp_path, [mask, annotation(0, (1, 1, 9, 9), track_id=0, segmentation=())])
    read, texts = told(root, crowds=True)
    assert [o.ignored for _, o in read.objects()] == [True, False]
    assert not any("iscrowd" in text for text in texts[Doubt])


def test_objects_without_masks_are_doubted_once(tmp_path):
    objects = [annotation(0, (1, 1, 9, 9), track_id=0)]
    others = {"box": (9, 9, 10, 10), "segmentation": [[9, 9, 19, 9, 19, 19]]}
    objects += [annotation(k, **others, track_id=1) for k in range(2)]
    objects += [annotation(2, **others, crowd=1)]
    _, texts = told(clip(tmp_path, objects))
    (doubt,) = texts[Doubt]
    assert "1 of 3 objects have a box and no mask" in doubt
    (left_out,) = texts[LeftOut]
    assert "left out: 1 with iscrowd 1" in left_out


def test_rotation_and_attributes_are_counted(tmp_path):
    turned = [
        annotation(k, (10, 10, 20, 10), track_id=0, rotation=90.0, colour="red") for k in range(3)
    ]
    read, texts = told(clip(tmp_path, turned))
    assert [o.box for _, o in read.objects()] == [pytest.approx((15, 5, 10, 20))] * 3
    text = " ".join(texts[LeftOut])
    assert "3 as the upright boxes around them" in text
    assert "3 called colour" in text


@pytest.mark.parametrize(("still", "doubted"), [(10, True), (9, False), (12, False)])
def test_boxes_that_stay_to_the_end_are_doubted(tmp_path, still, doubted):
    """Not those that never move, as of parked cars."""
    boxes = [annotation(k, (5 + min(k, 12 - still), 5, 9, 9), track_id=4) for k in range(12)]
    doubts = told(clip(tmp_path, boxes))[1][Doubt]
    assert any("1; the first is track 4" in text for text in doubts) == doubted


def test_names_without_numbers_are_in_natural_order(tmp_path):
    names = ["b/x9_.png", "b/x10_.png", "a/x10_.png", "a/x9_.png"]
    images = [image(k, 0, file_name=name) for k, name in enumerate(names)]
    boxes = [annotation(k, (1 + k, 1, 9, 9), track_id=0) for k in range(4)]
    write(tmp_path / "task", content(images, boxes))
    for folder in "ab":
        write_images(
            TrueVideo("x", 2, ()), tmp_path / "task/images/default" / folder, "x{}_.png", 9
        )
    read, _ = told(tmp_path / "task")
    assert [v.name for v in read.videos] == ["task_b", "task_a"]
    lefts = [[o.box[0] for o in sorted(v.objects, key=lambda o: o.frame)] for v in read.videos]
    assert lefts == [[1, 2], [4, 3]]
    assert read.videos[1].frames[0].endswith("a/x9_.png")


@pytest.mark.parametrize(
    ("entries", "part"),
    [
        ([annotation(0, (1, 1, 9, 9), track_id="x")], "annotation 1: its track_id, 'x', is not a"),
        (
            [annotation(0, (1, 1, 9, 9), track_id=3), annotation(0, (1, 2, 9, 9), track_id=3)],
            "annotation 2: track 3 is twice in frame 0",
        ),
        (
            [
                annotation(0, (1, 1, 9, 9), track_id=3),
                annotation(1, (1, 2, 9, 9), track_id=3, label="dog"),
            ],
            "annotation 2: track 3 is a dog here and a cat before",
        ),
        (
            [annotation(0, (1, 1, 9, 9), track_id=0, rotation="x")],
            "its rotation, 'x', is not a number",
        ),
        (
            [annotation(99, (1, 1, 9, 9), track_id=0)],
            "its image_id, 100, is not the id of an image",
        ),
        (
            [annotation(0, (1, 1, 9, 9), segmentation={"size": [9, 9], "counts": [81]}, crowd=1)],
            r"the mask's size is [9, 9], the image's [48, 64]",
        ),
        (
            [annotation(0, (1, 1, 9, 9), segmentation=[[1, 1, 2, 2]], track_id=0)],
            "1 whose polygons have fewer than three points: nothing is left",
        ),
    ],
)
def test_a_faulty_annotation_is_one_line(tmp_path, entries, part):
    with one_line(part):
        read_cvat_coco(str(clip(tmp_path, entries)))


BOX = annotation(0, (1, 1, 9, 9), track_id=0)


def test_faulty_files_and_frames_are_one_line(tmp_path):
    root = clip(tmp_path / "task", [BOX])
    path = root / "annotations" / "instances_default.json"
    text = path.read_text()
    path.write_text(text.replace(f'"width": {WIDTH}', '"width": 65'))
    with pytest.raises(UserError, match="labels frames of 65x48 pixels"):
        read_cvat_coco(str(root))
    path.write_text(text)
    (root / "images" / "default" / "frame_000003.PNG").unlink()
    with pytest.raises(UserError, match=r"12 images, of which 1 are not in .*such as frame_000003"):
        read_cvat_coco(str(root))
    write_video(TrueVideo("x", 11, ()), tmp_path / "short.mp4")
    with pytest.raises(UserError, match=r"12 images, of which 1 are not in .*such as frame_000011"):
        read_cvat_coco(str(root), image_root=str(tmp_path / "short.mp4"))
    shutil.rmtree(root / "images")
    with pytest.raises(
        UserError, match="neither the folder of its images, such as .* nor one video"
    ):
        read_cvat_coco(str(root))
    path.write_text(text.replace("frame_000001.PNG", "../secret.PNG"))
    with pytest.raises(UserError, match="lies outside the image root"):
        read_cvat_coco(str(root))
    write(root, content([image(0, 0, file_name="../secret.PNG")], []))
    with pytest.raises(UserError, match="no image of it can be used"):
        told(root)
