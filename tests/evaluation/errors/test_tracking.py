"""Tracks that each go wrong in one way; counts equal to CLEAR's."""

import numpy as np
import pytest

from d2video.data.label_use import LabelUse
from d2video.data.loading import load_records
from d2video.evaluation import build_evaluator
from d2video.evaluation.errors import ErrorFinder
from d2video.evaluation.errors.tracking import sequence_errors
from d2video.evaluation.mot.metrics import families
from tests.helpers import perfect_answers
from tests.helpers.true_labels import CLASSES
from tests.helpers.true_sets import register_true


def sequence(*frames, names=None):
    """TrackEval's data of frames: {(object, track): IoU}, where None in place of either is a box without
    the other; all other pairs do not overlap."""
    data = {"gt_ids": [], "tracker_ids": [], "similarity_scores": []}
    for frame in frames:
        truth = sorted({i for i, _ in frame if i is not None})
        found = sorted({j for _, j in frame if j is not None})
        iou = np.zeros((len(truth), len(found)))
        for (i, j), value in frame.items():
            if i is not None and j is not None:
                iou[truth.index(i), found.index(j)] = value
        for key, value in zip(data, (np.array(truth, int), np.array(found, int), iou), strict=True):
            data[key].append(value)
    for kind, ids in (("gt", "gt_ids"), ("tracker", "tracker_ids")):
        data[f"num_{kind}_ids"] = int(max(max(each, default=-1) for each in data[ids])) + 1
        data[f"num_{kind}_dets"] = sum(map(len, data[ids]))
    data["num_timesteps"] = len(frames)
    return data | {"names": np.arange(data["num_gt_ids"]) + 10}


def test_each_missed_and_false_box_once():
    errors = sequence_errors(
        sequence(
            {(0, 0): 0.9, (1, None): 0},  # not seen
            {(0, 0): 0.4},  # poor, of both
            {(0, 0): 0.9, (1, 0): 0.6, (None, 2): 0},  # one box for two objects
            {(0, 0): 0.9, (0, 1): 0.7},  # two boxes for one
        )
    )
    assert [dict(track.misses) for track in errors.tracks] == [
        {"poor overlap": 1},
        {"not seen": 1, "taken": 1},
    ]
    assert errors.false == {"poor overlap": 1, "duplicate": 1, "background": 1}
    assert [track.fragments for track in errors.tracks] == [1, 0]
    assert errors.tracks[0].ious == [0.9, 0.4, 0.9, 0.9]


@pytest.mark.parametrize(
    ("cause", "frames"),
    [
        ("swap", [{(0, 0): 1, (1, 1): 1}, {(0, 1): 1, (1, None): 0}]),
        ("absence", [{(0, 0): 1}, {(None, 0): 0}, {(0, 1): 1}]),
        ("miss", [{(0, 0): 1}, {(0, None): 0}, {(0, 1): 1}]),
        ("nearness", [{(0, 0): 1, (1, 1): 1}, {(0, 2): 0.9, (1, 2): 0.2, (1, 1): 1}]),
        ("other", [{(0, 0): 1}, {(0, 1): 1}]),
    ],
)
def test_each_change_of_track(cause, frames):
    errors = sequence_errors(sequence(*frames))
    assert [track.changes for track in errors.tracks if track.changes] == [{len(frames) - 1: cause}]
    assert errors.tracks[0].cause() != "tracked"


def test_what_costs_an_object_most():
    tracked = [{(0, 0): 1}] * 4
    of = lambda *frames: sequence_errors(sequence(*frames)).tracks[0].cause()  # noqa: E731
    assert of(*tracked, {(0, None): 0}) == "tracked"
    assert of(*tracked, {(0, 1): 1}) == "identity"
    assert of(*tracked, {(0, None): 0}, {(0, 0): 0.3}, {(0, 0): 0.3}) == "poor overlap"
    assert of(*tracked, {(0, None): 0}, {(0, None): 0}) == "not seen"


def test_corrections():
    perfect = [{(0, 0): 1, (1, 1): 1}] * 3

    def scores(*frames):
        hota = sequence_errors(sequence(*frames)).hota
        return {name: float(np.mean(each["HOTA"])) for name, each in hota.items()}

    assert set(scores(*perfect).values()) == {1.0}
    for name, frames in {
        "missed boxes": [*perfect, {(0, 0): 1, (1, None): 1}],
        "false boxes": [*perfect, {(0, 0): 1, (None, 2): 0, (1, 1): 1}],
        "localisation": [*perfect, {(0, 0): 0.6, (1, 1): 1}],
        "identities": [*perfect, {(0, 1): 1, (1, 0): 1}],
    }.items():
        found = scores(*frames)
        assert found.pop("none corrected") < 1
        assert found.pop(name) == pytest.approx(1)
        assert max(found.values()) < 1, (name, found)


def random_sequence(seed):
    random = np.random.default_rng(seed)
    frames = []
    for _ in range(40):
        frame = {(int(i), None): 0 for i in np.flatnonzero(random.random(4) < 0.8)}
        frame |= {(None, int(j)): 0 for j in np.flatnonzero(random.random(5) < 0.8)}
        for i in {i for i, _ in frame if i is not None}:
            for j in {j for _, j in frame if j is not None}:
                frame[i, j] = random.random() if i == j else random.random() ** 2
        frames.append(frame)
    return sequence(*frames)


@pytest.mark.parametrize("seed", range(4))
def test_counts_are_those_of_trackeval(seed):
    data = random_sequence(seed)
    errors, metrics = sequence_errors(data), families(data)
    clear = metrics["CLEAR"]
    assert sum(track.misses.total() for track in errors.tracks) == clear["CLR_FN"] > 0
    assert errors.false.total() == clear["CLR_FP"] > 0
    assert sum(len(track.changes) for track in errors.tracks) == clear["IDSW"] > 0
    assert sum(track.fragments for track in errors.tracks) == clear["Frag"] > 0
    for key in ("HOTA", "DetA", "AssA", "LocA"):
        assert errors.hota["none corrected"][key] == pytest.approx(metrics["HOTA"][key])


@pytest.mark.parametrize("benchmark", ["mot", "mots"])
def test_of_labelled_videos(benchmark, tmp_path, monkeypatch, scratch_catalog):
    """Object 1 of clip_b comes back as another, clip_a is not answered."""
    register_true(monkeypatch, "true", tmp_path / "frames")
    use = LabelUse("both", "videos", (benchmark,), needs_masks=False)
    finder = ErrorFinder(build_evaluator("true", str(tmp_path), use=use), 0.5)
    finder.reset()
    (record,) = (each for each in load_records("true") if each["sequence"] == "clip_b")
    answer = perfect_answers.tracks(record, len(CLASSES))
    for frame in answer["frames"][4:]:
        frame.track_ids[frame.track_ids == 1] = 77
    finder.process([record], [answer])
    results = finder.evaluate()
    (found,) = finder.breakdowns
    first, second = ([r for r in found.objects if r["sequence"] == s] for s in ("clip_b", "clip_a"))
    ids = {each["id"]: each["category_id"] for frame in record["annotations"] for each in frame}
    assert {row["object"]: row["class"] for row in first} == {i: CLASSES[k] for i, k in ids.items()}
    (changed,) = (row for row in first if row["changes"])
    assert (changed["object"], changed["cause"]) == (1, "identity")
    (change,) = changed["changes"]
    assert change["after"] == "absence"
    assert {row["cause"] for row in first if row is not changed} == {"tracked"}
    assert {row["cause"] for row in second} == {"not seen"}
    table = next(iter(found.tables.values()))
    assert table[0]["error"] == "none corrected"
    assert 0 < results["mot"]["HOTA"] < 100
    assert "sequence clip_a" in found.text()
