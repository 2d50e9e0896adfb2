"""BDD100K's rules, from its files to the numbers of TrackEval, which reads the same files."""

import json
from pathlib import Path

import numpy as np
import pytest

from d2video.data.datasets.label_sets import register_labels
from d2video.evaluation import build_evaluator
from d2video.formats.bdd100k_json import CLASSES
from d2video.formats.mot_rules import CLASS_RULES
from tests.evaluation.mot.test_kitti import Track, answer
from tests.helpers.trackeval_files import assert_equal_results, evaluate_files
from tests.helpers.true_labels import TrueVideo, write_images

pytestmark = pytest.mark.usefixtures("scratch_catalog")

LENGTH = 20
IGNORED = ("other person", "other vehicle", "trailer")


def label(identity: int, category: str, box, crowd: bool = False) -> dict:
    """``box``: left, top, right, bottom, of which TrackEval knows the last pixel."""
    left, top, right, bottom = box
    corners = {"x1": left, "y1": top, "x2": right - 1, "y2": bottom - 1}
    return {"id": identity, "category": category, "box2d": corners, "attributes": {"Crowd": crowd}}


def random_sequence(
    rng: np.random.Generator, name: str, length: int
) -> tuple[list[dict], list[Track]]:
    """Frames with labels, and an answer that is wrong in all ways."""
    starts = rng.integers(0, [320, 160], (8, 2)) / 8
    speeds, sizes = rng.integers(-4, 5, (8, 2)) / 8, rng.integers(60, 180, (8, 2)) / 8
    frames, found = [], []
    for t in range(length):
        labels = []
        for k, category in enumerate(CLASSES):
            low = starts[k] + (20 - abs(20 - t % 40)) * speeds[k]  # there and back
            box = (*low.tolist(), *(low + sizes[k]).tolist())
            seen = rng.random() < 0.9
            if seen:
                labels.append(label(k, category, box, crowd=bool(rng.random() < 0.05)))
            if rng.random() < (0.85 if seen else 0.4):
                moved = (*np.add(box, rng.integers(-12, 13, 4) / 8).tolist(),)
                found_as = category if rng.random() < 0.9 else CLASSES[(k + 1) % 8]
                found.append(Track(t, k + 20 * (k < 3 and t > length // 2), found_as, moved))
        for k in range(rng.integers(0, 3)):
            x = float(rng.integers(0, 40))
            labels.append(label(90 + k, IGNORED[(k + t) % 3], (x, 2, x + 24, 34)))
        x, y = rng.integers(0, 240, 2) / 8
        found.append(Track(t, 40 + t % 8, CLASSES[t % 8], (x, y, x + 9, y + 12)))
        image = {"name": f"{name}-{t + 1:07d}.jpg", "videoName": name, "index": t}
        frames.append({**image, "labels": labels})
    return frames, found


def compare(
    root: Path, length: int, seed: int, classes: list[str] | None, rtol: float = 0.0
) -> dict:
    """Compare all fields with those of TrackEval; the results of ours."""
    rng = np.random.default_rng(seed)
    sequences = {name: random_sequence(rng, name, length) for name in ("a", "b")}
    gt, tracks = root / "labels" / "box_track_20" / "val", root / "trackers" / "t" / "data"
    gt.mkdir(parents=True)
    tracks.mkdir(parents=True)
    for name, (frames, found) in sequences.items():
        (gt / f"{name}.json").write_text(json.dumps(frames))
        results = [{"index": t, "labels": []} for t in range(length)]
        for each in found:
            results[each.frame]["labels"].append(label(each.id, each.type, each.box))
        (tracks / f"{name}.json").write_text(json.dumps(results))
        images = root / "images" / "track" / "val" / name
        write_images(TrueVideo(name, length, ()), images, f"{name}-{{:07d}}.jpg", first=1)
    names = [*CLASSES] if classes is None else classes
    scored = {"CLASSES_TO_EVAL": names}
    expected = evaluate_files("BDD100K", gt, root / "trackers", groups=True, **scored)
    register_labels(f"bdd {seed}", str(gt), format="bdd100k", classes=classes)
    evaluator = build_evaluator(f"bdd {seed}", str(root / "out"))
    answers = []
    for _, found in sequences.values():
        chosen = [each for each in found if each.type in names]
        answers.append(answer(chosen, names, length))
    evaluator.process([{"sequence": name} for name in sequences], answers)
    results = evaluator.evaluate()["mot"]
    given = CLASS_RULES["BDD100K"].groups
    groups = {name: name for name, each in given.items() if {*each} & {*names}}
    path = root / "out" / "results.json"
    assert_equal_results(path, expected, {name: name for name in names}, rtol, groups)
    return results


@pytest.mark.parametrize(("seed", "classes"), [(0, None), (1, ["bus", "pedestrian"])])
def test_all_numbers_are_trackevals(tmp_path, capfd, seed, classes):
    results = compare(tmp_path, LENGTH, seed, classes)
    assert 20 < results["HOTA"] < 80
    assert min(results[key] for key in ("FP", "FN", "Frag")) > 0
