"""Queries with anchors, and groups of queries."""

import pytest
import torch
from detectron2.modeling import build_model
from detectron2.utils.events import EventStorage
from torch import nn

from d2video.layers import SinePositionEncoding
from d2video.modeling.anchor_queries import AnchorQueries, MovingAnchors
from d2video.utils.errors import UserError
from tests.projects.DETR.tiny import make_image, tiny_cfg

ANCHORS = ["MODEL.DETR.ANCHOR_QUERIES", True, "MODEL.DETR.LOOK_FORWARD_TWICE", True]
GROUPS = ["MODEL.DETR.QUERY_GROUPS", 3]


def build(*overrides):
    torch.manual_seed(0)
    return build_model(tiny_cfg(*overrides))


def losses_of(model) -> dict:
    with EventStorage():
        return model([make_image(width=120), make_image(33, 70, 1)])


@pytest.mark.parametrize("switches", [ANCHORS, GROUPS, [*ANCHORS, *GROUPS]])
def test_every_parameter_learns(switches):
    model = build(*switches, "MODEL.MASK_ON", True, "MODEL.DETR.QUERY_MASKS", True)
    sum(losses_of(model).values()).backward()
    without = [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert without == []


def test_the_encoding_of_a_centre_is_that_of_the_token_there():
    encoding = SinePositionEncoding(16, num_axes=2, temperature=20.0)
    tokens = encoding(torch.zeros(1, 4, 8, dtype=torch.bool))
    queries = AnchorQueries(encoding, 3)
    for parameter in queries.linear2.parameters():
        nn.init.zeros_(parameter)
    # The encoding counts from 1 on: the token in row 2, column 6 lies at (7/8, 3/4).
    found = queries.embed(torch.tensor([7 / 8, 3 / 4, 0.2, 0.3]).view(1, 1, 4))
    torch.testing.assert_close(found[0, 0], tokens[0, 2, 6], atol=1e-5, rtol=0)  # (last + 1e-6)


@pytest.mark.parametrize("twice", [False, True])
def test_boxes_move_from_layer_to_layer(twice):
    queries = AnchorQueries(SinePositionEncoding(8, num_axes=2), 2)
    start = torch.zeros(1, 2, 4, requires_grad=True)
    moving = MovingAnchors(queries, start, nn.Identity(), twice)
    assert torch.equal(moving.before_layer(), queries.embed(torch.full((1, 2, 4), 0.5)))
    changes = [torch.full((1, 2, 4), 0.3 + 0.1 * i, requires_grad=True) for i in range(3)]
    for change in changes:
        moving.after_layer(change)
    for box, logit in zip(moving.boxes, [0.3, 0.7, 1.2]):
        torch.testing.assert_close(box, torch.full((1, 2, 4), logit).sigmoid())
    moving.boxes[2].sum().backward()
    assert changes[2].grad is not None
    assert (changes[1].grad is not None) == twice
    assert changes[0].grad is None
    assert start.grad is None


def test_a_group_sees_itself_only_and_only_the_first_is_used_afterwards():
    model = build(*GROUPS)
    images = torch.randn(2, 3, 64, 96)
    network = model.network.train()
    predictions = network(images, None)
    assert predictions.groups.logits.shape[1:3] == (4, 6)
    answer = network.eval()(images, None)
    assert answer.groups is None
    # Batch norms see the same images, but with other statistics: compare in one mode.
    with torch.no_grad():
        network.query_embed.weight[6:] += 1
    again = network(images, None)
    assert torch.equal(again.logits, answer.logits)
    changed = network.train()(images, None)
    torch.testing.assert_close(changed.logits, predictions.logits)
    assert not torch.allclose(changed.groups.logits, predictions.groups.logits, atol=1e-3)


def test_groups_of_equal_queries_have_the_losses_of_the_first():
    model = build(*GROUPS)
    with torch.no_grad():
        first = model.network.query_embed.weight[:6]
        model.network.query_embed.weight.copy_(first.repeat(3, 1))
    losses = losses_of(model)
    for name in ("loss_ce", "loss_bbox_0", "loss_giou"):
        torch.testing.assert_close(losses[f"{name}_group"], losses[name])


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["MODEL.DETR.LOOK_FORWARD_TWICE", True], "set ANCHOR_QUERIES True"),
        ([*ANCHORS, "MODEL.DETR.POSITIONS", "learned"], "set POSITIONS sine"),
        (["MODEL.DETR.QUERY_GROUPS", 0], "QUERY_GROUPS is 0"),
    ],
)
def test_switches_that_do_not_go_together(overrides, message):
    with pytest.raises(UserError, match=message):
        build(*overrides)
