"""Tracks of COCO's JSON: where their ids may stand, what ids may be, and what is derived or left out."""

import json

import pytest

from d2video.cli.check import main as check
from d2video.data.datasets.coco_tracks import register_coco_tracks
from d2video.data.loading import load_records
from d2video.utils.errors import UserError
from tests.helpers.coco_sets import annotation, instance_content, write_images
from tests.helpers.verdicts import check_agrees


def test_ids_in_attributes_are_read(inputs, pictures, scratch_catalog):
    """As CVAT exports them."""
    path = str(inputs / "tracks/track_id_in_attributes.json")
    register_coco_tracks("tracks", path, str(pictures / "shapes_mot/val"))
    check_agrees("tracks")
    wanted = {each["attributes"]["track_id"] for each in json.loads(read(path))["annotations"]}
    assert {a["id"] for r in load_records("tracks") for f in r["annotations"] for a in f} == wanted


def test_fractional_ids_are_refused(inputs, pictures, scratch_catalog, capsys):
    path, root = inputs / "tracks/track_id_fraction.json", pictures / "shapes_mot/val"
    register_coco_tracks("tracks", str(path), str(root))
    with pytest.raises(UserError, match=r"annotation 1: its track_id, 1\.\d, must be a whole numb"):
        check_agrees("tracks")
    with pytest.raises(SystemExit):
        check(["--json", str(path), "--image-root", str(root), "--num-workers", "0"])
    assert "fault: " in capsys.readouterr().out


def content():
    """:func:`instance_content` as one video of three frames; all boxes are one track."""
    value = instance_content()
    for frame, image in enumerate(value["images"]):
        image |= {"frame_id": frame, "video_id": 1}
    value["annotations"] = [
        annotation(1, 5, 4, [2, 4, 8, 6], track_id=1),
        annotation(2, 2, 4, [4, 4, 8, 6], track_id=1),
        annotation(3, 5, 9, [20, 10, 6, 9], track_id=0),
    ]
    return value


def change(**fields):
    """Change the first annotation; None: take a field away."""

    def apply(value):
        first = value["annotations"][0]
        first.update(fields)
        for key in [key for key, field in fields.items() if field is None]:
            del first[key]

    return apply


def add(**fields):
    return lambda value: value["annotations"].append(annotation(9, 5, 4, [1, 1, 5, 5]) | fields)


USED = {
    "instance_id (CocoVID)": (change(track_id=None, instance_id=1), 3, ""),
    "ids from 0 of annotations": (change(id=0), 3, ""),
    "no id of the annotation": (change(id=None), 3, ""),
    "no box": (change(bbox=None), 3, ""),
    "no area": (change(area=None), 3, ""),
    "box 0": (change(bbox=[0, 0, 0, 0]), 2, "1 whose box is 0,0,0,0"),
    "box without area": (change(bbox=[2, 4, 8, 0]), 2, "1 whose box has no area"),
    "box outside": (change(bbox=[2, 24, 8, 5]), 2, "1 whose box lies outside the image"),
    "polygons of two points": (change(segmentation=[[2, 4, 8, 6]]), 2, "fewer than three points"),
    "a crowd without a track": (add(iscrowd=1), 3, "1 with iscrowd 1"),
    "ignore": (add(ignore=1, track_id=5), 3, "1 with ignore 1"),
    "a video without images": (
        lambda value: value.update(videos=[{"id": 1, "name": "a"}, {"id": 2, "name": "b"}]),
        3,
        "1 of 2 videos are used; left out: 1 without images",
    ),
    "the annotation's video": (change(video_id=1), 3, ""),
}


@pytest.mark.parametrize("case", USED)
def test_used_derived_or_left_out(case, tmp_path, scratch_catalog, capsys):
    alter, count, left_out = USED[case]
    register(alter, tmp_path)
    check_agrees("tracks")
    assert sum(len(f) for r in load_records("tracks") for f in r["annotations"]) == count
    capsys.readouterr()
    check(["--dataset", "tracks", "--num-workers", "0"])
    assert left_out in capsys.readouterr().out


REFUSED = {
    "a text": (change(track_id="1"), "annotation 1: its track_id, '1', must be a whole number"),
    "a bool": (change(track_id=True), "annotation 1: its track_id, true, must be a whole number"),
    "a float": (change(track_id=1.0), r"annotation 1: its track_id, 1\.0, must be a whole number"),
    "a list": (change(track_id=[1]), r"annotation 1: its track_id, \[1\], must be a whole number"),
    "a negative number": (change(track_id=-1), "annotation 1: its track_id, -1, must be a whole"),
    "a huge number": (
        change(track_id=2**63),
        "annotation 1: its track_id, .*, must be a whole num",
    ),
    "a fractional instance_id": (
        change(track_id=None, instance_id=1.5),
        r"its track_id, 1\.5, must",
    ),
    "a text in attributes": (
        change(track_id=None, attributes={"track_id": "a"}),
        "annotation 1: its track_id, 'a', must be a whole number",
    ),
    "none": (change(track_id=None, attributes=["a"]), "annotation 1: it has no track_id .nor inst"),
    "an unknown image": (change(image_id="5"), "annotation 1: its image_id, '5', is not the id of"),
    "visibility of text": (change(visibility="0.5"), "annotation 1: its visibility, '0.5', is not"),
    "no frame_id": (
        lambda value: value["images"][0].pop("frame_id"),
        "image 5: it needs frame_id, a whole number that grows",
    ),
    "a fractional frame_id": (
        lambda value: value["images"][0].update(frame_id=0.5),
        "image 5: it needs frame_id, a whole number that grows",
    ),
    "a fractional video_id": (
        lambda value: value["images"][0].update(video_id=1.5),
        "image 5: it needs frame_id, .* and video_id",
    ),
    "no video_id": (
        lambda value: value["images"][0].pop("video_id"),
        "image 5: it needs frame_id, .* and video_id",
    ),
    "an unknown video": (
        lambda value: value.update(videos=[{"id": 2, "name": "b"}]),
        "images with video_id 1: the file's 'videos' have no such id",
    ),
    "a video's id twice": (
        lambda value: value.update(videos=[{"id": 1, "name": name} for name in "ab"]),
        "video 1: its id is there twice",
    ),
    "a fractional id of a video": (
        lambda value: value.update(videos=[{"id": 1.0, "name": "a"}]),
        r"video 1\.0: it needs id, as images have it",
    ),
    "another video than the image's": (
        change(video_id=2),
        "annotation 1: its video_id, 2, is not that of image 5, 1; correct it",
    ),
    "two categories of one name": (
        lambda value: value["categories"][0].update(name="nine"),
        "category 9: its name, 'nine', is there twice",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_with_the_place(case, tmp_path, scratch_catalog):
    alter, message = REFUSED[case]
    register(alter, tmp_path)
    with pytest.raises(UserError, match=message):
        check_agrees("tracks")


def register(alter, folder):
    write_images(folder)
    value = content()
    alter(value)
    path = folder / "a.json"
    path.write_text(json.dumps(value))
    register_coco_tracks("tracks", str(path), str(folder))


def read(path):
    with open(path, encoding="utf-8") as file:
        return file.read()
