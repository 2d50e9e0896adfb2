"""Other class indices for the records of every kind."""

import copy

import numpy as np
import pytest
from detectron2.structures import BoxMode

from d2video.data.frame_annotations import FrameAnnotations
from d2video.data.record_classes import NO_CLASS, annotated_classes, with_classes


def objects(*classes, crowds=()):
    return [
        {"id": k, "category_id": c, "iscrowd": int(k in crowds), "bbox": [0, 0, 2, 2]}
        for k, c in enumerate(classes)
    ]


RECORDS = {
    "image": ({"file_name": "a", "annotations": objects(2, 0, 2)}, [0, 2], [1, 3, 1]),
    "crowd": ({"file_name": "a", "annotations": objects(2, 1, crowds=[1])}, [2], [1, NO_CLASS]),
    "empty": ({"file_name": "a", "annotations": []}, [], []),
    "panoptic": (
        {"file_name": "a", "segments_info": [{"id": 9, "category_id": 0, "isthing": True}]},
        [0],
        [3],
    ),
    "video": ({"length": 2, "annotations": [objects(2), objects(2, 0)]}, [0, 2], [1, 1, 3]),
    "ignored": (
        {"length": 1, "annotations": [objects(2)], "ignored": [objects(0)]},
        [2],
        [1],
    ),
    "classification": ({"file_name": "a", "label": 2}, [2], [1]),
}


def classes_of(record):
    if "label" in record:
        return [record["label"]]
    labels = record.get("segments_info", record.get("annotations"))
    frames = labels if "length" in record else [labels]
    return [label["category_id"] for frame in frames for label in frame]


@pytest.mark.parametrize("kind", RECORDS)
def test_records(kind):
    record, annotated, expected = RECORDS[kind]
    before = copy.deepcopy(record)
    changed = with_classes(record, [3, None, 1])
    assert classes_of(changed) == expected
    assert record == before
    assert annotated_classes([record]) == set(annotated)
    if kind == "ignored":
        assert changed["ignored"][0][0]["category_id"] == 3
    if kind != "crowd":  # whose class is gone
        assert with_classes(changed, [0, 2, None, 0]) == record  # and nothing else had changed


def test_annotations_in_columns():
    """Those of tracking data; the other columns stay, and the frames."""
    columns = {
        "id": np.array([4, 5, 6]),
        "category_id": np.array([0, 2, 0]),
        "bbox": np.arange(12.0).reshape(3, 4),
    }
    record = {"length": 3, "annotations": FrameAnnotations(3, np.array([2, 0, 2]), columns)}
    changed = with_classes(record, [3, None, 1])["annotations"]
    assert [[a["category_id"] for a in frame] for frame in changed] == [[1], [], [3, 3]]
    assert changed[0] == [
        {
            **{"id": 5, "category_id": 1, "bbox": [4.0, 5.0, 6.0, 7.0]},
            **{"iscrowd": 0, "bbox_mode": BoxMode.XYWH_ABS},
        }
    ]
    assert record["annotations"][0][0]["category_id"] == 2
    assert annotated_classes([record]) == {0, 2}
