"""The golden tracking sequences as folders, records and a model's answers."""

from pathlib import Path

import numpy as np
import torch
from detectron2.structures import Boxes, Instances

from d2video.data.datasets.mot_split import read_sequences
from d2video.evaluation.mot.ground_truth import MOTGroundTruth
from d2video.formats.mot_results import read_mot_results
from d2video.formats.mot_rules import object_rule
from tests.helpers.ytvis_sets import load_json

GOLDEN = load_json("mot_golden.json")
SIZE = (480, 640)


def write_golden(root: Path) -> None:
    """``root/gt/<sequence>/{seqinfo.ini,gt/gt.txt}`` and ``root/results/<sequence>.txt``."""
    (root / "results").mkdir(parents=True)
    for name, sequence in GOLDEN["sequences"].items():
        folder = root / "gt" / name
        (folder / "gt").mkdir(parents=True)
        (folder / "seqinfo.ini").write_text(sequence["seqinfo"])
        (folder / "gt" / "gt.txt").write_text(sequence["gt"])
        (root / "results" / f"{name}.txt").write_text(sequence["results"])


def golden_truth(root: Path, benchmark: str = "MOT17") -> MOTGroundTruth:
    return MOTGroundTruth.read("golden", object_rule(benchmark), read_sequences(str(root / "gt")))


def golden_answers(root: Path) -> tuple[list[dict], list[dict]]:
    """Inputs and outputs of a model that found what stands in the result files."""
    inputs, outputs = [], []
    for name, sequence in GOLDEN["sequences"].items():
        length = sequence["seqLength"]
        results = read_mot_results(root / "results" / f"{name}.txt", range(1, length + 1))
        frames = []
        for t in range(length):
            rows = results.frame == t + 1
            box = results.box[rows]
            low = box[:, :2] - 1
            # In float64: the file has more digits than float32 keeps of large coordinates.
            boxes = Boxes(torch.zeros(0, 4))
            boxes.tensor = torch.from_numpy(np.concatenate([low, low + box[:, 2:]], axis=1))
            frames.append(
                Instances(
                    SIZE,
                    pred_boxes=boxes,
                    scores=torch.from_numpy(results.score[rows]),
                    pred_classes=torch.zeros(len(box), dtype=torch.int64),
                    track_ids=torch.from_numpy(results.id[rows] - 1),
                )
            )
        inputs.append({"sequence": name})
        outputs.append({"image_size": SIZE, "frames": frames})
    return inputs, outputs
