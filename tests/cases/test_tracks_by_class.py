"""``tracks/two_classes.json``: tracks of two classes are trained on and scored by class."""

import json

import pytest
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.structures import Boxes, Instances

from d2video.data.datasets.coco_tracks import register_coco_tracks
from d2video.evaluation import build_evaluator
from tests.helpers.fresh_process import run_fresh
from tests.helpers.mot_folders import evaluate_results
from tests.projects.TrackFormer.tiny import MULTI_FRAME, NODE, SMALL

pytestmark = pytest.mark.usefixtures("scratch_catalog")


@pytest.fixture
def dataset(inputs, pictures):
    path, root = inputs / "tracks" / "two_classes.json", pictures / "shapes_mot" / "val"
    register_coco_tracks("two_classes", str(path), str(root))
    return "two_classes"


def perfect(record: dict) -> dict:
    size, frames = (record["height"], record["width"]), []
    for objects in record["annotations"]:
        boxes = torch.tensor([each["bbox"] for each in objects], dtype=torch.float64).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        frames.append(
            Instances(
                size,
                pred_boxes=Boxes(boxes),
                scores=torch.ones(len(objects)),
                pred_classes=torch.tensor([each["category_id"] for each in objects]),
                track_ids=torch.tensor([each["id"] for each in objects]),
            )
        )
    return {"image_size": size, "frames": frames}


def test_a_perfect_answer_scores_100_for_each_class(dataset, tmp_path):
    records = DatasetCatalog.get(dataset)
    assert MetadataCatalog.get(dataset).thing_classes == ["object", "b"]
    classes = [o["category_id"] for r in records for frame in r["annotations"] for o in frame]
    assert (classes.count(0), classes.count(1)) == (28, 1)
    evaluator = build_evaluator(dataset, str(tmp_path))
    evaluator.process([{"sequence": r["sequence"]} for r in records], [*map(perfect, records)])
    mot = evaluator.evaluate()["mot"]
    for metric in ("HOTA", "MOTA", "IDF1"):
        assert mot[metric] == mot[f"{metric}-object"] == mot[f"{metric}-b"] == 100
    # In files of results a class has the number that it has in the labels.
    assert (tmp_path / "val-0001.txt").read_text().splitlines()[0].split(",")[7] == "2"


@pytest.mark.usefixtures("loggers_as_before")
def test_the_command_reads_its_files(dataset, tmp_path, capsys):
    records = DatasetCatalog.get(dataset)
    evaluator = build_evaluator(dataset, str(tmp_path))
    evaluator.process([{"sequence": r["sequence"]} for r in records], [*map(perfect, records)])
    evaluator.evaluate()
    evaluate_results(tmp_path, dataset)
    table = capsys.readouterr().out
    for name in ("object", "b", "class average", "detection average"):
        assert any(
            line.startswith(f"| {name} ") and " 100.00 " in line for line in table.splitlines()
        ), name


@pytest.mark.slow
def test_a_training_is_scored_by_class(inputs, pictures, tmp_path):
    source = {
        "json_file": str(inputs / "tracks" / "two_classes.json"),
        "image_root": str(pictures / "shapes_mot" / "val"),
    }
    done = run_fresh(
        "tools/train_net.py",
        *("--config-file", "configs/TrackFormer/trackformer_tiny_shapes.yaml"),
        *SMALL,
        *MULTI_FRAME,
        *("DATASETS.REGISTER", [["two_classes", "coco_tracks", source]]),
        *("DATASETS.TRAIN", ["two_classes"], "DATASETS.TEST", ["two_classes"]),
        *(f"{NODE}.NUM_CLASSES", 2, f"{NODE}.TRACKED_CLASSES", []),
        *("SOLVER.MAX_ITER", 1, "SOLVER.IMS_PER_BATCH", 2, "OUTPUT_DIR", tmp_path),
    )
    assert done.returncode == 0, done.stderr[-3000:]
    (scored,) = [
        line
        for line in map(json.loads, (tmp_path / "metrics.json").read_text().splitlines())
        if "mot/HOTA" in line
    ]
    assert {"mot/HOTA-object", "mot/HOTA-b", "mot/MOTA-b", "mot/IDF1-b"} <= scored.keys()
