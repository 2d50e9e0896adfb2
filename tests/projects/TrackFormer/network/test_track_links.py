"""Proposals that overlap little, and which of them a track query is linked to."""

import torch
from d2video.projects.trackformer.network.base import TrackQueries
from d2video.projects.trackformer.network.two_stage import TrackLinks, lower_overlapping, one_to_one

from tests.projects.TrackFormer.tiny import build

BOXES = torch.tensor([[0.2, 0.5, 0.1, 0.1], [0.21, 0.5, 0.1, 0.1], [0.8, 0.5, 0.1, 0.1]])


def test_boxes_that_overlap_a_better_one_come_last():
    scores = torch.tensor([[1.0, 2.0, 0.0], [1.0, 0.5, 2.0]])
    lowered = lower_overlapping(scores, BOXES.expand(2, -1, -1))
    assert lowered.argsort(dim=1, descending=True).tolist() == [[1, 2, 0], [2, 0, 1]]
    assert torch.equal(lowered[:, 2], scores[:, 2])


def test_boxes_beyond_the_candidates_come_last():
    scores = torch.tensor([[1.0, 0.0, 2.0]])
    assert lower_overlapping(scores, BOXES[None], candidates=1).argmax() == 2
    assert (lower_overlapping(scores, BOXES[None], candidates=1)[0, :2] < -1000).all()


def links(nearness: float) -> TrackLinks:
    torch.manual_seed(0)
    made = TrackLinks(8)
    with torch.no_grad():
        made.nearness.fill_(nearness)
    return made


def test_a_track_is_linked_to_what_looks_like_it_or_lies_near():
    tokens = torch.randn(1, 3, 8)
    seen = tokens[:, [2, 0]]
    found = torch.tensor([[[x, 0.5, 0.1, 0.1] for x in (0.2, 0.5, 0.8)]])
    boxes = found[:, [0, 2]]  # each where the other's look is now
    logits = links(0.0)(seen, boxes, tokens, found)
    assert logits.shape == (1, 2, 4)
    assert logits.argmax(-1).tolist() == [[2, 0]]
    assert links(10.0)(seen, boxes, tokens, found)[..., :3].argmax(-1).tolist() == [[0, 2]]


def test_nothing_alike_and_near_is_none():
    tokens = torch.randn(1, 3, 8)
    far = torch.tensor([[[0.5, 0.0, 0.05, 0.05]]])
    assert links(10.0)(tokens[:, :1], far, tokens, BOXES[None]).argmax() == 3


def test_a_track_query_starts_from_its_proposal():
    """A first frame's queries are asked again in the same frame, from wrong boxes: the looks lead back."""
    model = build("track_links").eval()
    network = model.network
    with torch.no_grad():
        network.links.nearness.fill_(0.0)
        features = network.features(torch.randn(1, 3, 40, 56), None)
        current = network.project(features)
        first = network(features, current, [], None)
        wrong = TrackQueries(first.embeddings[:, [3, 1]], torch.full((1, 2, 4), 0.5))
        output = network(features, current, [], wrong)
    assert output.links.logits.argmax(-1).tolist() == [[3, 1]]
    assert output.embeddings.shape == (1, 2 + 7, 2 * 64)
    assert torch.equal(output.embeddings[:, :2, 64:], first.embeddings[:, [3, 1], 64:])


def test_a_track_remembers_how_it_looked():
    network = build("track_links").eval().network
    network.links.update = 0.25
    found = BOXES[None].clone()
    seen, tokens = torch.randn(1, 1, 64), torch.randn(1, 3, 64)
    for none, expected in ((-100.0, torch.lerp(seen, tokens[:, [1]], 0.25)), (100.0, seen)):
        with torch.no_grad():
            network.links.sharpness.fill_(0.0)
            network.links.none.fill_(none)
            _, _, now = network._link(seen, TrackQueries(seen, found[:, [1]]), tokens, found)
        torch.testing.assert_close(now, expected)


def test_no_two_tracks_have_one_proposal():
    logits = torch.tensor([[[5.0, 4.0, 0.0], [5.0, 0.0, 0.0], [9.0, 9.0, 0.0]]])
    assert one_to_one(logits[:, :2]).tolist() == [[1, 0]]
    assert one_to_one(logits).tolist() in ([[1, 2, 0]], [[0, 2, 1]])
    padding = torch.tensor([[False, False, True]])
    assert one_to_one(logits, padding).tolist() == [[1, 0, 2]]
    nowhere = torch.tensor([[[0.0, 0.0, 3.0], [0.0, 0.0, 4.0]]])
    assert one_to_one(nowhere).tolist() == [[2, 2]]
    assert one_to_one(logits[:, :0]).shape == (1, 0)
