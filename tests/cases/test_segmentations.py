"""Segmentations of a wrong form are named as what they are, by all readers and by check alike."""

import json
import logging

import pytest

from d2video.cli.check import main as check
from d2video.data.datasets.coco import load_coco_instances
from d2video.data.datasets.coco_tracks import load_coco_tracks
from d2video.data.datasets.ytvis import load_ytvis_json
from d2video.evaluation.vis.ground_truth import YTVISGroundTruth
from d2video.utils.errors import UserError

SIZE = {"height": 8, "width": 10}
RLE = {"size": [8, 10], "counts": "d0d0X1"}
RUNS = {"size": [8, 10], "counts": [20, 20, 40]}
POLYGON = [1, 1, 6, 1, 6, 6, 1, 6]


def _coco(segmentation) -> dict:
    image = {"id": 1, "file_name": "a.png", "frame_id": 0, "video_id": 1, **SIZE}
    annotation = {"id": 1, "image_id": 1, "category_id": 1, "track_id": 1, "iscrowd": 0}
    annotation |= {"bbox": [1, 1, 5, 5], "area": 25, "segmentation": segmentation}
    categories = [{"id": 1, "name": "thing"}]
    return {"images": [image], "categories": categories, "annotations": [annotation]}


def _ytvis(segmentation) -> dict:
    video = {"id": 1, "file_names": ["a.png", "b.png"], "length": 2, **SIZE}
    annotation = {"id": 1, "video_id": 1, "category_id": 1, "iscrowd": 0}
    annotation |= {"bboxes": [[1, 1, 5, 5]] * 2, "segmentations": [[POLYGON], segmentation]}
    return {
        "videos": [video],
        "categories": [{"id": 1, "name": "thing"}],
        "annotations": [annotation],
    }


READERS = {
    "coco": (_coco, lambda path: load_coco_instances(path, "")),
    "coco_tracks": (_coco, lambda path: load_coco_tracks(path, "")),
    "ytvis": (_ytvis, lambda path: load_ytvis_json(path, "")),
    "ytvis evaluation": (_ytvis, YTVISGroundTruth.from_json),
}

MISPLACED = {
    "RLE in a list": ([RLE], "a run-length code .RLE. within a list: write it without the br"),
    "runs in a list": ([RUNS], "a run-length code .RLE. within a list: write it without the br"),
    "RLE in two lists": ([[RLE]], "a run-length code .RLE. within two lists"),
    "two RLE": ([RLE, RLE], "a list of 2 run-length codes .RLE.: merge them"),
    "RLE beside a polygon": ([POLYGON, RLE], "beside other things"),
    "a flat polygon": (POLYGON, "a list of numbers, as one polygon is"),
    "a polygon of points": ([[1, 1], [6, 1], [6, 6]], "a list of points .x, y.: write each"),
    "polygons of points": ([[[1, 1], [6, 1], [6, 6]]], "polygons made of points .x, y.: write"),
    "points as objects": ([[{"x": 1, "y": 1}] * 3], "polygons made of objects .*'x': 1"),
    "one level too deep": ([[POLYGON]], "nested too deeply: take away a pair of brackets"),
    "JSON polygons in a text": (json.dumps([POLYGON]), "a text that holds JSON: write the JSON"),
    "JSON RLE in a text": (json.dumps(RLE), "a text that holds JSON: write the JSON"),
    "a path": ("masks/1.png", "a text, 'masks/1.png'; a segmentation is a list of polygons"),
    "an empty text": ("", "a text, ''; a segmentation is"),
    "a number": (3, "the number 3; a segmentation is"),
    "zero": (0, "the number 0; a segmentation is"),
    "false": (False, "false; a segmentation is"),
    "null in a list": ([None], "a list that holds null; a segmentation is"),
    "texts in a list": (["1,2,3,4,5,6"], "a list of texts .'1,2,3,4,5,6', ...."),
    "an empty object": ({}, "an object without size and counts"),
    "no size": ({"counts": "d0d0X1"}, "an object without size .*; a segmentation is"),
    "size the other way": ({**RLE, "size": [10, 8]}, "image's .8, 10.: the height comes first"),
    "size of fractions": ({**RLE, "size": [8.0, 10.0]}, r"mask's size is \[8.0, 10.0\], the im"),
    "size of texts": ({**RUNS, "size": ["8", "10"]}, r"mask's size is \['8', '10'\], the imag"),
    "counts of fractions": ({**RUNS, "counts": [20.5, 19.5, 40]}, "must be whole numbers from 0"),
    "too few runs": ({**RUNS, "counts": [20]}, "cover 20 pixels, the image has 80 pixels"),
    "counts null": ({**RLE, "counts": None}, "'counts' must be a string"),
    "code cut off": ({**RLE, "counts": "d0d0X"}, "'counts' is not a COCO run-length code"),
    "half a point": ([POLYGON[:7]], "a polygon has 7 numbers, not pairs"),
    "NaN": ([[*POLYGON[:7], float("nan")]], "coordinates of a polygon must be numbers below"),
    "text coordinates": ([["1"] * 6], "coordinates of a polygon must be numbers below"),
    "outside": ([POLYGON, [20, 1, 30, 1, 30, 9]], "a polygon lies outside the 10x8 image"),
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("form", MISPLACED)
def test_what_stands_there_is_named(form, reader, write_json):
    segmentation, message = MISPLACED[form]
    content, read = READERS[reader]
    with pytest.raises(UserError, match=rf"annotation 1: .*{message}"):
        read(write_json(content(segmentation)))


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("sound", [RLE, RUNS, [POLYGON], [POLYGON, POLYGON], None, []])
def test_sound_forms(sound, reader, write_json):
    content, read = READERS[reader]
    read(write_json(content(sound)))


@pytest.mark.parametrize("reader", ["coco_tracks", "ytvis", "ytvis evaluation"])
def test_a_polygon_of_two_points_is_left_out_and_counted(reader, write_json, caplog):
    content, read = READERS[reader]
    with caplog.at_level(logging.WARNING):
        read(write_json(content([POLYGON, [1, 1, 5, 5]])))
    assert "polygons are used; left out: 1 with fewer than three points" in caplog.text


@pytest.mark.parametrize(("kind", "folder"), [("coco", "shapes_coco"), ("ytvis", "shapes")])
def test_check_names_an_rle_within_a_list(kind, folder, inputs, pictures, capsys):
    root = pictures / folder / ("val/JPEGImages" if kind == "ytvis" else "val")
    with pytest.raises(SystemExit) as end:
        check(["--json", str(inputs / kind / "rle_in_list.json"), "--image-root", str(root)])
    assert end.value.code == 1
    assert (
        "a run-length code (RLE) within a list: write it without the br" in capsys.readouterr().out
    )


def test_coco_objects_without_a_mask_among_others_are_doubted(write_json):
    content = _coco([POLYGON])
    other = {"id": 2, "segmentation": None, "track_id": 2}
    content["annotations"].append(content["annotations"][0] | other)
    found = []
    (record,) = load_coco_instances(write_json(content), "", report=found.append)
    assert ["segmentation" in each for each in record["annotations"]] == [True, False]
    (doubt,) = found
    assert "1 of 2 objects have a box and no mask, which models of masks refuse" in str(doubt)
