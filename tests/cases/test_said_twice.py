"""What a file says twice: keys, names of classes, ids of a track, frames, annotations."""

import json
import re

import pytest

from d2video.data.datasets.coco_tracks import load_coco_tracks
from d2video.formats.coco import check_coco_instances, read_coco_instances
from d2video.formats.faults import Doubt
from d2video.formats.text import read_json
from d2video.formats.ytvis import YTVISFile
from d2video.utils.errors import UserError
from tests.cases.test_track_ids import content as track_content
from tests.helpers.coco_sets import instance_content
from tests.helpers.ytvis_content import content as ytvis_content


def doubts(read, *args):
    found = []
    read(*args, report=found.append)
    return [str(each) for each in found if isinstance(each, Doubt)]


@pytest.mark.parametrize("read", [read_coco_instances, YTVISFile.read, read_json])
def test_a_key_twice(read, tmp_path):
    path = tmp_path / "a.json"
    text = json.dumps(instance_content())
    path.write_text(text[:-1] + ', "annotations": []}')
    with pytest.raises(
        UserError, match="a.json: the key 'annotations' is there twice, and only the"
    ):
        read(str(path))


def test_a_key_once_beside_the_same_text_elsewhere(tmp_path):
    path = tmp_path / "a.json"
    content = instance_content() | {"info": {"annotations": 2, "images": "categories"}, "\ud800": 1}
    path.write_text(json.dumps(content))
    assert read_json(str(path)) == content


@pytest.mark.parametrize("names", [("Traffic light", "traffic_light"), ("car", "CAR")])
def test_names_that_are_nearly_the_same(names):
    content = instance_content()
    for category, name in zip(content["categories"], names, strict=True):
        category["name"] = name
    (doubt,) = doubts(check_coco_instances, content, "a.json")
    assert "1 category by a name that differs from another one only in case, spaces" in doubt
    assert f"{names[1]!r} and {names[0]!r}" in doubt


@pytest.mark.parametrize(
    "other", [{"instance_id": 2}, {"attributes": {"track_id": 7}}, {"instance_id": "1"}]
)
def test_track_ids_that_contradict(other, tmp_path):
    value = track_content()
    value["annotations"][0] |= other
    path = tmp_path / "a.json"
    path.write_text(json.dumps(value))
    with pytest.raises(UserError, match=r"annotation 1: its track ids .*, 1 and .*contradict each"):
        load_coco_tracks(str(path), "")


def test_track_ids_that_agree(tmp_path):
    value = track_content()
    value["annotations"][0] |= {"instance_id": 1, "attributes": {"track_id": 1}}
    path = tmp_path / "a.json"
    path.write_text(json.dumps(value))
    assert not doubts(load_coco_tracks, str(path), "")


def test_a_track_of_two_classes(tmp_path):
    value = track_content()
    value["annotations"][1]["category_id"] = 9
    path = tmp_path / "a.json"
    path.write_text(json.dumps(value))
    (doubt,) = doubts(load_coco_tracks, str(path), "")
    assert re.search(r"1 track of several classes \(such as track 1 of video_1\)", doubt)


def ytvis_doubts(alter):
    value = ytvis_content()
    alter(value)
    return doubts(YTVISFile.from_dict, value, "a.json")


def test_videos_that_share_their_frames():
    def alter(value):
        value["videos"].append(value["videos"][0] | {"id": 50})

    assert not ytvis_doubts(lambda value: None)
    (doubt,) = ytvis_doubts(alter)
    assert "1 video with the frames of another one (such as videos 7 and 50)" in doubt


def test_a_frame_twice_in_a_video():
    def alter(value):
        names = value["videos"][0]["file_names"]
        names[1] = f"./{names[0]}"

    (doubt,) = ytvis_doubts(alter)
    assert "1 video (the first is video 7) with a frame file several times" in doubt


def test_a_track_under_two_ids():
    def alter(value):
        value["annotations"].append(value["annotations"][0] | {"id": 77})

    (doubt,) = ytvis_doubts(alter)
    assert "1 annotation is there twice, with equal boxes and masks (such as 11 and 77)" in doubt


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, 1),
        ({"area": None}, 1),
        ({"iscrowd": 1}, 0),
        ({"category_id": 4}, 0),
        ({"image_id": 2}, 0),
        ({"bbox": [2, 4, 8, 7]}, 0),
        ({"segmentation": None}, 0),
    ],
)
def test_an_annotation_under_two_ids(change, expected):
    content = instance_content()
    content["annotations"].append(content["annotations"][0] | {"id": 77} | change)
    found = [each for each in doubts(check_coco_instances, content, "a.json") if "twice" in each]
    assert len(found) == expected
    assert all("1 annotation is there twice, with equal boxes and" in each for each in found)
