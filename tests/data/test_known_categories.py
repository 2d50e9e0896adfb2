"""Category ids of the data set that a model's classes are of."""

import pytest
from detectron2.data import MetadataCatalog

import d2video.data.datasets.builtin  # noqa: F401
from d2video.data.class_names import known_categories


@pytest.mark.parametrize(
    ("dataset", "first", "last"),
    [
        ("coco_2017_val", {"id": 1, "name": "person"}, {"id": 90, "name": "toothbrush"}),
        ("ytvis_2019_train", {"id": 1, "name": "person"}, {"id": 40, "name": "sedan"}),
    ],
)
def test_ids_of_the_data_set(dataset, first, last):
    names = MetadataCatalog.get(dataset).thing_classes
    found = known_categories(names, "mot17_train", dataset)
    assert (found[0]["id"], found[-1]["id"]) == (first["id"], last["id"])
    assert found[0]["name"] == names[0]
    assert [each["name"] for each in found] == list(names)


def test_classes_of_no_known_set():
    names = [*MetadataCatalog.get("coco_2017_val").thing_classes]
    assert known_categories([names[1], names[0], *names[2:]], "coco_2017_val") is None
    assert known_categories(names[:3], "coco_2017_val") is None
    assert known_categories((), "coco_2017_val") is None
