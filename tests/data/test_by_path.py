"""Data sets named by the path of their labels."""

import json
import shutil
import zipfile

import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog

from d2video.config import load_cfg
from d2video.config.stored import config_text, load_stored_cfg
from d2video.data.datasets.by_path import register_path
from d2video.data.loading import check_registered, load_records
from d2video.utils.errors import UserError
from tests.helpers.coco_sets import instance_content, write_images
from tests.helpers.findings import one_line
from tests.helpers.mot_folders import write_sequence

pytestmark = pytest.mark.usefixtures("scratch_catalog")


def write_ytvis(folder, image_root, content, name):
    """Labels at ``folder / name``, and the frames in ``folder / "train/JPEGImages"``."""
    for video in ("first", "second"):
        shutil.copytree(image_root / video, folder / "train" / "JPEGImages" / video)
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text(json.dumps(content))
    return folder / name


@pytest.mark.parametrize(
    "name", ["train.json", "train/instances.json", "annotations/instances_train.json"]
)
def test_a_file_and_its_frames(name, tmp_path, image_root, ytvis_content):
    path = write_ytvis(tmp_path / "set", image_root, ytvis_content, name)
    registered = register_path(str(path))
    assert registered == str(path)
    assert register_path(str(path)) == registered
    assert (
        str(tmp_path / "set/train/JPEGImages/first/00000.png")
        in load_records(registered)[0]["file_names"]
    )
    assert MetadataCatalog.get(registered).evaluator_type == "ytvis"


def test_an_archive_by_a_name(tmp_path, image_root, ytvis_content, monkeypatch):
    monkeypatch.setenv("FVCORE_CACHE", str(tmp_path / "cache"))
    write_ytvis(tmp_path / "set", image_root, ytvis_content, "train.json")
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        for path in (tmp_path / "set").rglob("*"):
            archive.write(path, path.relative_to(tmp_path))
    assert register_path(str(tmp_path / "set.zip"), name="mine") == "mine"
    (path, *_) = load_records("mine")[0]["file_names"]
    assert path.startswith(str(tmp_path / "cache"))


def test_images(tmp_path):
    (tmp_path / "val").mkdir()
    write_images(tmp_path / "val")
    path = tmp_path / "instances_val.json"
    path.write_text(json.dumps(instance_content()))
    name = register_path(str(path))
    assert [len(record["annotations"]) for record in load_records(name)] == [0, 3, 1]
    other = register_path(
        str(path), image_root=str(tmp_path / "val"), metadata={"thing_classes": ["four", "nine"]}
    )
    assert other == f"{name} (2)"


@pytest.mark.parametrize(
    ("folder", "rows", "benchmark"),
    [
        ("video", ["1,1,2,2,5,5,1,1,1"], "MOT17"),
        ("v_game", ["1, 0, 2, 2, 5, 5, 1, 1, 1"], "MOT17"),  # as SportsMOT
        ("MOT20-01", ["1,1,2,2,5,5,1,1,1"], "MOT20"),
        ("dancetrack0001", ["1,1,2,2,5,5,1,1,1"], "DanceTrack"),
        ("video", ["1,1,2,2,5,5,1,-1,-1,-1"], "MOT15"),
        ("video", ["1 1 2 24 32 0h0"], "MOTS20"),
        ("MOTS20-02", [], "MOTS20"),
        ("MOTS20-02", ["1,1,2,2,5,5,1,1,1"], "MOT17"),
        ("video", ["1 1 2 2 5 5 1 1 1"], "MOT17"),
    ],
)
def test_sequences(folder, rows, benchmark, tmp_path):
    path = write_sequence(tmp_path / "split" / folder, gt=rows)
    for given in (path, path.parent, path / "gt" / "gt.txt"):
        name = register_path(str(given))
        assert MetadataCatalog.get(name).benchmark == benchmark
        (sequence,) = MetadataCatalog.get(name).mot_sequences()
        assert sequence.name == folder


def test_in_a_config(tmp_path, image_root, ytvis_content, monkeypatch):
    write_ytvis(tmp_path / "set", image_root, ytvis_content, "train.json")
    monkeypatch.chdir(tmp_path / "set")
    DatasetCatalog.register("known", list)
    (tmp_path / "set/known").mkdir()
    cfg = load_cfg(
        "", ["DATASETS.TRAIN", '("train.json",)', "DATASETS.TEST", '("train.json", "known")']
    )
    assert cfg.DATASETS.TRAIN == ("train.json",)
    assert cfg.DATASETS.TEST == ("train.json", "known")
    ((name, kind, _),) = cfg.DATASETS.REGISTER
    assert (name, kind) == ("train.json", "ytvis")
    again = load_cfg("", ["DATASETS.TEST", '("train.json",)'])
    assert again.DATASETS.REGISTER == cfg.DATASETS.REGISTER
    text = config_text(cfg)
    monkeypatch.chdir(tmp_path)  # a checkpoint's config goes anywhere
    DatasetCatalog.remove("train.json")
    MetadataCatalog.remove("train.json")
    stored = load_stored_cfg(text, "a checkpoint", ["DATASETS.TEST", "('set/train.json',)"])
    assert len(load_records("train.json")) == 2
    assert stored.DATASETS.TEST == ("set/train.json",)


def test_a_checkpoints_data_set_is_not_a_folder_of_its_name(tmp_path, monkeypatch):
    """A script had registered it; the model works without."""
    cfg = load_cfg("", ["DATASETS.TRAIN", "('mine',)"])
    (tmp_path / "mine").mkdir()
    monkeypatch.chdir(tmp_path)
    assert load_stored_cfg(config_text(cfg), "a checkpoint", []).DATASETS.TRAIN == ("mine",)


@pytest.mark.parametrize(
    ("options", "part"),
    [
        ({"format": "cvta"}, "'cvta' is not a format of labels at a path: choose "),
        ({}, "the folder of its images was not found (5.jpg is not beside it"),
        ({"format": "coco_panoptic"}, "two folders belong"),
        ({"format": "mot"}, "holds no sequence of MOTChallenge"),
        ({"image_root": "a", "masks": True}, "coco takes "),
        ({"image_root": "a", "name": "taken"}, "there is a dataset taken already"),
    ],
)
def test_refused_in_one_line(options, part, tmp_path, write_json):
    DatasetCatalog.register("taken", list)
    path = write_json(instance_content())
    with one_line(part, path):
        register_path(path, **options)


def test_a_path_that_is_not_there():
    with pytest.raises(UserError, match="'exprot.zip' is neither a registered dataset nor a path"):
        check_registered("exprot.zip")
