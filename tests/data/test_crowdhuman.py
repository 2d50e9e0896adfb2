import json

import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.structures import BoxMode

from d2video.data.datasets.crowdhuman import load_crowdhuman, register_crowdhuman
from d2video.data.records import is_labelled, num_frames
from d2video.utils.errors import UserError


def person(box, **fields):
    return {"tag": "person", "fbox": box, "vbox": [0, 0, 1, 1], "hbox": [0, 0, 1, 1], **fields}


ENTRIES = [
    {
        "ID": "27,c9d",
        "gtboxes": [
            person([-4, 5, 60, 70.5], extra={"box_id": 0, "occ": 1}),
            person([1, 2, 3, 4], extra={"ignore": 1}),
            person([5, 6, 7, 8], extra={"ignore": 0}),
            {"tag": "mask", "fbox": [0, 0, 9, 9], "extra": {"ignore": 1}},
            person([9, 9, 0, 5]),
        ],
    },
    {"ID": "1,a", "gtboxes": []},
]


@pytest.fixture
def write(tmp_path):
    (tmp_path / "images").mkdir()

    def write_lines(lines):
        path = tmp_path / "annotation.odgt"
        path.write_text(
            "\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines)
        )
        return str(path), str(tmp_path / "images")

    return write_lines


def test_records_are_images_with_full_bodies(write):
    odgt, root = write([*ENTRIES, ""])
    first, second = load_crowdhuman(odgt, root)
    assert first["file_name"] == f"{root}/27,c9d.jpg"
    assert (first["image_id"], second["image_id"]) == ("27,c9d", "1,a")
    assert [a["bbox"] for a in first["annotations"]] == [
        [-4, 5, 60, 70.5],
        [5, 6, 7, 8],
    ]
    assert first["annotations"][0] == {
        "bbox": [-4, 5, 60, 70.5],
        "bbox_mode": BoxMode.XYWH_ABS,
        "category_id": 0,
        "iscrowd": 0,
    }
    assert second["annotations"] == []
    assert num_frames(first) == 1
    assert is_labelled(second)


def test_what_is_not_used_is_counted(write):
    found = []
    load_crowdhuman(*write(ENTRIES), found.append)
    (left_out,) = found
    assert str(left_out).endswith(
        "annotation.odgt: 2 of 5 boxes are used; left out: 1 whose box has no area, 1 with ignore 1, "
        "1 with tag 'mask'"
    )


BAD_LINES = {
    "no JSON": ("{'ID'", "JSONDecodeError"),
    "no object": ("5", "TypeError"),
    "no boxes": ({"ID": "x"}, "KeyError: 'gtboxes'"),
    "no tag": ({"ID": "x", "gtboxes": [{"fbox": [1, 2, 3, 4]}]}, "KeyError: 'tag'"),
    "three numbers": ({"ID": "x", "gtboxes": [person([1, 2, 3])]}, "ValueError"),
    "text": ({"ID": "x", "gtboxes": [person([1, 2, 3, "4"])]}, "'4'"),
    "bool": ({"ID": "x", "gtboxes": [person([1, 2, 3, True])]}, "fbox [1, 2, 3, true]"),
    "huge": ({"ID": "x", "gtboxes": [person([1, 2, 3, 10**400])]}, "fbox [1, 2, 3, 1000"),
    "no name": ({"ID": 5, "gtboxes": []}, "ID 5"),
    "ignore of text": ({"ID": "x", "gtboxes": [person([1] * 4, extra={"ignore": "no"})]}, "'no'"),
    "nan": ({"ID": "x", "gtboxes": [person([1, 2, 3, float("nan")])]}, "nan"),
    "twice": ({"ID": "27,c9d", "gtboxes": []}, "image 27,c9d is there twice"),
    "elsewhere": ({"ID": "../x", "gtboxes": []}, "outside the image root"),
}


@pytest.mark.parametrize("fault", BAD_LINES)
def test_faulty_line_is_named(write, fault):
    line, message = BAD_LINES[fault]
    odgt, root = write([ENTRIES[0], "", line])
    with pytest.raises(UserError) as caught:
        load_crowdhuman(odgt, root)
    assert f"{odgt}, line 3" in str(caught.value)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_files(write, tmp_path):
    odgt, root = write(ENTRIES)
    with pytest.raises(UserError, match="no.odgt does not exist"):
        load_crowdhuman(str(tmp_path / "no.odgt"), root)
    with pytest.raises(UserError, match="folder .*no_images does not exist"):
        load_crowdhuman(odgt, str(tmp_path / "no_images"))
    with pytest.raises(UserError, match="names no image"):
        load_crowdhuman(*write([]))


def test_registered_set_is_read_on_first_use(write, scratch_catalog):
    register_crowdhuman("x_crowd", "no.odgt", "no_folder")
    register_crowdhuman("y_crowd", *write(ENTRIES), class_name="walker")
    assert len(DatasetCatalog.get("y_crowd")) == 2
    assert MetadataCatalog.get("y_crowd").thing_classes == ["walker"]
    with pytest.raises(UserError):
        DatasetCatalog.get("x_crowd")
