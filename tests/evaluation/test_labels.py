"""What is scored of labels: by what a model answers, against their records."""

import itertools
import math
import re

import numpy as np
import pycocotools.mask as mask_util
import pytest
import torch
from detectron2.structures import Instances

from d2video.data.frame_images import frames_as_images
from d2video.data.label_use import LabelUse
from d2video.data.loading import load_records
from d2video.evaluation import COCOInstanceEvaluator, MOTEvaluator, YTVISEvaluator, build_evaluator
from d2video.evaluation.labels import LABEL_EVALUATORS
from d2video.utils.errors import UserError
from tests.helpers import perfect_answers
from tests.helpers.true_labels import CLASSES
from tests.helpers.true_sets import register_true

pytestmark = pytest.mark.usefixtures("scratch_catalog")
ANSWERS = {
    "coco": perfect_answers.image_objects,
    "ytvis": perfect_answers.mask_tracks,
    "mot": perfect_answers.tracks,
    "mots": perfect_answers.tracks,
}
SCORES = {
    "coco": [("bbox", "AP"), ("bbox", "AP-cat"), ("segm", "AP"), ("segm", "AP-dog")],
    "ytvis": [("segm", "AP"), ("segm", "AP-cat"), ("segm", "AP-dog")],
    "mot": [("mot", "HOTA"), ("mot", "HOTA-cat"), ("mot", "IDF1"), ("mot", "MOTA")],
    "mots": [("mot", "HOTA"), ("mot", "HOTA-dog"), ("mot", "IDF1"), ("mot", "MOTA")],
}


def score(kind, name, folder, change=lambda answer: None):
    records = load_records(name)
    if kind == "coco":
        records = frames_as_images(records)
    use = LabelUse("both", "videos", (kind,), needs_masks=False)
    evaluator = build_evaluator(name, str(folder), use=use)
    evaluator.reset()
    keys = ("image_id", "video_id", "sequence")
    for record in records:
        answer = ANSWERS[kind](record, len(CLASSES))
        change(answer)
        evaluator.process([{key: record[key] for key in keys if key in record}], [answer])
    return evaluator.evaluate()


@pytest.mark.parametrize("kind", LABEL_EVALUATORS)
def test_perfect_answers(kind, tmp_path, monkeypatch):
    register_true(monkeypatch, "true", tmp_path / "frames")
    results = score(kind, "true", tmp_path)
    for task, metric in SCORES[kind]:
        assert results[task][metric] == pytest.approx(100), metric
    no_bird = results[SCORES[kind][0][0]].get("AP-bird", math.nan)
    assert math.isnan(no_bird)  # without objects it does not count


def test_images_without_tracks(tmp_path, monkeypatch):
    register_true(monkeypatch, "true", tmp_path / "frames", tracked=False, masks=False)
    results = score("coco", "true", tmp_path)
    assert results.keys() == {"bbox"}
    assert results["bbox"]["AP"] == pytest.approx(100)


@pytest.mark.parametrize("kind", ["coco", "mot", "mots"])
def test_what_is_found_in_a_crowd_does_not_count(kind, tmp_path, monkeypatch):
    """Found for certain, so that it would cost precision."""
    register_true(monkeypatch, "true", tmp_path / "frames")
    (region,) = load_records("true")[1]["ignored"][1]
    x, y, w, h = region["bbox"]
    half = np.zeros((48, 64, 1), np.uint8, order="F")
    half[round(y) : round(y + h), round(x) : round(x + w / 2)] = 1
    inside = perfect_answers.instances((48, 64), [{**region, "bbox": [x, y, w / 2, h]}])
    inside.scores[:] = 1
    inside.track_ids = torch.tensor([99])
    inside.pred_rles = mask_util.encode(half)
    inside.pred_masks = torch.from_numpy(half).permute(2, 0, 1).bool()
    count = itertools.count()

    def add(answer):
        place, found = next(count), answer.get("frames") or [answer["instances"]]
        if place == (8 + 1 if kind == "coco" else 1):  # the second frame of the second video
            frame = found[0 if kind == "coco" else 1]
            fields = frame.get_fields().keys()
            kept = Instances(frame.image_size, **{key: inside.get(key) for key in fields})
            found[0 if kind == "coco" else 1] = Instances.cat([frame, kept])
            if kind == "coco":
                (answer["instances"],) = found

    results = score(kind, "true", tmp_path, add)
    assert next(count) > 1
    for task, metric in SCORES[kind]:
        assert results[task][metric] == pytest.approx(100), metric


@pytest.mark.parametrize(
    ("options", "kind", "part"),
    [
        ({"masks": False}, "ytvis", "objects in frames has a mask"),
        ({"but_one": True}, "mots", "track 1 has no mask"),
        ({"tracked": False}, "ytvis", "is a set of images"),
    ],
)
def test_labels_that_do_not_fit(options, kind, part, tmp_path, monkeypatch):
    register_true(monkeypatch, "true", tmp_path / "frames", **options)
    use = LabelUse("both", "videos", (kind,), needs_masks=False)
    with pytest.raises(UserError, match=part):
        build_evaluator("true", str(tmp_path), use=use)


def test_without_a_model_all_that_is_possible(tmp_path, monkeypatch):
    register_true(monkeypatch, "boxes", tmp_path, but_one=True)
    assert isinstance(build_evaluator("boxes", str(tmp_path)), MOTEvaluator)
    register_true(monkeypatch, "masks", tmp_path)
    evaluator = build_evaluator("masks", str(tmp_path))
    assert [type(each) for each in evaluator._evaluators] == [YTVISEvaluator, MOTEvaluator]
    register_true(monkeypatch, "images", tmp_path, tracked=False)
    assert isinstance(build_evaluator("images", str(tmp_path)), COCOInstanceEvaluator)


def test_chosen_classes_and_videos(tmp_path, monkeypatch):
    register_true(monkeypatch, "true", tmp_path / "frames", classes=["cat"], videos=["clip_b"])
    results = score("mot", "true", tmp_path)["mot"]
    assert results["HOTA"] == pytest.approx(100)
    assert "HOTA-dog" not in results
    with pytest.raises(UserError, match="has no class 'cow': it has dog, cat, bird"):
        load_records(register_true(monkeypatch, "cows", tmp_path, classes=["cow"]) or "cows")


@pytest.mark.parametrize(
    ("kind", "file", "numbers"),
    [
        ("coco", "coco_instances_results.json", r'"category_id": (\d+)'),
        ("ytvis", "results.json", r'"category_id": ?(\d+)'),
        ("mot", "clip_b.txt", r"(?m)^(?:[^,]*,){7}(\d+)"),
        ("mots", "clip_b.txt", r"(?m)^\S+ \S+ (\d+)"),
    ],
)
def test_results_have_the_numbers_of_the_file(kind, file, numbers, tmp_path, monkeypatch):
    register_true(monkeypatch, "true", tmp_path / "frames", class_numbers=(7, 3, 5))
    results = score(kind, "true", tmp_path)
    for task, metric in SCORES[kind]:
        assert results[task][metric] == pytest.approx(100), metric
    assert {*re.findall(numbers, (tmp_path / file).read_text())} == {"7", "3"}
