"""KITTI MOTS, cars and pedestrians by masks: from its files to the numbers of TrackEval."""

from pathlib import Path

import numpy as np
import pytest
import torch
from detectron2.structures import Instances

from d2video.data.datasets.label_sets import register_labels
from d2video.evaluation import MOTEvaluator
from d2video.evaluation.labels import Labels
from d2video.formats.geometry.rle import encode_labels
from tests.helpers.trackeval_files import assert_equal_results, evaluate_files
from tests.helpers.true_labels import HEIGHT, WIDTH, TrueVideo, write_images

pytestmark = pytest.mark.usefixtures("scratch_catalog")

CLASSES = ["car", "pedestrian"]
IGNORED = 10000


def random_frame(rng: np.random.Generator, t: int, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of the pixels: of labels, 1000 x class + track, and of an answer that is wrong in all ways."""
    labels, found = np.zeros((2, HEIGHT, WIDTH), np.int64)
    if t % 3:
        labels[30:44, 5 + t : 30 + t] = IGNORED
    for k in range(6):
        category = 1 + k % 2
        x, y = 2 + 9 * k + rng.integers(0, 3), 3 + 6 * k % 25 + (20 - abs(20 - t % 40)) // 2
        if rng.random() < 0.9:
            labels[y : y + 9, x : x + 8] = 1000 * category + k
        if rng.random() < 0.85:
            x, y = x + rng.integers(-3, 4), y + rng.integers(-2, 3)
            as_other = rng.random() < 0.1
            track = k + 10 * (k < 3 and t > length // 2)
            found[max(y, 0) : y + 9, max(x, 0) : x + 8] = (
                1000 * (3 - category if as_other else category) + track
            )
    found[32:40, 8 + t : 15 + t] = 1090
    found[1:6, 50:60] = 2091
    return labels, found


def compare(root: Path, length: int, seed: int, rtol: float = 0.0) -> dict:
    """Compare all fields with those of TrackEval; the results of ours."""
    rng = np.random.default_rng(seed)
    gt, tracks = root / "instances_txt", root / "trackers" / "t" / "data"
    gt.mkdir(parents=True)
    tracks.mkdir(parents=True)
    answers = {}
    for name in ("0002", "0006"):
        maps = [random_frame(rng, t, length) for t in range(length)]
        for path, which in ((gt, 0), (tracks, 1)):
            lines = [
                f"{t} {value} {value // 1000} {HEIGHT} {WIDTH} {rle['counts'].decode()}\n"
                for t, pair in enumerate(maps)
                for value, rle in encode_labels(pair[which]).items()
            ]
            (path / f"{name}.txt").write_text("".join(lines))
        write_images(TrueVideo(name, length, ()), root / "image_02" / name, "{:06d}.png")
        answers[name] = {
            "image_size": (HEIGHT, WIDTH),
            "frames": [_instances(encode_labels(found)) for _, found in maps],
        }
    config = {"SEQ_INFO": dict.fromkeys(answers, length)}
    config["GT_LOC_FORMAT"] = "{gt_folder}/instances_txt/{seq}.txt"
    expected = evaluate_files("KittiMOTS", root, root / "trackers", **config)
    register_labels(f"mots {seed}", str(root), format="mots_png")
    truth = Labels.of_dataset(f"mots {seed}").tracks(masks=True)
    assert truth.class_names == (*CLASSES,)
    evaluator = MOTEvaluator(truth, str(root / "out"))
    evaluator.process([{"sequence": name} for name in answers], [*answers.values()])
    results = evaluator.evaluate()["mot"]
    names = {name: name for name in CLASSES}
    assert_equal_results(root / "out" / "results.json", expected, names, rtol)
    return results


def _instances(found: dict[int, dict]) -> Instances:
    values = torch.tensor([*found], dtype=torch.int64)
    return Instances(
        (HEIGHT, WIDTH),
        pred_rles=[*found.values()],
        scores=torch.ones(len(found)),
        pred_classes=values // 1000 - 1,
        track_ids=values,
    )


def test_all_numbers_are_trackevals(tmp_path, capfd):
    results = compare(tmp_path, 20, 0)
    assert 20 < results["HOTA"] < 80
    assert min(results[key] for key in ("IDSW", "FP", "FN", "Frag")) > 0
