"""Evaluation by the annotations of records, compared with that by a gt.txt of the same data."""

import json
import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.structures import Boxes, Instances

from d2video.data.datasets.coco_tracks import register_coco_tracks
from d2video.data.datasets.mot import register_mot
from d2video.evaluation import build_evaluator
from d2video.evaluation.mot.ground_truth import MOTGroundTruth
from d2video.formats.mot_ground_truth import read_mot_ground_truth
from d2video.synthetic import ShapesSpec, write_mot_shapes
from d2video.utils.errors import UserError

pytestmark = pytest.mark.usefixtures("scratch_catalog")

NAMES = ("val-0001", "val-0002")
LENGTH, SIZE = 12, (48, 64)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """``val/<sequence>``, objects that leave the image, meet and come back."""
    root = tmp_path_factory.mktemp("shapes")
    spec = ShapesSpec(
        num_frames=(LENGTH, LENGTH),
        height=SIZE[0],
        width=SIZE[1],
        min_objects=3,
        max_objects=4,
        speed=(0.2, 0.4),
    )
    write_mot_shapes(root, {"val": len(NAMES)}, spec, seed=3, progress=False)
    return root / "val"


def coco_content(folder: Path) -> dict:
    """The same in COCO's JSON, corners from 0 on, tracks numbered anew."""
    images, annotations = [], []
    for video, name in enumerate(NAMES):
        rows = read_mot_ground_truth(str(folder / name / "gt" / "gt.txt"), range(1, LENGTH + 1))
        images += [
            {
                "id": 100 * video + t,
                "file_name": f"{name}/img1/{t:06d}.jpg",
                "height": SIZE[0],
                "width": SIZE[1],
                "frame_id": t,
                "video_id": video,
            }
            for t in range(1, LENGTH + 1)
        ]
        for frame, track, (left, top, width, height) in zip(rows.frame, rows.id, rows.box):
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": 100 * video + int(frame),
                    "track_id": 500 - int(track),
                    "category_id": 6,
                    "bbox": [left - 1, top - 1, width, height],
                }
            )
    return {
        "categories": [{"id": 6, "name": "shape"}],
        "videos": [{"id": k, "name": name} for k, name in enumerate(NAMES)],
        "images": images,
        "annotations": annotations[::-1],
    }


def register(tmp_path: Path, folder: Path, content: dict) -> str:
    path = tmp_path / "tracks.json"
    path.write_text(json.dumps(content))
    register_coco_tracks("own_tracks", str(path), str(folder))
    return "own_tracks"


def answers(folder: Path) -> tuple[list[dict], list[dict]]:
    """The labels with shifted boxes, some missing, some invented, and ids that change."""
    rng = np.random.default_rng(0)
    outputs = []
    for name in NAMES:
        rows = read_mot_ground_truth(str(folder / name / "gt" / "gt.txt"), range(1, LENGTH + 1))
        frames = []
        for t in range(1, LENGTH + 1):
            chosen = (rows.frame == t) & (rng.random(len(rows)) < 0.85)
            low = rows.box[chosen, :2] - 1
            boxes = np.concatenate([low, low + rows.box[chosen, 2:]], axis=1)
            boxes += rng.normal(0, 1.5, boxes.shape)
            ids = rows.id[chosen] + 20 * (t > LENGTH // 2) * (rows.id[chosen] == 1)
            if t % 3 == 0:
                boxes, ids = np.append(boxes, [[3, 3, 12, 14]], axis=0), np.append(ids, 99)
            frames.append(
                Instances(
                    SIZE,
                    pred_boxes=Boxes(torch.from_numpy(boxes)),
                    scores=torch.ones(len(ids)),
                    pred_classes=torch.zeros(len(ids), dtype=torch.int64),
                    track_ids=torch.from_numpy(ids),
                )
            )
        outputs.append({"image_size": SIZE, "frames": frames})
    return [{"sequence": name} for name in NAMES], outputs


def evaluate(dataset: str, output: Path, inputs: list[dict], outputs: list[dict]) -> dict:
    evaluator = build_evaluator(dataset, str(output))
    evaluator.process(inputs, outputs)
    return evaluator.evaluate()


def test_same_numbers_as_from_files_of_motchallenge(tmp_path, folder):
    register_mot("laid_out", str(folder), benchmark="MOT17", class_name="shape")
    own = register(tmp_path, folder, coco_content(folder))
    outputs = {kind: tmp_path / kind for kind in ("laid_out", "own")}
    theirs = evaluate("laid_out", outputs["laid_out"], *answers(folder))["mot"]
    ours = evaluate(own, outputs["own"], *answers(folder))["mot"]
    assert ours == pytest.approx(theirs, rel=1e-12)  # rows and ids are in another order
    assert 20 < ours["HOTA"] < 80
    for name in ("IDSW", "FP", "FN", "MT", "Frag"):
        assert ours[name] > 0, name
    for name in NAMES:
        one, other = (json.loads((p / "results.json").read_text()) for p in outputs.values())
        expected = one["sequences"][name]["summary"]
        assert other["sequences"][name]["summary"] == pytest.approx(expected, rel=1e-12)
        one, other = ((p / f"{name}.txt").read_text() for p in outputs.values())
        assert one == other


def test_perfect_answers_that_training_would_not_see(tmp_path, folder):
    """Boxes count however little is visible; tracks on crowds and ignored objects do not count."""
    content = coco_content(folder)
    for annotation in content["annotations"]:
        annotation["visibility"] = 0.01
    content["annotations"][0]["iscrowd"] = content["annotations"][1]["ignore"] = 1
    del content["annotations"][0]["track_id"]
    name = register(tmp_path, folder, content)
    inputs, outputs = answers(folder)
    records = DatasetCatalog.get(name)
    assert sum(len(frame) for r in records for frame in r.get("ignored", ())) == 2
    for record, answer in zip(records, outputs):
        for t, labels in enumerate(record["annotations"]):
            labels = labels + record["ignored"][t] if "ignored" in record else labels
            boxes = torch.tensor([each["bbox"] for each in labels]).reshape(-1, 4)
            boxes[:, 2:] += boxes[:, :2]
            answer["frames"][t] = Instances(
                SIZE,
                pred_boxes=Boxes(boxes),
                scores=torch.ones(len(boxes)),
                pred_classes=torch.zeros(len(boxes), dtype=torch.int64),
                track_ids=torch.tensor([each["id"] or 999 for each in labels], dtype=torch.int64),
            )
    mot = evaluate(name, tmp_path / "output", inputs, outputs)["mot"]
    assert mot["HOTA"] == mot["MOTA"] == mot["IDF1"] == 100.0


def test_unlabelled_data_only_get_their_files(tmp_path, folder, caplog):
    content = coco_content(folder)
    del content["annotations"]
    name = register(tmp_path, folder, content)
    with caplog.at_level(logging.INFO):
        assert evaluate(name, tmp_path / "output", *answers(folder)) == {}
    assert "dataset own_tracks has no labels" in caplog.text
    assert len([*(tmp_path / "output").iterdir()]) == len(NAMES)


@pytest.mark.parametrize("video", ["..", ""])
def test_names_that_no_file_can_have_are_refused(tmp_path, folder, video):
    content = coco_content(folder)
    content["videos"][0]["name"] = video
    name = register(tmp_path, folder, content)
    with pytest.raises(UserError, match=f"video '{video}': its name"):
        build_evaluator(name, str(tmp_path))


def test_records_without_a_reader_of_labels(tmp_path, folder):
    record = {"sequence": "a", "file_names": ["a/1.jpg"], "length": 1, "height": 2, "width": 3}
    names = ["shape"]
    with pytest.raises(UserError, match="here: benchmark 'MOT99' is unknown"):
        MOTGroundTruth.from_records("here", "MOT99", [record], names)
    with pytest.raises(UserError, match="here: sequences have the same name"):
        MOTGroundTruth.from_records("here", "MOT17", [record, record], names)
    assert MOTGroundTruth.from_records("here", "MOT17", [record], names).rows == {}
    DatasetCatalog.register("videos", lambda: [record])
    MetadataCatalog.get("videos").evaluator_type = "mot"
    with pytest.raises(UserError, match="videos has no benchmark in its metadata: register it"):
        build_evaluator("videos", str(tmp_path))
