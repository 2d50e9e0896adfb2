"""Losses of dense proposals and of the links of track queries; where track queries have moved on."""

import math

import pytest
import torch
from d2video.projects.trackformer.network.base import ProposalLinks
from d2video.projects.trackformer.training.proposals import dense_proposal_losses, link_losses
from d2video.projects.trackformer.training.track_queries import NO_OBJECT, PADDED, moved_on

from d2video.modeling.predictions import Predictions
from d2video.modeling.targets import ImageTargets

BOX = [0.5, 0.5, 0.2, 0.4]
# At the centre of the object, at half of its way to the right edge, and outside of it.
CELLS = torch.tensor([[[0.5, 0.5], [0.55, 0.5], [0.7, 0.5]]])


def objects(boxes, ids=None):
    count = len(boxes)
    boxes = torch.tensor(boxes).reshape(-1, 4)
    numbers = None if ids is None else torch.tensor(ids, dtype=torch.int64)
    return ImageTargets(torch.zeros(count, dtype=torch.int64), boxes, ids=numbers)


def proposals(probabilities, boxes):
    logits = torch.tensor(probabilities).logit()[None, None, :, None]
    return Predictions(logits.requires_grad_(), torch.tensor(boxes)[None, None].requires_grad_())


def test_right_proposals_cost_nothing():
    found = proposals([1 - 1e-6, math.exp(-0.25), 1e-6], [BOX, BOX, [0.7, 0.5, 0.1, 0.1]])
    losses = dense_proposal_losses(found, CELLS, [objects([BOX])])
    assert set(losses) == {"loss_ce_dense", "loss_bbox_dense", "loss_giou_dense"}
    for loss in losses.values():
        assert loss.item() == pytest.approx(0, abs=1e-5)


def test_cells_count_by_their_nearness():
    """The box of the middle cell is 0.1 too far to the right, that of the second 0.1 too high."""
    found = proposals([0.5] * 3, [[0.6, 0.5, 0.2, 0.4], [0.5, 0.6, 0.2, 0.4], [0.0] * 4])
    losses = dense_proposal_losses(found, CELLS, [objects([BOX])])
    assert losses["loss_bbox_dense"].item() == pytest.approx(5 * 0.1)
    near = math.exp(-0.25)
    overlaps = 0.5 / 1.5, 0.75 / 1.25
    giou = (1 - overlaps[0] + near * (1 - overlaps[1])) / (1 + near)
    assert losses["loss_giou_dense"].item() == pytest.approx(2 * giou, rel=1e-4)
    entropy = math.log(2) * (0.25 + (near - 0.5) ** 2 + 0.25)
    assert losses["loss_ce_dense"].item() == pytest.approx(2 * entropy, rel=1e-4)


def test_a_cell_in_two_objects_learns_the_nearer_one():
    other = [0.6, 0.5, 0.2, 0.4]
    found = proposals([0.5] * 3, [BOX, BOX, other])
    losses = dense_proposal_losses(found, CELLS, [objects([other, BOX])])
    weights = [1, math.exp(-0.25), 0.0]  # the second lies halfway between the centres
    assert losses["loss_bbox_dense"].item() <= 5 * 0.1 * weights[1] / sum(weights) + 1e-4


def test_no_objects():
    found = proposals([0.5] * 3, [BOX] * 3)
    losses = dense_proposal_losses(found, CELLS, [objects([])])
    sum(losses.values()).backward()
    assert losses["loss_bbox_dense"] == losses["loss_giou_dense"] == 0
    assert losses["loss_ce_dense"] > 0
    assert found.boxes.grad is not None


def test_links_learn_the_proposal_of_the_greatest_overlap():
    boxes = torch.tensor([[BOX, [0.52, 0.5, 0.2, 0.4], [0.9, 0.9, 0.1, 0.1]]])
    rows = torch.tensor([[1, 0, NO_OBJECT, PADDED]])
    targets = [objects([[0.1, 0.1, 0.1, 0.1], [0.53, 0.5, 0.2, 0.4]])]
    logits = torch.zeros(1, 4, 4)
    for query, column in enumerate([1, 3, 3]):  # object 0 has no proposal, and the third no object
        logits[0, query, column] = 30
    assert link_losses(ProposalLinks(logits, boxes), rows, targets)["loss_link"] < 1e-6
    even = link_losses(ProposalLinks(torch.zeros(1, 4, 4), boxes), rows, targets)["loss_link"]
    assert even.item() == pytest.approx(math.log(4))


def test_links_without_track_queries():
    links = ProposalLinks(torch.zeros(1, 0, 3), torch.rand(1, 2, 4))
    rows = torch.zeros(1, 0, dtype=torch.int64)
    assert link_losses(links, rows, [objects([BOX])])["loss_link"] == 0


def test_track_queries_move_on_as_their_objects_did():
    earlier = objects([[0.2, 0.5, 0.1, 0.1], [0.9, 0.9, 0.1, 0.1]], [7, 8])
    current = objects([[0.0] * 4, [0.4, 0.5, 0.1, 0.1], [0.0] * 4], [8, 7, 9])
    boxes = torch.tensor([[[0.3, 0.6, 0.1, 0.2], [0.4, 0.4, 0.1, 0.1], [0.5, 0.5, 0.1, 0.1]]])
    boxes = torch.cat([boxes, boxes[:, 1:2]], dim=1)
    rows = torch.tensor([[1, 0, NO_OBJECT, 2]])  # 7, 8, none, and 9, which was not there
    moved = moved_on(boxes, rows, [earlier], [current], unknown=0.0)
    torch.testing.assert_close(moved[0, 0], torch.tensor([0.4, 0.7, 0.1, 0.2]))
    torch.testing.assert_close(moved[0, 1], torch.tensor([0.01, 0.01, 0.1, 0.1]))
    assert torch.equal(moved[0, 2:], boxes[0, 2:])
    assert torch.equal(moved_on(boxes, rows, [earlier], [current], unknown=1.0), boxes)
    assert torch.equal(moved_on(boxes, rows, [objects([], [])], [current], unknown=0.0), boxes)
