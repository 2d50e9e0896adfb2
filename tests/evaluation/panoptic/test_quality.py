"""Panoptic quality against hand-computed cases and against the definition, pair by pair."""

import math

import numpy as np
import pytest

from d2video.evaluation.panoptic.quality import Segment, compare_image, mean_quality

CATEGORIES = [4, 9, 100]


def row(*runs):
    """(id, pixels) pairs as a label map of one row."""
    return np.concatenate([np.full(length, i) for i, length in runs])[None]


def tally(true_ids, truth, predicted_ids, predicted):
    segments = [Segment(i, c, crowd) for i, c, crowd in truth]
    got = compare_image(true_ids, segments, predicted_ids, predicted).tally(CATEGORIES)
    return {c: line.tolist() for c, line in zip(CATEGORIES, got) if line.any()}


# [summed IoU, matches, false positives, missed segments]
@pytest.mark.parametrize(
    ("true_ids", "truth", "predicted_ids", "predicted", "expected"),
    [
        pytest.param(
            row((7, 4), (8, 6)),
            [(7, 4, False), (8, 100, False)],
            row((1, 5), (2, 5)),
            {1: 4, 2: 100},
            {4: [4 / 5, 1, 0, 0], 100: [5 / 6, 1, 0, 0]},
            id="two matches",
        ),
        pytest.param(
            row((7, 6), (8, 4)),
            [(7, 4, False), (8, 9, False)],
            row((1, 3), (2, 7)),
            {1: 4, 2: 9},
            {4: [0, 0, 1, 1], 9: [4 / 7, 1, 0, 0]},
            id="half is not enough",
        ),
        pytest.param(
            row((7, 10)),
            [(7, 4, False)],
            row((1, 10)),
            {1: 9},
            {4: [0, 0, 0, 1], 9: [0, 0, 1, 0]},
            id="another category",
        ),
        pytest.param(
            row((7, 6), (0, 4)),
            [(7, 4, False)],
            row((1, 10)),
            {1: 4},
            {4: [1, 1, 0, 0]},
            id="labelled void leaves the union",
        ),
        pytest.param(
            row((7, 10)),
            [(7, 4, False)],
            row((1, 6), (0, 4)),
            {1: 4},
            {4: [0.6, 1, 0, 0]},
            id="predicted void does not",
        ),
        pytest.param(
            row((7, 10)),
            [(7, 4, False)],
            row((0, 10)),
            {},
            {4: [0, 0, 0, 1]},
            id="nothing predicted",
        ),
        pytest.param(
            row((7, 4), (0, 6)),
            [(7, 9, False)],
            row((1, 10)),
            {1: 4},
            {9: [0, 0, 0, 1]},
            id="a prediction mostly on void is ignored",
        ),
        pytest.param(
            row((7, 5), (0, 5)),
            [(7, 9, False)],
            row((1, 10)),
            {1: 4},
            {4: [0, 0, 1, 0], 9: [0, 0, 0, 1]},
            id="one half on void is not",
        ),
        pytest.param(
            row((7, 10)),
            [(7, 4, True)],
            row((1, 10)),
            {1: 4},
            {},
            id="a crowd matches nothing and is not missed",
        ),
        pytest.param(
            row((7, 4), (8, 3), (0, 3)),
            [(7, 4, True), (8, 100, False)],
            row((1, 10)),
            {1: 4},
            {100: [0, 0, 0, 1]},
            id="void and a crowd of the category together forgive",
        ),
        pytest.param(
            row((7, 10)),
            [(7, 4, True)],
            row((1, 10)),
            {1: 9},
            {9: [0, 0, 1, 0]},
            id="a crowd of another category does not",
        ),
        pytest.param(
            row((7, 3), (8, 7)),
            [(7, 4, True), (8, 4, False)],
            row((1, 10)),
            {1: 4},
            {4: [0.7, 1, 0, 0]},
            id="a crowd stays in the union",
        ),
        pytest.param(
            row((7, 10)),
            [(7, 4, False)],
            row((1, 10)),
            {1: 4, 2: 9},
            {4: [1, 1, 0, 0]},
            id="a predicted segment without pixels",
        ),
    ],
)
def test_rules(true_ids, truth, predicted_ids, predicted, expected):
    got = tally(true_ids, truth, predicted_ids, predicted)
    assert got.keys() == expected.keys()
    for category, line in expected.items():
        assert got[category] == pytest.approx(line)


def by_definition(true_ids, truth, predicted_ids, predicted):
    lines = np.zeros((len(CATEGORIES), 4))
    void = ~np.isin(true_ids, [s.segment_id for s in truth])
    left_truth, left = {s.segment_id for s in truth if not s.is_crowd}, set(predicted)
    for s in truth:
        for i, category in predicted.items():
            p, g = predicted_ids == i, true_ids == s.segment_id
            union = ((p | g) & ~(p & void)).sum()
            if not s.is_crowd and s.category_id == category and 2 * (p & g).sum() > union:
                lines[CATEGORIES.index(category)] += [(p & g).sum() / union, 1, 0, 0]
                left_truth.discard(s.segment_id)
                left.discard(i)
    for s in truth:
        lines[CATEGORIES.index(s.category_id), 3] += s.segment_id in left_truth
    for i in left:
        p = predicted_ids == i
        crowds = [s.segment_id for s in truth if s.is_crowd and s.category_id == predicted[i]]
        counted = p.any() and (p & (void | np.isin(true_ids, crowds))).sum() <= p.sum() / 2
        lines[CATEGORIES.index(predicted[i]), 2] += counted
    return lines


@pytest.mark.parametrize("seed", range(20))
def test_equals_the_definition(seed):
    rng = np.random.default_rng(seed)
    places = rng.permutation(60_000)[:8]  # ids neither sorted nor small
    true_ids = np.array([0, *places])[np.sort(rng.integers(0, 9, 80)).reshape(8, 10)]
    moved = rng.random((8, 10)) < 0.2
    predicted_ids = np.where(moved, rng.permuted(true_ids), true_ids)
    categories = rng.choice(CATEGORIES, 8)
    truth = [
        Segment(int(i), int(c), bool(rng.random() < 0.2)) for i, c in zip(places[:6], categories)
    ]
    wrong = rng.random(8) < 0.2
    predicted = {
        int(i): int(c) for i, c in zip(places, np.where(wrong, categories[::-1], categories))
    }
    got = compare_image(true_ids, truth, predicted_ids, predicted).tally(CATEGORIES)
    np.testing.assert_allclose(got, by_definition(true_ids, truth, predicted_ids, predicted))


def test_means_are_over_the_categories_that_occur():
    lines = np.array([[1.6, 2, 0, 0], [0.9, 1, 1, 1], [0, 0, 0, 0], [0, 0, 1, 0]])
    quality, count = mean_quality(lines)
    assert count == 3
    assert quality["SQ"] == pytest.approx(100 * (0.8 + 0.9 + 0) / 3)
    assert quality["RQ"] == pytest.approx(100 * (1 + 0.5 + 0) / 3)
    assert quality["PQ"] == pytest.approx(100 * (0.8 + 0.45 + 0) / 3)
    quality, count = mean_quality(lines[2:3])
    assert count == 0
    assert all(map(math.isnan, quality.values()))
