"""The comparison of linked queries with baselines, on scripted answers of a model."""

import pytest
import torch
from d2video.projects.detr.linking import QueryLinker

from projects.DETR.tools import compare_linking as compare

SETTINGS = {"new_score": 0.8, "low_score": 0.4, "duplicate": 0.6, "patience": 30}


def video() -> list[tuple[torch.Tensor, ...]]:
    """Two objects of two queries, the second of which is seen twice; in the last they swap places."""
    scores = torch.tensor([0.95, 0.9, 0.85, 0.1])
    probabilities = torch.full((4, 2), 0.05)
    probabilities[:, 0] = scores
    left, right = (0.2, 0.5, 0.2, 0.2), (0.8, 0.5, 0.2, 0.2)
    boxes = torch.tensor([left, right, right, left])
    looks = torch.eye(6)[[0, 1, 1, 2]]
    swapped = torch.tensor([right, left, left, right])
    return [(scores, probabilities, each, looks) for each in (boxes, boxes, swapped)]


def test_queries_are_linked_and_played_back():
    links = compare.link_queries(video(), **SETTINGS)
    assert [each.queries.tolist() for each in links] == [[0, 1]] * 3
    assert [each.track_ids.tolist() for each in links] == [[0, 1]] * 3
    played = compare.Playback([links, []]).new()
    assert [played.step() for _ in links] == links


@pytest.mark.parametrize(("nms", "last"), [(0.5, [1, 0]), (1.0, [1, 0, 3])])
def test_iou_links_places(nms, last):
    links = compare.link_iou(video(), score=0.5, nms=nms, iou=0.1, max_age=1)
    assert links[-1].track_ids.tolist() == last


def test_each_part_can_be_left_out():
    settings = {**vars(QueryLinker())}
    settings = {key: value for key, value in settings.items() if not key.startswith("_")}
    parts = dict(compare._parts(settings))
    for name, changed in parts.items():
        assert changed != settings, name
        assert compare.link_queries(video(), **changed)
    doubled = compare.link_queries(video(), **parts["with duplicates"])
    assert doubled[0].queries.tolist() == [0, 1, 2]
