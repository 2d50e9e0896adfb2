"""Data sets that a config registers."""

import itertools
import re

import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog
from PIL import Image

from d2video.config import load_cfg
from d2video.data import build_train_loader
from d2video.utils.errors import UserError

pytestmark = pytest.mark.usefixtures("scratch_catalog")


def register(*entries):
    return load_cfg("", ["DATASETS.REGISTER", str(list(entries))])


def test_from_the_command_line_to_batches(ytvis_content, image_root, write_json):
    arguments = {"json_file": write_json(ytvis_content), "image_root": str(image_root)}
    entry = ["mine", "ytvis", arguments]
    cfg = register(entry)
    register(entry)  # as in the parent process and again in a child
    cfg.merge_from_list(["DATASETS.TRAIN", ("mine",), "INPUT.CLIP.NUM_FRAMES", 2])
    cfg.INPUT.DATASET_MAPPER = "ClipDatasetMapper"
    cfg.merge_from_list(["SOLVER.IMS_PER_BATCH", 1, "DATALOADER.NUM_WORKERS", 0])
    (batch,) = itertools.islice(build_train_loader(cfg), 1)
    assert len(batch[0]["image"]) == 2
    with pytest.raises(UserError, match="there is a dataset mine already"):
        register(["mine", "image_folder", {"image_root": "photos"}])


def test_a_config_file(image_root, tmp_path):
    path = tmp_path / "own.yaml"
    path.write_text(
        "DATASETS:\n  REGISTER:\n"
        f'  - ["own_sr_x2", "image_folder", {{"image_root": "{image_root}", "task": "sr_x2"}}]\n'
    )
    load_cfg(str(path), [])
    assert {record["task"] for record in DatasetCatalog.get("own_sr_x2")} == {"sr_x2"}


@pytest.mark.parametrize(
    ("kind", "arguments"),
    [
        ("coco", {"json_file": "a.json", "image_root": "a"}),
        ("coco", {"json_file": "a.json", "image_root": "a", "metadata": {"thing_classes": ["a"]}}),
        ("coco_panoptic", {"image_root": "a", "panoptic_root": "b", "panoptic_json": "b.json"}),
        ("coco_tracks", {"json_file": "a.json", "image_root": "a"}),
        ("mot", {"root": "a", "benchmark": "MOT17", "frame_range": [0.5, 1.0]}),
        ("crowdhuman", {"odgt": "a.odgt", "image_root": "a"}),
        ("video_list", {"list_file": "a.csv", "separator": ","}),
        ("video_folders", {"video_root": "a", "class_names": ["x", "y"]}),
        ("kinetics", {"list_file": "a.csv", "video_root": "a"}),
        ("image_pairs", {"clean_root": "a", "degraded_root": ["b"], "task": "derain"}),
    ],
)
def test_every_format(kind, arguments):
    register(["own", kind, arguments])
    assert "own" in DatasetCatalog
    wanted = arguments.get("metadata", {})
    assert wanted.items() <= vars(MetadataCatalog.get("own")).items()


def test_home(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    for folder in ("clean", "degraded"):
        (tmp_path / folder).mkdir()
        Image.new("RGB", (4, 4)).save(tmp_path / folder / "a.png")
    arguments = {"clean_root": "~/clean", "degraded_root": ["~/none", "~/degraded"], "task": "own"}
    register(["own", "image_pairs", arguments])
    (record,) = DatasetCatalog.get("own")
    assert record["file_name"] == f"{tmp_path}/clean/a.png"
    assert record["degraded_file_name"] == f"{tmp_path}/degraded/a.png"
    register(["crowd", "crowdhuman", {"odgt": "~/a.odgt", "image_root": "~"}])
    with pytest.raises(UserError, match=f"{tmp_path}/a.odgt"):
        DatasetCatalog.get("crowd")


PAIRS = {"clean_root": "a", "degraded_root": "b", "task": "derain"}


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("mine", "entry 'mine' must have the form"),
        (["mine", "ytvis"], "must have the form"),
        (["", "ytvis", {}], "must have the form"),
        (["mine", "voc", {}], "mine has the format 'voc': choose bdd100k, burst, coco, "),
        (["mine", "ytvis", {"json_file": "a"}], "mine: missing a required argument: 'image_root'"),
        (["mine", "image_folder", {"root": "a"}], "image_folder takes image_root: a text, task"),
        (["mine", "image_folder", {"image_root": 3}], "mine: image_root cannot be 3; image_folder"),
        *(
            (
                ["mine", kind, {**arguments, key: value}],
                f"{key} cannot be {re.escape(repr(value))}; {kind}",
            )
            for kind, arguments, key, value in (
                ("coco", {"json_file": "a"}, "image_root", ["a"]),
                ("coco", {"json_file": "a", "image_root": "a"}, "metadata", "a"),
                ("ytvis", {"json_file": "a", "image_root": "a"}, "metadata", ["a"]),
                ("image_folder", {"image_root": "a"}, "recursive", "False"),
                ("image_folder", {"image_root": "a"}, "recursive", 0),
                ("image_folder", {"image_root": "a"}, "task", 3),
                ("image_pairs", PAIRS, "scale", "2"),
                ("image_pairs", PAIRS, "scale", True),
                ("image_pairs", PAIRS, "scale", 2.0),
                ("image_pairs", PAIRS, "clean_pattern", 5),
                ("mot", {"root": "a", "benchmark": "b"}, "min_visibility", "0.5"),
                ("mot", {"root": "a", "benchmark": "b"}, "frame_range", (0.5,)),
                ("mot", {"root": "a", "benchmark": "b"}, "sequences", "MOT17-02"),
                ("video_list", {"list_file": "a"}, "on_missing", "ignore"),
                ("video_list", {"list_file": "a"}, "class_names", (1, 2)),
            )
        ),
        (["mine", "mot", {"name": "a", "root": "b", "benchmark": "c"}], "multiple values.*'name'"),
    ],
)
def test_mistakes(entry, message):
    with pytest.raises(UserError, match=f"DATASETS.REGISTER: .*{message}"):
        register(entry)
