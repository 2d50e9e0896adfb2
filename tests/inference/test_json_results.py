"""JSON of predictions: valid JSON, streamed, whole or absent."""

import json

import numpy as np
import pytest
import torch
from detectron2.structures import Boxes, Instances
from pycocotools import mask as coco_mask

from d2video.inference.tasks import InstanceFrame, TrackingTask
from d2video.utils.errors import UserError
from d2video.utils.files import partial_path

HEAD = {
    "video": 'a "quoted" name.mp4',
    "height": 10,
    "width": 12,
    "fps": 25.0,
    "categories": ["cat"],
}


def open_results(path):
    return TrackingTask().open_results("results", path, HEAD, topk=5)


def make_frame(index: int, count: int) -> InstanceFrame:
    masks = torch.zeros(count, 10, 12, dtype=torch.bool)
    for i in range(count):
        masks[i, 2 : 5 + i, 3:7] = True
    instances = Instances(
        (10, 12),
        pred_masks=masks,
        pred_boxes=Boxes(torch.tensor([[3.0, 2, 7, 5 + i] for i in range(count)]).reshape(-1, 4)),
        scores=torch.full((count,), 0.5),
        pred_classes=torch.zeros(count, dtype=torch.int64),
        track_ids=torch.arange(count) + 7,
    )
    image = np.zeros((10, 12, 3), np.uint8)
    return InstanceFrame(index, index / 25, image, instances=instances)


def test_content(tmp_path):
    path = tmp_path / "sub" / "results.json"
    with open_results(path) as write:
        for index, count in enumerate([2, 0, 1]):
            write(make_frame(index, count))
        assert not path.exists()
    content = json.loads(path.read_text())
    assert (content["video"], content["height"], content["width"]) == (HEAD["video"], 10, 12)
    assert (content["fps"], content["categories"], content["num_frames"]) == (25.0, ["cat"], 3)
    assert [frame["index"] for frame in content["frames"]] == [0, 1, 2]
    assert [len(frame["instances"]) for frame in content["frames"]] == [2, 0, 1]
    second = content["frames"][0]["instances"][1]
    assert (second["track_id"], second["category_id"], second["score"]) == (8, 0, 0.5)
    assert second["bbox"] == [3, 2, 4, 4]
    decoded = coco_mask.decode(second["segmentation"])
    np.testing.assert_array_equal(decoded, make_frame(0, 2).instances.pred_masks[1].numpy())
    assert list(path.parent.iterdir()) == [path]


def test_no_frames_is_valid_too(tmp_path):
    with open_results(tmp_path / "results.json"):
        pass
    assert json.loads((tmp_path / "results.json").read_text())["frames"] == []


def test_missing_fields_are_left_out(tmp_path):
    frame = make_frame(0, 1)
    frame.instances.remove("pred_masks")
    frame.instances.remove("track_ids")
    with open_results(tmp_path / "results.json") as write:
        write(frame)
    (record,) = json.loads((tmp_path / "results.json").read_text())["frames"][0]["instances"]
    assert set(record) == {"category_id", "score", "bbox"}


def test_nothing_is_left_after_an_exception(tmp_path):
    def write_and_fail():
        with open_results(tmp_path / "results.json") as write:
            write(make_frame(0, 2))
            raise KeyError("stop")

    with pytest.raises(KeyError):
        write_and_fail()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", ["results", "mot_results", "mots_results"])
def test_full_disk_is_one_clear_line(tmp_path, kind):
    path = tmp_path / "results.txt"
    partial_path(path).symlink_to("/dev/full")

    def write():
        with TrackingTask().open_results(kind, path, HEAD, topk=5) as write_frame:
            write_frame(make_frame(0, 1))

    with pytest.raises(UserError, match=r"cannot write .*/results\.txt: No space left on device"):
        write()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("names", "columns"),
    [
        (["cat"], {"mot_results": "-1", "mots_results": "2"}),
        (["cat", ""], {"mot_results": "-1", "mots_results": "2"}),
        (["cat", "dog"], {"mot_results": "1", "mots_results": "1"}),
        (["", ""], {"mot_results": "1", "mots_results": "1"}),
        ([""], {"mot_results": "-1", "mots_results": "2"}),
        (None, {"mot_results": "-1", "mots_results": "2"}),
    ],
)
def test_classes_in_motchallenges_files(tmp_path, names, columns):
    frame = make_frame(0, 1)
    for kind, column in columns.items():
        path = tmp_path / kind
        head = HEAD | {"categories": names}
        with TrackingTask().open_results(kind, path, head, topk=5) as write_frame:
            write_frame(frame)
        fields = path.read_text().replace(" ", ",").split(",")
        assert fields[7 if kind == "mot_results" else 2] == column


def test_unwritable_path(tmp_path):
    with pytest.raises(UserError, match="it is a folder"), open_results(tmp_path):
        pass
