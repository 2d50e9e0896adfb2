"""Queries linked to tracks: identities by embeddings, gaps, births and deaths, bounded memory."""

import pytest
import torch
from d2video.projects.detr.linking import QueryLinker

QUERIES, CHANNELS, CLASSES = 6, 8, 3
LEFT, MIDDLE, RIGHT = (0.2, 0.5, 0.2, 0.2), (0.5, 0.5, 0.2, 0.2), (0.8, 0.5, 0.2, 0.2)
RED, BLUE, GREEN = torch.eye(CHANNELS)[:3]


def frame(*objects, first: int = 0):
    """What a network predicts: (box, embedding, score[, class]) of objects, by queries from ``first`` on."""
    scores = torch.full((QUERIES,), 0.05)
    probabilities = torch.full((QUERIES, CLASSES), 0.01)
    boxes = torch.full((QUERIES, 4), 0.5)
    embeddings = torch.zeros(QUERIES, CHANNELS)
    for k, (box, embedding, score, *label) in enumerate(objects, first):
        scores[k], boxes[k], embeddings[k] = score, torch.tensor(box), embedding
        probabilities[k, label[0] if label else 0] = score
    return scores, probabilities, boxes, embeddings


def ids(linker: QueryLinker, *objects, first: int = 0) -> dict[int, int]:
    """The object's place in the list: its track."""
    links = linker.step(*frame(*objects, first=first))
    return dict(zip((links.queries - first).tolist(), links.track_ids.tolist(), strict=True))


@pytest.mark.parametrize(("weight", "after"), [(1.0, {0: 1, 1: 0}), (0.0, {0: 0, 1: 1})])
def test_objects_that_change_places_keep_their_ids_by_their_embeddings(weight, after):
    linker = QueryLinker(embedding_weight=weight, least_similarity=0.2, box_weight=0.3)
    for _ in range(3):
        assert ids(linker, (LEFT, RED, 0.9), (RIGHT, BLUE, 0.9)) == {0: 0, 1: 1}
    # Of one class, and each where the other was.
    assert ids(linker, (LEFT, BLUE, 0.9), (RIGHT, RED, 0.9)) == after


def test_another_query_may_show_the_object():
    linker = QueryLinker()
    assert ids(linker, (LEFT, RED, 0.9)) == {0: 0}
    assert ids(linker, (LEFT, RED, 0.9), first=4) == {0: 0}


def test_motion_tells_objects_that_look_alike():
    linker = QueryLinker()
    alike = RED, 0.9
    for x in (0.2, 0.3, 0.4):
        there, back = (x, 0.5, 0.1, 0.1), (0.9 - x, 0.5, 0.1, 0.1)
        assert ids(linker, (there, *alike), (back, *alike)) == {0: 0, 1: 1}
    # They have passed each other: 0 goes on to the right. Where it was, there is 1.
    assert ids(linker, ((0.5, 0.5, 0.1, 0.1), *alike), ((0.4, 0.5, 0.1, 0.1), *alike)) == {
        0: 0,
        1: 1,
    }


def test_class_tells_objects_that_look_alike():
    linker = QueryLinker(class_weight=0.5, box_weight=0.2)
    assert ids(linker, (LEFT, RED, 0.9, 0), (MIDDLE, RED, 0.9, 1)) == {0: 0, 1: 1}
    assert ids(linker, (LEFT, RED, 0.9, 1), (MIDDLE, RED, 0.9, 0)) == {0: 1, 1: 0}


@pytest.mark.parametrize(("gap", "expected"), [(1, 0), (4, 0), (5, 1)])
def test_a_track_is_found_again_within_its_patience(gap, expected):
    linker = QueryLinker(patience=4)
    assert ids(linker, (LEFT, RED, 0.9)) == {0: 0}
    for _ in range(gap):
        assert ids(linker) == {}
    assert ids(linker, (MIDDLE, RED, 0.9)) == {0: expected}


def test_scores_decide_on_births_and_deaths():
    linker = QueryLinker(new_score=0.8, low_score=0.4)
    assert ids(linker, (LEFT, RED, 0.79)) == {}
    assert ids(linker, (LEFT, RED, 0.8)) == {0: 0}
    assert ids(linker, (LEFT, RED, 0.4), (RIGHT, BLUE, 0.4)) == {0: 0}
    assert ids(linker, (LEFT, RED, 0.39)) == {}
    assert ids(linker, (LEFT, RED, 0.9), (RIGHT, BLUE, 0.9)) == {0: 0, 1: 1}


def test_a_new_object_does_not_take_an_old_track():
    linker = QueryLinker()
    assert ids(linker, (LEFT, RED, 0.9)) == {0: 0}
    assert ids(linker, (RIGHT, BLUE, 0.9)) == {0: 1}


def test_one_object_seen_twice_is_one_track():
    linker = QueryLinker(duplicate=0.6)
    beside = (0.22, 0.5, 0.2, 0.2)
    assert ids(linker, (LEFT, RED, 0.8), (beside, RED + 0.1 * BLUE, 0.95)) == {1: 0}
    # Two that overlap, but look different, are two.
    assert ids(QueryLinker(), (LEFT, RED, 0.9), ((0.27, 0.5, 0.2, 0.2), GREEN, 0.9)) == {0: 0, 1: 1}
    assert len(ids(QueryLinker(duplicate=1), (LEFT, RED, 0.8), (LEFT, RED, 0.95))) == 2


def test_the_class_of_a_track_does_not_flicker():
    linker, labels = QueryLinker(), []
    for label in (1, 1, 1, 2, 1):
        labels += linker.step(*frame((LEFT, RED, 0.9, label))).classes.tolist()
    assert labels == [1, 1, 1, 1, 1]


def test_memory_is_bounded():
    linker = QueryLinker(patience=3)
    generator = torch.Generator().manual_seed(0)
    for _ in range(60):
        looks = torch.randn(2, CHANNELS, generator=generator)
        ids(linker, (LEFT, looks[0], 0.9, 0), (RIGHT, looks[1], 0.9, 1))
        assert linker.num_tracks <= 2 * 4
    for _ in range(4):
        ids(linker)
    assert linker.num_tracks == 0


def test_nothing_and_a_new_video():
    linker = QueryLinker()
    for _ in range(2):
        links = linker.step(*frame())
        assert len(links.queries) == len(links.track_ids) == len(links.classes) == 0
    assert ids(linker, (LEFT, RED, 0.9)) == {0: 0}
    another = linker.new()
    assert another.num_tracks == 0
    assert ids(another, (RIGHT, BLUE, 0.9)) == {0: 0}
    assert ids(linker, (LEFT, RED, 0.9)) == {0: 0}


def test_what_all_embeddings_share_does_not_count():
    plain, shifted = QueryLinker(), QueryLinker()
    for objects in ([(LEFT, RED, 0.9), (RIGHT, BLUE, 0.9)], [(LEFT, BLUE, 0.9), (RIGHT, RED, 0.9)]):
        scores, probabilities, boxes, embeddings = frame(*objects)
        a = plain.step(scores, probabilities, boxes, embeddings)
        b = shifted.step(scores, probabilities, boxes, embeddings + 50 * GREEN)
        assert torch.equal(a.track_ids, b.track_ids)
