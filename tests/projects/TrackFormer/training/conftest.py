"""The record of a video of moving boxes, and of an image of them."""

import copy

import pytest

from tests.projects.TrackFormer.training.moving_boxes import HEIGHT, WIDTH, make_record


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    """Tests must not change it."""
    return make_record(tmp_path_factory.mktemp("walk"), with_masks=True)


@pytest.fixture
def image_record(video):
    """Frame 3 as an image of its own, with objects that have no ids."""
    objects = copy.deepcopy(video["annotations"][3])
    for each in objects:
        del each["id"], each["iscrowd"]
    return {
        "file_name": video["file_names"][3],
        "image_id": 7,
        "height": HEIGHT,
        "width": WIDTH,
        "annotations": objects,
    }
