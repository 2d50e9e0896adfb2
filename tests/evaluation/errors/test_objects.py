"""Each cause and each kind of error, once."""

import dataclasses

import numpy as np
import pytest

from d2video.evaluation.errors.objects import CAUSES, FOUND, Comparison, object_rows, object_tables
from d2video.evaluation.errors.oracles import judge, oracle_table

NAMES = {1: "circle", 4: "square"}


def compare(ious, scores, classes, truth_classes, crowd=(), name=7):
    count = len(truth_classes)
    return Comparison(
        name=name,
        ious=np.array(ious, float).reshape(len(scores), count),
        scores=np.array(scores, float),
        classes=np.array(classes, np.int64),
        truth_ids=[100 + g for g in range(count)],
        truth_classes=np.array(truth_classes, np.int64),
        crowd=np.array([g in crowd for g in range(count)], bool),
        areas=np.arange(count, 0, -1) * 10.0,
        presence=np.linspace(1, 0.2, count) if count else np.zeros(0),
    )


# Five objects, one of each fate, then a crowd.
FATES = compare(
    [
        [0.9, 0, 0, 0, 0, 0],  # finds object 0
        [0.6, 0, 0, 0, 0, 0],  # again
        [0, 0.05, 0, 0, 0, 0],
        [0, 0, 0.4, 0, 0, 0],
        [0, 0, 0, 0.7, 0, 0],  # a square, the object is a circle
        [0, 0, 0, 0, 0.8, 0],
        [0, 0, 0, 0, 0, 0.9],
    ],
    [0.7, 0.8, 0.9, 0.9, 0.9, 0.1, 0.95],
    [1, 1, 1, 1, 4, 4, 4],
    [1, 1, 1, 1, 4, 4],
    crowd=[5],
)


def test_each_cause_once():
    rows = object_rows([FATES], NAMES, "video", 0.5)
    assert [row["cause"] for row in rows] == [FOUND, *CAUSES]
    assert [row["object"] for row in rows] == [100, 101, 102, 103, 104]
    assert [row["best_iou"] for row in rows] == [0.9, 0.05, 0.4, 0.7, 0.8]
    assert [row["best_class"] for row in rows] == ["circle"] * 3 + ["square"] * 2
    assert [row["answers"] for row in rows] == [2, 0, 0, 1, 1]
    assert [row["given"] for row in rows] == [2, 0, 0, 1, 0]
    # The second prediction covers the first object less, and has a higher score.
    assert [row["best_first"] for row in rows] == [False, None, None, True, True]
    assert {row["video"] for row in rows} == {7}


def test_the_score_that_counts():
    causes = [row["cause"] for row in object_rows([FATES], NAMES, "video", 0.1)]
    assert causes == [FOUND, *CAUSES[:3], FOUND]


def test_nothing_predicted_and_nothing_to_find():
    (row,) = object_rows([compare([], [], [], [1])], NAMES, "image", 0.5)
    assert (row["cause"], row["best_iou"], row["best_class"]) == ("not seen", 0, None)
    assert object_rows([compare([], [0.9], [1], [])], NAMES, "image", 0.5) == []


def test_tables():
    rows = object_rows([FATES], NAMES, "video", 0.5)
    causes, best, confused, examples = object_tables(rows, "video", 0.5).values()
    whole = causes[0]
    assert whole == {
        **{"objects": "all", "number": 5, "duplicates": 1},
        **dict.fromkeys((FOUND, *CAUSES), 20.0),
    }
    by_group = {row["objects"]: row["number"] for row in causes}
    assert by_group == {
        "all": 5,
        **{"area up to 33 px": 2, "up to 47 px": 1, "larger": 2},
        **{"in all frames": 1, "in half of them or more": 3, "in less than half": 1},
        **{"beside other classes": 1, "beside its own class": 4},
        **{"class circle": 4, "class square": 1},
    }
    assert best[0] == {
        "objects": "all",
        "mean IoU": pytest.approx(0.57),
        "IoU≥.5, %": 60,
        "IoU≥.75, %": 40,
        "right class, %": 80,
        "best first, %": pytest.approx(200 / 3),
        "answers": pytest.approx(4 / 3),
    }
    assert confused == [{"true class": "circle", "predicted": "square", "objects": 1}]
    assert [(row["cause"], row["object"]) for row in examples] == list(
        zip(CAUSES, (101, 102, 103, 104))
    )


def test_each_error_of_a_prediction_once():
    mine = compare(
        [
            [0.9, 0, 0, 0],  # true
            [0.8, 0, 0, 0],  # again
            [0, 0.3, 0, 0],
            [0, 0, 0.7, 0],  # of a wrong class
            [0, 0, 0.3, 0],  # both
            [0, 0.05, 0, 0],
            [0, 0, 0, 0.9],  # on the crowd
        ],
        [0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3],
        [1, 1, 1, 1, 1, 1, 4],
        [1, 1, 4, 4],
        crowd=[3],
    )
    judged = judge([compare([], [], [], [4]), mine])
    assert judged.kinds.tolist() == [
        *("true", "duplicate", "localisation", "class", "both", "background", "ignored")
    ]
    assert judged.partner.tolist() == [1, -1, 2, 3, -1, -1, -1]
    assert judged.found.tolist() == [False, True, False, False]
    found = {row["error"]: row for row in oracle_table(judged, 0.45)}
    numbers = {name: row["number"] for name, row in found.items()}
    assert numbers == {
        **{"none corrected": None, "localisation": 1, "class": 1, "duplicate": 1, "background": 0},
        **{"both": 1, "missed": 1, "false positives": 4, "false negatives": 3},
    }
    # Circles: one of two is found first, precision 1 up to a recall of 0.5. Squares: none.
    assert found["none corrected"]["AP50"] == pytest.approx(100 * 51 / 101 / 2)
    # The third circle in order becomes true: precision 2/3 above a recall of 0.5.
    assert found["localisation"]["AP50"] == pytest.approx(100 * (51 + 50 * 2 / 3) / 101 / 2)
    assert found["class"]["AP50"] == pytest.approx(100 * (51 + 51) / 101 / 2)
    # Of the squares one remains to be found.
    assert found["missed"]["gain"] == 0
    assert found["false negatives"]["AP50"] == pytest.approx(100)


def test_a_correction_finds_an_object_once():
    """Of several the prediction of highest score; none if the object has been found."""
    mine = compare([[0.6], [0.3], [0.2]], [0.5, 0.6, 0.7], [4, 1, 1], [1])
    found = {row["error"]: row for row in oracle_table(judge([mine]), 0)}
    assert found["localisation"]["AP50"] == pytest.approx(100)  # the third is true, the second gone
    assert found["class"]["AP50"] == 0
    taken = dataclasses.replace(mine, ious=np.array([[0.6], [0.3], [0.9]]))
    found = {row["error"]: row for row in oracle_table(judge([taken]), 0)}
    assert found["none corrected"]["AP50"] == found["localisation"]["AP50"] == pytest.approx(100)


def random_comparisons(seed):
    random = np.random.default_rng(seed)
    compared = []
    for number in range(30):
        d, g = random.integers(0, 12), random.integers(1, 5)
        ious = random.random((d, g)) * (random.random((d, g)) < 0.5)
        scores, labels = random.random(d), random.integers(1, 4, d)
        compared.append(compare(ious, scores, labels, random.integers(1, 4, g), name=number))
    return compared


TIDECV = [11.5593, 15.95, 4.7211, 2.3747, 0.0735, 1.7348, 5.3436, 24.4143, 18.721]
TIDECV_COUNTS = [45, 23, 30, 4, 45, 28]


def test_the_authors_package_finds_the_same():
    """Figures of tidecv 1.0.1 for these, AP50 and gains in its order."""
    found = {row["error"]: row for row in oracle_table(judge(random_comparisons(0)), 0)}
    names = ("class", "localisation", "both", "duplicate", "background", "missed")
    gains = [found[name]["gain"] for name in (*names, "false positives", "false negatives")]
    # Their levels of recall are not COCO's to the last bit, so that one may count or not.
    assert [found["none corrected"]["AP50"], *gains] == pytest.approx(TIDECV, abs=0.1)
    assert [found[name]["number"] for name in names] == TIDECV_COUNTS
