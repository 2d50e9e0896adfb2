"""Lists, Kinetics' annotations and folders of classes: records, and one clear line for every fault."""

import logging
from functools import partial

import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog

from d2video.data.class_names import class_names
from d2video.data.datasets.video_classification import (
    load_kinetics,
    load_video_folders,
    load_video_list,
    register_video_folders,
    register_video_list,
)
from d2video.utils.errors import UserError

HEADER = "label,youtube_id,time_start,time_end,split\n"


@pytest.fixture
def files(tmp_path):
    """Empty files in the place of videos: none is opened."""
    for name in ("v/a.mp4", "v/my b.mp4", "v/yt-0_000010_000020.mp4", "v/_x,1_000000_000010.mp4"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    return tmp_path


def write(folder, text):
    (folder / "list.csv").write_text(text)
    return str(folder / "list.csv")


def test_list(files, scratch_catalog):
    path = write(files, "a.mp4 2\n\nmy b.mp4 0\r\n")
    register_video_list("mine", path, str(files / "v"))
    assert DatasetCatalog.get("mine") == [
        {"file_name": str(files / "v/a.mp4"), "video_id": 1, "label": 2},
        {"file_name": str(files / "v/my b.mp4"), "video_id": 2, "label": 0},
    ]
    metadata = MetadataCatalog.get("mine")
    assert metadata.thing_classes == ["0", "1", "2"]
    assert (metadata.evaluator_type, metadata.list_file) == ("video_classification", path)
    comma = write(files, f"{files}/v/a.mp4,1")
    with pytest.raises(UserError, match="line 1: .*a.mp4 lies outside video_root"):
        load_video_list(comma, "/else", separator=",")
    records, names = load_video_list(comma, separator=",", class_names=["x", "y"])
    assert (records[0]["file_name"], names) == (str(files / "v/a.mp4"), ["x", "y"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a.mp4 0\na.mp4\n", "line 2: no label in 'a.mp4'; expected a path, a space and a label"),
        ("a.mp4 0\na.mp4,1\n", "line 2: no label in 'a.mp4,1'; the separator seems to be a comma"),
        ("my b.mp4\t1\n", "line 1: .*the separator seems to be a tab"),
        ("my b.mp4;1\n", "line 1: label 'b.mp4;1' is not a whole number.*a semicolon"),
        ("a.mp4 0\n../v/a.mp4 1\n", "line 2: ../v/a.mp4 lies outside video_root"),
        ("a.mp4 cat\n", "line 1: label 'cat' is not a whole number"),
        ("a.mp4 1.5\n", "line 1: label '1.5' is not a whole number"),
        ("a.mp4 0\na.mp4 -1\n", "line 2: label -1 is out of range"),
        ("a.mp4 0\na.mp4 2\n", "line 2: label 2 is out of range, there are 2 classes"),
        ("a.mp4 0\nmy b.mp4 1\na.mp4 1\n", "line 3: .*a.mp4 has label 1, and 0 in line 1"),
        ("\n\n", "is empty"),
        ("a.mp4 0\nc.mp4 0\nd.mp4 1\n", "2 of 3 videos do not exist, the first is .*c.mp4"),
    ],
)
def test_faults_of_a_list(files, text, message):
    path = write(files, text)
    with pytest.raises(UserError, match=message) as error:
        load_video_list(path, str(files / "v"), class_names=["x", "y"])
    assert path in str(error.value)
    assert "\n" not in str(error.value)


def test_other_faults_of_a_list(files):
    with pytest.raises(UserError, match="does not exist: set DETECTRON2_DATASETS"):
        load_video_list(str(files / "none.csv"))
    with pytest.raises(UserError, match="cannot read"):
        load_video_list(str(files))
    with pytest.raises(UserError, match="class 'x' twice"):
        load_video_list(write(files, "a.mp4 0"), class_names=["x", "x"])
    with pytest.raises(UserError, match="out of range"):
        load_video_list(write(files, "a.mp4 123456789"))
    with pytest.raises(UserError, match="the separator is empty"):
        load_video_list(write(files, "a.mp4 1"), separator="")


def test_kinetics(files, caplog):
    text = HEADER + 'zumba,yt-0,10,20,val\n"a, b","_x,1",0,10,val\n'.replace('"_x,1"', '"_x,1"')
    records, names = load_kinetics(write(files, text), str(files / "v"), num_classes=2)
    assert names == ["a, b", "zumba"]
    assert [(r["video_id"], r["label"]) for r in records] == [(1, 1), (2, 0)]
    assert records[0]["file_name"] == str(files / "v/yt-0_000010_000020.mp4")
    with caplog.at_level(logging.WARNING):
        path = write(files, text + "zumba,gone,1,11,val\n")
        assert len(load_kinetics(path, str(files / "v"))[0]) == 2
    assert "1 of 3 videos do not exist, the first is" in caplog.text
    unlabelled = write(files, "youtube_id,time_start,time_end\nyt-0,10,20\n")
    records, names = load_kinetics(unlabelled, str(files / "v"))
    assert names is None
    assert "label" not in records[0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1: no column youtube_id"),
        ("a.mp4 0\n", "register_video_list"),
        (HEADER, "is empty"),
        (HEADER + "x,yt-0,ten,20,val\n", "line 2: time_start or time_end is not a number"),
        (HEADER + "x,yt-0\n", "line 2: time_start or time_end is not a number"),
        (HEADER + ",yt-0,10,20,val\n", "line 2: no label for video yt-0"),
        (HEADER + "x,yt-0,10,20,val\n" * 2, "line 3: the same video as in .*line 2"),
        (HEADER + "x,yt-0,10,20,val\n", "has 1 classes where 400 are expected"),
        (HEADER + 'x,"yt-0,10,20,val\n' + "y" * 200_000, "after line 1: no csv .*quotation mark"),
    ],
)
def test_faults_of_kinetics(files, text, message):
    with pytest.raises(UserError, match=message):
        load_kinetics(write(files, text), str(files / "v"), num_classes=400)


def test_kinetics_with_foreign_labels_or_without_any_video(files):
    path = write(files, HEADER + "x,yt-0,10,20,val\n")
    with pytest.raises(UserError, match="line 2: label 'x' is not one of the classes"):
        load_kinetics(path, str(files / "v"), class_names=["y"])
    with pytest.raises(UserError, match="1 of 1 videos do not exist"):
        load_kinetics(path, str(files / "elsewhere"))


def test_folders(files, scratch_catalog):
    for name in ("b/2.MP4", "b/1.webm", "b/notes.txt", "a/x.avi", ".hidden/x.mp4"):
        path = files / "c" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    root = files / "c"
    register_video_folders("mine", str(root))
    found = [(r["file_name"], r["video_id"], r["label"]) for r in DatasetCatalog.get("mine")]
    names = ["a/x.avi", "b/1.webm", "b/2.MP4"]
    assert found == [(str(root / n), k, int(k > 1)) for k, n in enumerate(names, 1)]
    assert MetadataCatalog.get("mine").thing_classes == ["a", "b"]
    assert [r["label"] for r in load_video_folders(str(root), class_names=["b", "a"])[0]] == [
        0,
        0,
        1,
    ]
    with pytest.raises(UserError, match="class 'b': it has a folder but is not"):
        load_video_folders(str(root), class_names=["a"])
    with pytest.raises(UserError, match="class 'd': it has no folder"):
        load_video_folders(str(root), class_names=["a", "b", "d"])
    (root / "d").mkdir()
    with pytest.raises(UserError, match="class folder .*d holds no video"):
        load_video_folders(str(root))
    with pytest.raises(UserError, match="holds no folder"):
        load_video_folders(str(root / "d"))
    with pytest.raises(UserError, match="does not exist"):
        load_video_folders(str(root / "e"))


def test_class_with_an_empty_name(files):
    path = write(files, "a.mp4 1\nb.mp4 0")
    load = partial(load_video_list, path, str(files / "v"), on_missing="keep")
    with pytest.raises(UserError, match="line 2: label 0 has an empty name in class_names: give"):
        load(class_names=["", "x"])
    assert load(class_names=["y", "x", ""])[1] == ["y", "x", ""]  # a dummy class


def test_class_names_are_read_from_list_or_folders(files, scratch_catalog):
    register_video_list("mine", write(files, "a.mp4 1"), str(files / "v"))
    assert class_names("mine") == ["0", "1"]
    register_video_folders("folders", str(files))
    assert class_names("folders") == ["v"]


def test_builtin_names():
    known = {f"kinetics{n}_{s}" for n in (400, 600, 700) for s in ("train", "val")}
    assert known | {"motion_train", "motion_val"} <= set(DatasetCatalog)
