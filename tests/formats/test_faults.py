"""Readers report all faults as objects and go on with what is sound; by default the first one raises."""

import json

import pytest
from detectron2.data import DatasetCatalog
from PIL import Image

from d2video.config import load_cfg
from d2video.data.datasets.coco_tracks import load_coco_tracks
from d2video.data.datasets.from_config import DATASET_FORMATS, dataset_format
from d2video.data.datasets.image_folder import load_image_pairs
from d2video.data.datasets.video_classification import load_video_folders
from d2video.data.loading import load_records
from d2video.formats.faults import Doubt, EntryError, Fault, LeftOut, Tally, refuse, reporting
from d2video.formats.mot_ground_truth import read_mots_ground_truth
from d2video.utils.errors import UserError
from tests.formats.test_mot_sequence import mots_line, rle
from tests.fuzz.targets_json import tracks_content


def places(faults):
    return [(fault.kind, fault.entry) for fault in faults]


def test_a_fault_says_where_it_is():
    fault = Fault("a.txt", "line", 3, "it is empty")
    assert str(fault) == "a.txt, line 3: it is empty"
    assert str(Fault("a.json", "image", 7, "no size")) == "a.json: image 7: no size"
    with pytest.raises(UserError, match="a.txt, line 3: it is empty"):
        refuse(fault)


def test_an_entry_takes_its_own_errors_alone():
    faults = []
    with reporting(faults.append, "a.txt", "line", 3):
        raise EntryError("it is empty")
    assert faults == [Fault("a.txt", "line", 3, "it is empty")]
    with pytest.raises(KeyError), reporting(faults.append, "a.txt", "line", 4):
        raise KeyError("x")
    assert len(faults) == 1


def test_what_is_left_out_is_counted_by_reason(tmp_path, caplog):
    found = []
    tally = Tally(str(tmp_path), "rows")
    tally.tell(found.append)
    assert found == []
    tally.used = 30
    tally.leave_out("with flag 0", 3)
    tally.leave_out("of class 2")
    tally.leave_out("of class 2", 47)
    tally.leave_out("of no frame", 0)
    tally.tell(found.append)
    assert found == [LeftOut(str(tmp_path), "rows", 30, {"of class 2": 48, "with flag 0": 3})]
    text = f"{tmp_path}: 30 of 81 rows are used; left out: 48 of class 2, 3 with flag 0"
    assert str(found[0]) == text
    # Training reads a file for records and for its evaluator: it is told once.
    refuse(found[0])
    refuse(found[0])
    refuse(Doubt(str(tmp_path / "a.json"), "it looks odd"))
    assert [record.getMessage() for record in caplog.records] == [
        text,
        f"{tmp_path / 'a.json'}: it looks odd",
    ]


def test_all_rows_of_masks(tmp_path):
    mask, other = rle(0, 0, 5, 5), rle(12, 10, 5, 5)
    lines = [
        mots_line(1, 1, 2, mask),
        "1 2 two 24 32 abc",
        "1 2 2",
        mots_line(1, 1, 2, other),
        mots_line(9, 1, 2, other),
        "2 1 2 24 32 PP",
        "2 2 2 24 32 11",
        mots_line(3, 1, 2, mask),
        mots_line(3, 2, 2, mask),
        mots_line(4, 1, 2, mask),
    ]
    path = tmp_path / "gt.txt"
    path.write_text("\n".join(lines))
    faults = []
    rows = read_mots_ground_truth(str(path), range(1, 7), report=faults.append)
    assert sorted(places(faults)) == [("line", n) for n in (2, 3, 4, 5, 6, 7, 8)]
    assert rows.frame.tolist() == [1, 4]


def test_all_entries_of_tracks(tmp_path):
    content = tracks_content()
    first = content["annotations"][0]
    for image in content["images"]:
        del image["seq_length"]
    content["images"] += [
        {**content["images"][0], "id": 4, "frame_id": 4, "height": 0},
        {**content["images"][0], "id": 5, "video_id": 6, "file_name": "5.jpg"},
        {**content["images"][0], "id": 6, "video_id": 6, "frame_id": 2, "width": 40}
        | {"file_name": "6.jpg"},
    ]
    content["annotations"] += [
        {**first, "id": 4, "image_id": 4},  # the fault is the image's
        {**first, "id": 5},
        {**first, "id": 6, "track_id": 2, "bbox": [1, 2, 0, 3]},
        7,
    ]
    path = tmp_path / "a.json"
    path.write_text(json.dumps(content))
    found = []
    (record,) = load_coco_tracks(str(path), "", report=found.append)
    assert places(each for each in found if isinstance(each, Fault)) == [
        *(("image", 4), ("annotation", "[6]"), ("images with video_id", 6)),
        ("annotation", 5),
    ]
    (left_out,) = (each for each in found if isinstance(each, LeftOut))
    assert left_out.reasons == {"whose box has no area": 1}
    assert [len(frame) for frame in record["annotations"]] == [1, 1, 1]


def test_all_pairs_and_folders(tmp_path):
    for name, side in (("a/1", 8), ("a/2", 8), ("a/3", 8), ("b/1", 4), ("b/2", 5), ("b/4", 4)):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (side, side)).save(tmp_path / f"{name}.png")
    faults = []
    roots = str(tmp_path / "a"), str(tmp_path / "b")
    records = load_image_pairs(*roots, "sr_x2", scale=2, report=faults.append)
    assert [fault.path.removeprefix(str(tmp_path)) for fault in faults] == [
        *("/a/3.png", "/b/4.png", "/a/2.png")
    ]
    assert [record["file_name"] for record in records] == [f"{roots[0]}/1.png"]
    faults.clear()
    (tmp_path / "b/1.mp4").touch()
    records, _ = load_video_folders(str(tmp_path), class_names=["b", "c"], report=faults.append)
    assert [fault.entry for fault in faults] == ["'a'", "'c'"]
    assert [record["label"] for record in records] == [0]


@pytest.fixture
def lines_format(scratch_catalog):
    """A format that a project might add."""

    @dataset_format("lines")
    def register(name: str, list_file: str) -> None:
        def load(report=refuse):
            records = []
            with open(list_file) as file:
                for number, line in enumerate(file, 1):
                    with reporting(report, list_file, "line", number):
                        if not line.strip():
                            raise EntryError("it is empty")
                        records.append({"file_name": line.strip(), "image_id": number})
            return records

        DatasetCatalog.register(name, load)

    yield
    del DATASET_FORMATS["lines"]


def test_a_format_from_elsewhere(tmp_path, lines_format):
    path = tmp_path / "a.txt"
    path.write_text("a.png\n\nb.png\n\n")
    load_cfg("", ["DATASETS.REGISTER", str([["mine", "lines", {"list_file": str(path)}]])])
    with pytest.raises(UserError, match="a.txt, line 2: it is empty"):
        load_records("mine")
    faults = []
    assert [r["image_id"] for r in load_records("mine", faults.append)] == [1, 3]
    assert places(faults) == [("line", 2), ("line", 4)]
