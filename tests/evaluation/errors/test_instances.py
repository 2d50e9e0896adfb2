"""Errors of answers to labelled videos and images, by the evaluators that score them."""

import numpy as np
import pycocotools.mask as coco_mask
import pytest

from d2video.data.frame_images import frames_as_images
from d2video.data.label_use import LabelUse
from d2video.data.loading import load_records
from d2video.evaluation import build_evaluator
from d2video.evaluation.errors import ErrorFinder
from d2video.evaluation.errors.instances import pixels_of
from d2video.evaluation.vis.ground_truth import VideoTruth
from d2video.formats.ytvis import TrackEntry
from tests.helpers import perfect_answers
from tests.helpers.true_labels import CLASSES
from tests.helpers.true_sets import register_true

pytestmark = pytest.mark.usefixtures("scratch_catalog")
ANSWERS = {"coco": perfect_answers.image_objects, "ytvis": perfect_answers.mask_tracks}


def breakdowns(kind, tmp_path, monkeypatch, change=lambda answer: None, answers=None):
    """Breakdowns and results of the true videos, of which the first ``answers`` are answered (None: all)."""
    register_true(monkeypatch, "true", tmp_path / "frames")
    records = load_records("true")
    records = frames_as_images(records) if kind == "coco" else records
    use = LabelUse("both", "videos", (kind,), needs_masks=False)
    finder = ErrorFinder(build_evaluator("true", str(tmp_path), use=use), 0.5)
    finder.reset()
    for record in records[:answers]:
        answer = ANSWERS[kind](record, len(CLASSES))
        change(answer)
        finder.process([{k: record[k] for k in ("image_id", "video_id") if k in record}], [answer])
    results = finder.evaluate()
    return finder.breakdowns, results


def oracles_of(breakdown):
    (table,) = (rows for title, rows in breakdown.tables.items() if title.startswith("AP50"))
    return {row["error"]: row for row in table}


def worse_tracks(answer):
    """The first track is of a wrong class, the last unlikely."""
    answer["pred_labels"][0] = 2
    answer["pred_scores"][-1] = 0.2


def test_tracks_of_masks(tmp_path, monkeypatch):
    (found,), results = breakdowns("ytvis", tmp_path, monkeypatch, worse_tracks)
    assert found.name == "segm"
    causes = [row["cause"] for row in found.objects if row["video"] == 1]
    assert (causes[0], causes[-1]) == ("wrong class", "low score")
    assert {*causes[1:-1]} == {"found"}
    assert all(row["best_iou"] == 1 for row in found.objects)
    assert min(row["presence"] for row in found.objects) < 1
    oracles = oracles_of(found)
    assert oracles["none corrected"]["AP50"] == results["segm"]["AP50"] < 100
    assert oracles["class"]["AP50"] == pytest.approx(100)
    assert "| wrong class" in found.text()
    assert "bird" in found.text()


def test_where_the_pixels_of_a_mask_are():
    """Two objects, 2x3 pixels each, in two of three frames; the prediction's are counted by hand."""

    def mask(*columns):
        pixels = np.zeros((2, 10), np.uint8, order="F")
        pixels[:, [*columns]] = 1
        return coco_mask.encode(pixels)

    tracks = [
        TrackEntry(track_id, 1, 1, False, masks, [], 6.0)
        for track_id, masks in (
            (5, [mask(0, 1, 2), mask(0, 1, 2), None]),
            (6, [None, mask(3, 4, 5), None]),
        )
    ]
    video = VideoTruth(1, 2, 10, 3, tuple(tracks))
    found = [mask(1, 2, 3, 4), mask(2, 3, 9), mask(0)]
    entry = {"segmentations": found, "category_id": 1, "score": 1.0}
    row = {"object": 5, "best": 0}
    assert pixels_of(video, row, [entry]) == {
        **{"object": 12, "missed": 2 + 4, "on others": 2},
        **{"on background": 4 + 2, "when absent": 2},
    }
    nothing = pixels_of(video, {"object": 5, "best": None}, [])
    assert (nothing.pop("object"), nothing.pop("missed"), *nothing.values()) == (12, 12, 0, 0, 0)


def test_a_video_without_an_answer_is_missed(tmp_path, monkeypatch):
    (found,), results = breakdowns("ytvis", tmp_path, monkeypatch, answers=1)
    assert {row["cause"] for row in found.objects if row["video"] == 2} == {"not seen"}
    oracles = oracles_of(found)
    assert oracles["none corrected"]["AP50"] == results["segm"]["AP50"]
    assert oracles["missed"]["AP50"] == pytest.approx(100)


def test_boxes_and_masks_of_images(tmp_path, monkeypatch):
    def worse(answer):
        found = answer["instances"]
        if len(found) > 1:
            found.pred_boxes.tensor[0, 2:] += 40  # its mask stays
            found.scores[-1] = 0.2

    (boxes, masks), results = breakdowns("coco", tmp_path, monkeypatch, worse)
    assert (boxes.name, masks.name) == ("bbox", "segm")
    for each in (boxes, masks):
        oracles = oracles_of(each)
        assert oracles["none corrected"]["AP50"] == pytest.approx(results[each.name]["AP50"])
        assert {"low score"} <= {row["cause"] for row in each.objects}
    assert "poor overlap" in {row["cause"] for row in boxes.objects}
    assert "poor overlap" not in {row["cause"] for row in masks.objects}
