"""Sampling of track queries: the official one against its log, ours by its properties."""

import math

import pytest
import torch
from d2video.projects.trackformer.training.official import OfficialTrackQuerySampler
from d2video.projects.trackformer.training.track_queries import (
    NO_OBJECT,
    PADDED,
    TrackQuerySampler,
    no_object_weights,
)

from d2video.modeling.matcher import Matches
from d2video.modeling.targets import ImageTargets
from tests.helpers.golden_io import load

FILE = "trackformer_sampling.npz"


def frames(*ids: list[int]) -> list[ImageTargets]:
    return [
        ImageTargets(
            torch.zeros(len(i), dtype=torch.int64), torch.rand(len(i), 4), ids=torch.tensor(i)
        )
        for i in ids
    ]


def matches_of(pairs: list[tuple[list[int], list[int]]], counts: list[int]) -> Matches:
    """Matches of one layer from (queries, objects) of each image with that many objects."""
    columns, start = [], 0
    for b, ((queries, objects), count) in enumerate(zip(pairs, counts, strict=True)):
        columns += [(0, b, q, start + o) for q, o in zip(queries, objects, strict=True)]
        start += count
    return Matches(*torch.tensor(columns, dtype=torch.int64).view(-1, 4).T)


# ---- official ---------------------------------------------------------------------------------------


def replay(monkeypatch, log: list[dict]) -> list[dict]:
    """Answer torch's random functions from the log, in its order; returns what is left of it."""
    left = list(log)

    def answer(name):
        def function(*args):
            entry = left.pop(0)
            plain = [list(a) if isinstance(a, tuple) else a for a in args]
            assert name == entry["fn"]
            if name == "multinomial":
                weights, wanted = torch.as_tensor(plain[0]), torch.tensor(entry["args"][0])
                # Processors differ in the last bit of a square root.
                torch.testing.assert_close(weights, wanted, rtol=2e-7, atol=0)
                plain, entry["args"] = plain[1:], entry["args"][1:]
            assert plain == entry["args"]
            return torch.tensor(entry["result"])

        return function

    for name in ("randint", "randperm", "multinomial"):
        monkeypatch.setattr(torch, name, answer(name))
    return left


@pytest.mark.parametrize("case", sorted(load(FILE, "none")[2]))
def test_official_sampling_replays_the_log(case, monkeypatch):
    _, data, config = load(FILE, f"{case}/")
    spec = config[case]
    previous = frames(*(data[f"target{i}/prev_ids"].tolist() for i in range(2)))
    current = frames(*(data[f"target{i}/ids"].tolist() for i in range(2)))
    matches = matches_of(spec["matches"], [len(frame) for frame in previous])
    sampler = OfficialTrackQuerySampler(spec["false_negative_prob"], spec["false_positive_prob"])
    left = replay(monkeypatch, spec["rng_log"])
    queries, rows = sampler(data["prev_embeddings"], data["prev_boxes"], matches, previous, current)
    assert not left
    assert queries.padding is None
    for i, row in enumerate(rows):
        count = len(row)
        assert torch.equal(queries.embeddings[i], data[f"target{i}/embeddings"])
        assert torch.equal(queries.boxes[i], data[f"target{i}/track_query_boxes"])
        wrong = data[f"target{i}/track_queries_fal_pos_mask"]
        assert torch.equal(row == NO_OBJECT, wrong[:count])
        assert not wrong[count:].any()
        assert torch.equal(row[row >= 0], data[f"target{i}/track_query_match_ids"])


def test_official_false_positives_are_different_queries():
    torch.manual_seed(0)
    sampler = OfficialTrackQuerySampler(false_positive_prob=1.0)
    most = 0
    for _ in range(20):
        embeddings, boxes, matches, previous, current = crowd(2)
        queries, rows = sampler(embeddings, boxes, matches, previous, current)
        for b in range(2):
            assert len(queries.embeddings[b].unique()) == rows.shape[1]
        most = max(most, rows.shape[1])
    assert most > 20


def test_official_sampling_with_nothing_matched():
    sampler = OfficialTrackQuerySampler()
    queries, rows = sampler(
        torch.rand(2, 5, 3),
        torch.rand(2, 5, 4),
        matches_of([([], []), ([1], [0])], [0, 1]),
        *(frames([], [7]), frames([], [7])),
    )
    assert rows.shape == (2, 0)
    assert queries.embeddings.shape == (2, 0, 3)


# ---- ours -------------------------------------------------------------------------------------------


def crowd(images: int = 40, queries: int = 60, objects: int = 20):
    """Embeddings that say which query they are of, boxes, matches and frames; ids 1.. in another
    order in the current frame, from which the first quarter is gone."""
    generator = torch.Generator().manual_seed(3)
    embeddings = torch.arange(images * queries).view(images, queries, 1).float()
    boxes = torch.rand(images, queries, 4, generator=generator) * 0.2 + 0.1
    order = [
        torch.randperm(queries, generator=generator)[:objects].sort().values for _ in range(images)
    ]
    matches = matches_of([(o.tolist(), list(range(objects))) for o in order], [objects] * images)
    previous = frames(*([list(range(1, objects + 1))] * images))
    current = frames(*([list(range(objects, objects // 4, -1))] * images))
    return embeddings, boxes, matches, previous, current


def test_everything_is_kept_without_augmentation():
    embeddings, boxes, matches, previous, current = crowd(3)
    queries, rows = TrackQuerySampler(0.0, 0.0)(embeddings, boxes, matches, previous, current)
    assert queries.padding is None
    assert rows.shape == (3, 20)
    for b in range(3):
        mine = matches.batch == b
        assert queries.embeddings[b, :, 0].tolist() == (matches.query[mine] + 60 * b).tolist()
        assert torch.equal(queries.boxes[b], boxes[b, matches.query[mine]])
        # ids 1..5 are gone; id i is row 20 - i.
        assert rows[b].tolist() == [NO_OBJECT] * 5 + list(range(14, -1, -1))


def test_rates_padding_and_false_positives():
    torch.manual_seed(0)
    embeddings, boxes, matches, previous, current = crowd()
    embeddings.requires_grad_()
    sampler = TrackQuerySampler(0.4, 0.3)
    queries, rows = sampler(embeddings, boxes, matches, previous, current)
    assert torch.equal(queries.padding, rows == PADDED)
    counts = (~queries.padding).sum(1)
    assert counts.max() == rows.shape[1]
    assert counts.min() < counts.max()
    assert not queries.boxes.requires_grad
    assert queries.embeddings.requires_grad
    kept = spawned = 0
    for b in range(len(rows)):
        real = rows[b] != PADDED
        used = (queries.embeddings[b, real, 0].long() - 60 * b).tolist()
        assert len(set(used)) == len(used)  # no query twice
        assert torch.equal(queries.boxes[b, real], boxes[b, used])
        mine = matches.batch == b
        row_of = dict(zip(matches.query[mine].tolist(), [-1] * 5 + list(range(14, -1, -1))))
        kept += sum(query in row_of for query in used)
        spawned += sum(query not in row_of for query in used)
        # An unmatched query is a false positive, a matched one is what it was.
        assert [row_of.get(query, NO_OBJECT) for query in used] == rows[b, real].tolist()
    # Four standard deviations of binomial counts of 800 and ``kept``.
    assert abs(kept - 800 * 0.6) < 4 * math.sqrt(800 * 0.6 * 0.4)
    assert abs(spawned - kept * 0.3) < 4 * math.sqrt(kept * 0.3 * 0.7)


def test_false_positives_are_near_the_query_that_brings_them():
    """Candidates on a ring of one box size and on one of ten: weights 1/4 and 1/101²."""
    torch.manual_seed(0)
    images = 500
    angle = torch.arange(10) * math.tau / 10
    ring = torch.stack([angle.cos() * 0.02, angle.sin() * 0.04], dim=1)
    boxes = torch.full((21, 4), 0.5)
    boxes[:, 2:] = torch.tensor([0.02, 0.04])
    boxes[1:, :2] += torch.cat([ring, 10 * ring])
    rows, embeddings = [], torch.arange(21.0).view(1, 21, 1).expand(images, -1, -1)
    queries, rows = TrackQuerySampler(0.0, 1.0)(
        *(embeddings, boxes.expand(images, -1, -1)),
        matches_of([([0], [0])] * images, [1] * images),
        *(frames(*[[1]] * images), frames(*[[1]] * images)),
    )
    assert rows.tolist() == [[0, NO_OBJECT]] * images
    chosen = queries.embeddings[:, 1, 0]
    assert (chosen <= 10).float().mean() > 0.99
    counts = torch.bincount(chosen.long())[1:11]
    assert counts.min() > 20  # 50 each, in x and y alike


def test_dropped_queries_bring_no_false_positive():
    """Two objects far apart, ten candidates around each: those of the one that was kept."""
    torch.manual_seed(0)
    images = 200
    boxes = torch.full((22, 4), 0.02)
    boxes[::2, :2], boxes[1::2, :2] = 0.2, 0.8  # even queries here, odd ones there
    boxes[2:, :2] += torch.randn(20, 2) * 0.02
    boxes = boxes.expand(images, -1, -1)
    embeddings = torch.arange(22).view(1, 22, 1).expand(images, -1, -1)
    both = frames(*[[1, 2]] * images)
    matches = matches_of([([0, 1], [0, 1])] * images, [2] * images)
    queries, rows = TrackQuerySampler(0.5, 1.0)(embeddings, boxes, matches, both, both)
    single = (rows >= 0).sum(1) == 1
    assert 60 < single.sum() < 140
    side = queries.embeddings[single, :2, 0] % 2
    assert (rows[single, 1] == NO_OBJECT).all()
    assert torch.equal(side[:, 0], side[:, 1])


def test_as_many_false_positives_as_there_are_candidates():
    """Six matched queries, two unmatched, one of them no query at all in the previous frame."""
    sampler = TrackQuerySampler(0.0, 1.0)
    matches = matches_of([(list(range(6)), list(range(6)))], [6])
    padding = torch.zeros(1, 8, dtype=torch.bool)
    padding[0, 7] = True
    embeddings = torch.arange(8.0).view(1, 8, 1)
    one = frames([*range(6)])
    for given, used in ((None, 8), (padding, 7)):
        queries, rows = sampler(embeddings, torch.rand(1, 8, 4), matches, one, one, padding=given)
        assert queries.embeddings.flatten().tolist() == list(range(used))
        assert rows[0].tolist() == [*range(6)] + [NO_OBJECT] * (used - 6)
    _, rows = sampler(embeddings, torch.rand(1, 8, 4), matches, one, one, false_positives=False)
    assert rows[0].tolist() == [*range(6)]


@pytest.mark.parametrize("kind", [TrackQuerySampler, OfficialTrackQuerySampler])
def test_a_frame_without_objects(kind):
    """Nothing is matched in one image, the other's current frame is empty."""
    queries, rows = kind(0.0, 0.0)(
        torch.rand(2, 5, 3),
        torch.rand(2, 5, 4),
        matches_of([([1, 3], [1, 0]), ([], [])], [2, 0]),
        *(frames([4, 5], []), frames([], [])),
    )
    assert rows.tolist() == [[NO_OBJECT] * 2, [PADDED] * 2]
    assert queries.padding.tolist() == [[False] * 2, [True] * 2]


def test_no_object_weights():
    rows = torch.tensor([[2, NO_OBJECT, PADDED]])
    # That of a query with an object is not read.
    weights = no_object_weights(rows, 2, 0.1, 1.0)
    torch.testing.assert_close(weights[:, 1:], torch.tensor([[1.0, 0.0, 0.1, 0.1]]))
