"""KITTI's rules, from its files to the numbers of TrackEval, which reads the same files."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from detectron2.data import MetadataCatalog
from detectron2.structures import Boxes, Instances

from d2video.data.datasets.label_sets import register_labels
from d2video.evaluation import MOTEvaluator, build_evaluator
from d2video.utils.errors import UserError
from tests.formats.test_kitti import row
from tests.helpers.trackeval_files import assert_equal_results, evaluate_files
from tests.helpers.true_labels import TrueVideo, write_images

pytestmark = pytest.mark.usefixtures("scratch_catalog")

SIZE, LENGTH = (48, 64), 25
TYPES = ("Car", "Pedestrian", "Car", "Van", "Person", "Pedestrian", "Cyclist", "Car")


@dataclass(frozen=True)
class Track:
    """A box of the answer: left, top, right, bottom."""

    frame: int
    id: int
    type: str
    box: tuple[float, ...]


def random_sequence(rng: np.random.Generator, length: int) -> tuple[list[str], list[Track]]:
    """Lines of labels, and an answer that is wrong in all ways. Eighths of pixels have no rounding."""
    starts = rng.integers(0, [320, 160], (len(TYPES), 2)) / 8
    speeds = rng.integers(-4, 5, (len(TYPES), 2)) / 8
    sizes = rng.integers([80, 150], [160, 280], (len(TYPES), 2)) / 8  # 19 to 35 pixels high
    lines, found = [], []
    for t in range(length):
        for k in rng.permutation(len(TYPES)).tolist():
            low = starts[k] + (20 - abs(20 - t % 40)) * speeds[k]  # there and back
            box = (*low.tolist(), *(low + sizes[k]).tolist())
            seen = rng.random() < 0.9
            if seen:
                levels = {"truncated": int(rng.random() < 0.1), "occluded": int(rng.integers(0, 4))}
                lines.append(row(t, k, TYPES[k], box, **levels))
            if rng.random() < (0.85 if seen else 0.4):
                moved = np.add(box, rng.integers(-16, 17, 4) / 8)
                name = TYPES[k] if rng.random() < 0.9 and k < 3 else ("Car", "Pedestrian")[k % 2]
                found.append(
                    Track(t, k + 10 * (k < 3 and t > length // 2), name, (*moved.tolist(),))
                )
        for x in rng.integers(0, 40, rng.integers(0, 3)).tolist():
            lines.append(row(t, -1, "DontCare", (x, 0, x + 30, 30), -1, -1))
        for k in range(rng.integers(0, 4)):
            x, y, high = (rng.integers(0, 240, 3) / 8).tolist()
            found.append(
                Track(t, 30 + k, ("Car", "Pedestrian")[k % 2], (x, y, x + 9, y + high + 12))
            )
    return lines, found


def write_files(
    root: Path, sequences: dict[str, tuple[list[str], list[Track]]], length: int
) -> None:
    """``label_02`` and ``image_02`` for us, and what TrackEval needs besides."""
    (root / "label_02").mkdir(parents=True)
    (root / "trackers" / "t" / "data").mkdir(parents=True)
    seqmap = ""
    for name, (lines, found) in sequences.items():
        text = "".join(f"{line}\n" for line in lines)
        (root / "label_02" / f"{name}.txt").write_text(text)
        tracks = (f"{row(each.frame, each.id, each.type, each.box)} 0.9\n" for each in found)
        (root / "trackers" / "t" / "data" / f"{name}.txt").write_text("".join(tracks))
        write_images(TrueVideo(name, length, ()), root / "image_02" / name, "{:06d}.png")
        seqmap += f"{name} empty 000000 {length:06d}\n"
    (root / "evaluate_tracking.seqmap.training").write_text(seqmap)


def answer(found: list[Track], names: list[str], length: int) -> dict:
    frames = []
    for t in range(length):
        rows = [each for each in found if each.frame == t]
        boxes = torch.tensor([each.box for each in rows], dtype=torch.float64).reshape(-1, 4)
        classes, ids = [names.index(each.type) for each in rows], [each.id for each in rows]
        frames.append(
            Instances(
                SIZE,
                pred_boxes=Boxes(boxes),
                scores=torch.ones(len(rows)),
                pred_classes=torch.tensor(classes, dtype=torch.int64),
                track_ids=torch.tensor(ids, dtype=torch.int64),
            )
        )
        frames[-1].pred_boxes.tensor = boxes  # which Boxes makes float32
    return {"image_size": SIZE, "frames": frames}


def compare(
    root: Path, length: int, seed: int, classes: list[str] | None, rtol: float = 0.0
) -> dict:
    """Compare all fields with those of TrackEval; the results of ours."""
    rng = np.random.default_rng(seed)
    sequences = {name: random_sequence(rng, length) for name in ("0000", "0007")}
    write_files(root, sequences, length)
    expected = evaluate_files("Kitti2DBox", root, root / "trackers")
    register_labels(f"kitti {seed}", str(root), format="kitti", classes=classes)
    evaluator = build_evaluator(f"kitti {seed}", str(root / "out"))
    names = MetadataCatalog.get(f"kitti {seed}").thing_classes
    answers = [answer(found, names, length) for _, found in sequences.values()]
    evaluator.process([{"sequence": name} for name in sequences], answers)
    results = evaluator.evaluate()["mot"]
    names = {"Car": "car", "Pedestrian": "pedestrian"}
    assert_equal_results(root / "out" / "results.json", expected, names, rtol)
    return results


@pytest.mark.parametrize(("seed", "classes"), [(0, None), (1, ["Pedestrian", "Cyclist", "Car"])])
def test_all_numbers_are_trackevals(tmp_path, capfd, seed, classes):
    results = compare(tmp_path, LENGTH, seed, classes)
    assert 20 < results["HOTA"] < 80
    assert min(results[key] for key in ("IDSW", "FP", "FN", "MT", "Frag")) > 0
    assert {key for key in results if key.startswith("HOTA-")} == {"HOTA-Car", "HOTA-Pedestrian"}


def one_frame(root: Path, *lines: str, classes: list[str]) -> MOTEvaluator:
    write_files(root, {"0000": ([*lines], [])}, 1)
    register_labels("one", str(root), format="kitti", classes=classes)
    return build_evaluator("one", str(root / "out"))


CAR, FAR = (0, 0, 20, 30), (40, 0, 60, 30)


@pytest.mark.parametrize(
    ("line", "box", "false_positives", "misses"),
    [
        (row(0, 1, "Car", FAR), FAR, 0, 0),
        (row(0, 1, "Cyclist", FAR), FAR, 1, 0),
        (row(0, 1, "Van", FAR), FAR, 0, 0),
        (row(0, 1, "Van", FAR), (0, 35, 9, 48), 0, 0),  # too low to count, and a van is not missed
        (row(0, 1, "Car", FAR, occluded=3), FAR, 0, 0),
        (row(0, 1, "Car", FAR, occluded=2), (0, 35, 9, 48), 0, 1),
        (row(0, 1, "Car", FAR, truncated=1), (0, 15, 9, 48), 1, 0),
        (row(0, -1, "DontCare", FAR), (42, 0, 60, 28), 0, 0),
        (row(0, -1, "DontCare", FAR), (20, 0, 60, 28), 1, 0),  # of which half lies in it
    ],
)
def test_what_counts(tmp_path, line, box, false_positives, misses):
    evaluator = one_frame(tmp_path, row(0, 0, "Car", CAR), line, classes=["Car"])
    found = [Track(0, 0, "Car", CAR), Track(0, 1, "Car", box)]
    evaluator.process([{"sequence": "0000"}], [answer(found, ["Car"], 1)])
    mot = evaluator.evaluate()["mot"]
    assert (mot["FP"], mot["FN"]) == (false_positives, misses)


def test_classes_that_kitti_does_not_score(tmp_path):
    evaluator = one_frame(tmp_path, row(0, 1, "Cyclist", FAR), classes=["Cyclist"])
    evaluator.process(
        [{"sequence": "0000"}], [answer([Track(0, 1, "Cyclist", FAR)], ["Cyclist"], 1)]
    )
    assert evaluator.evaluate()["mot"]["HOTA"] == 100  # by the rules that count for any data
    register_labels("two", str(tmp_path), format="kitti", classes=["Car", "Cyclist"])
    with pytest.raises(UserError, match="left out: 1 of classes that KITTI does not score"):
        build_evaluator("two", str(tmp_path / "out"))
