"""VisTR's inside against separate computations, and its page."""

import pytest
import torch
import torch.nn.functional as F
from d2video.projects.vistr.inspection import (
    clip_masks,
    frame_shares,
    mask_attention,
    still_masks,
)
from detectron2.modeling import build_model

from d2video.inspection import record_queries
from d2video.utils.errors import UserError
from tests.helpers.looks import inspected, look_at, random_frames
from tests.projects.VisTR.tiny import make_clip, tiny_cfg

FRAMES = 3
TITLES = [
    "Slots",
    "Which frames the queries look at",
    "Mask attention",
    "What the 3D convolutions change",
]


def build(*options):
    torch.manual_seed(0)
    model = build_model(tiny_cfg("INPUT.CLIP.NUM_FRAMES", FRAMES, *options)).eval()
    with torch.no_grad():  # masks of a new QUERY_MASKS model do not yet depend on the head
        for parameter in model.network.insmask_head[-1].parameters():
            parameter.add_(torch.randn_like(parameter))
    return model


def run_of(model):
    clips, _ = model.batch([torch.stack(make_clip(num_frames=FRAMES)["image"])])
    return record_queries(model.network, lambda: model.network(clips, None), num_frames=FRAMES)


@torch.no_grad()
def test_shares_of_frames_are_sums_of_an_explicit_softmax():
    model = build()
    attention = model.network.transformer.decoder.layers[-1].multihead_attn
    seen = []
    hook = attention.register_forward_pre_hook(lambda module, args: seen.append(args))
    run = run_of(model)
    hook.remove()
    query, key = seen[0][:2]
    weights = attention.in_proj_weight.chunk(3)[:2]
    biases = attention.in_proj_bias.chunk(3)[:2]
    q, k = (
        F.linear(x[0], w, b).unflatten(-1, (attention.num_heads, -1))
        for x, w, b in zip((query, key), weights, biases)
    )
    full = (torch.einsum("qhc,khc->hqk", q, k) / q.shape[-1] ** 0.5).softmax(-1).mean(0)
    slots, slot = model.network.num_slots, 2
    expected = full[slot::slots].unflatten(1, (FRAMES, -1)).sum(-1)
    shares = frame_shares(run, slot, slots)
    assert shares.shape == (FRAMES, FRAMES)
    torch.testing.assert_close(shares, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("query_masks", [False, True])
@torch.no_grad()
def test_mask_maps_and_masks_of_still_frames(query_masks):
    model = build("MODEL.VISTR.QUERY_MASKS", query_masks)
    network, slot = model.network, 1
    encoded = run_of(model).predictions.encoded
    branch, frames = network.bbox_attention, torch.arange(FRAMES)
    maps = mask_attention(network, encoded, slot)
    everything = branch(encoded.queries, encoded.memory, None, encoded.positions)
    torch.testing.assert_close(maps, everything[:, slot], rtol=1e-5, atol=1e-6)
    if not query_masks:
        torch.testing.assert_close(maps.sum((1, 2, 3)), torch.ones(FRAMES))

    head = network.mask_head
    features = head(head.shared(encoded.source), maps, frames, encoded.laterals)
    masks = []
    for t in range(FRAMES):
        repeated = features[t].expand(1, FRAMES, -1, -1, -1)
        masks.append(network.insmask_head(repeated)[0, t])
    expected = branch.refined(maps, torch.stack(masks))
    found = still_masks(network, encoded, slot)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    moving = clip_masks(network, encoded, slot)
    assert (moving - found).abs().max() > 1e-2  # frames differ, so that the convolutions see it
    assert torch.equal(moving, network.masks(encoded, torch.tensor([0]), torch.tensor([slot]))[0])


def test_a_page(tmp_path):
    model = build("MODEL.VISTR.QUERY_MASKS", True)
    look = look_at(model, random_frames(5, 40, 56), tmp_path, first=1)
    sections = inspected(look)
    assert [*sections] == TITLES
    assert "No slot has a score of 0.5 or more" in sections["Slots"].notes[1]
    assert len(sections["Slots"].tables[0].rows) == model.network.num_slots
    (best,) = {name.split("slot")[1][0] for name in look.pictures if "slot" in name}
    assert {f"decoder_slot{best}_frame{t}" for t in range(3)} < {*look.pictures}
    table = sections[TITLES[3]].tables[0]
    assert [row[0] for row in table.rows] == ["1", "2", "3"]


def test_points_and_slots_that_are_named(tmp_path):
    encoder = "MODEL.VISTR.DEFORMABLE_ENCODER."
    options = [f"{encoder}ENABLED", True, f"{encoder}NUM_FEATURES", 1, f"{encoder}NUM_FRAMES", 2]
    model = build("MODEL.VISTR.HIDDEN_DIM", 96, *options)
    look = look_at(model, random_frames(3, 40, 56), tmp_path, points=[(50, 30)], queries=[4, 0])
    sections = inspected(look)
    assert [*sections] == [TITLES[0], "Encoder self-attention", *TITLES[1:]]
    assert {"encoder_0", "frames_slot4", "frames_slot0"} < {*look.pictures}


def test_a_model_without_mask_attention_and_3d_convolutions(tmp_path):
    model = build("MODEL.VISTR.MASK_ATTENTION", False, "MODEL.VISTR.CONV3D_LAYERS", 0)
    sections = inspected(look_at(model, random_frames(3, 40, 56), tmp_path))
    assert [*sections] == TITLES
    for title in TITLES[2:]:
        assert not sections[title].media
        assert sections[title].notes[0].startswith("The model has no ")


@pytest.mark.parametrize(
    ("frames", "options", "message"),
    [
        (2, {}, "has 2 frames from number 0 on, and the model looks at 3"),
        (5, {"num_frames": 5}, "--frames changes nothing on the page of VisTR"),
        (3, {"queries": [5]}, "slot 5 does not exist: the model has 0 to 4"),
        (3, {"layer": 2}, "layer 2 does not exist: the decoder has 0 to 1"),
        (3, {"points": [(3, 40)]}, "point 3,40 is outside the frame"),
    ],
)
def test_a_mistake_is_one_line(tmp_path, frames, options, message):
    with pytest.raises(UserError, match=message):
        inspected(look_at(build(), random_frames(frames, 40, 56), tmp_path, **options))
