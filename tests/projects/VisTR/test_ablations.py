"""What the keys of VisTR's ablations change (see "Ablations" in its README)."""

from dataclasses import replace

import pytest
import torch
from d2video.projects.vistr.matcher import FrameMatcher, InstanceSequenceMatcher
from detectron2.modeling import build_model

from d2video.modeling.predictions import Encoded, Predictions
from d2video.modeling.targets import ClipTargets
from d2video.utils.errors import UserError
from tests.projects.VisTR.tiny import tiny_cfg

FRAMES, SLOTS = 2, 5


def build(*keys):
    torch.manual_seed(0)
    options = [
        f"MODEL.VISTR.{key}" if isinstance(key, str) and key.isupper() else key for key in keys
    ]
    return build_model(tiny_cfg(*options)).eval()


@torch.no_grad()
def moved_by(network, order: torch.Tensor) -> float:
    """How much the queries' outputs change if the tokens change their places, relative to their
    positions: two frames of 2x3 cells."""
    torch.manual_seed(1)
    tokens, pos, _ = network.tokens([torch.randn(1, FRAMES, 24, 2, 3)], None)
    whole, others = (network.decode(x, pos, None)[0] for x in (tokens, tokens[:, order]))
    return float((whole - others).abs().max())


@pytest.mark.parametrize(
    ("positions", "frames_differ", "cells_differ"),
    [("sine_3d", True, True), ("sine_2d", False, True), ("none", False, False)],
)
def test_only_positions_tell_tokens_apart(positions, frames_differ, cells_differ):
    network = build("POSITIONS", positions).network
    frames_swapped = torch.arange(12).roll(6)
    cells_swapped = torch.arange(12).view(2, 6).roll(2, dims=1).flatten()
    for order, differ in ((frames_swapped, frames_differ), (cells_swapped, cells_differ)):
        moved = moved_by(network, order)
        # The order of the sums alone changes float32 by less than 1e-5.
        assert moved > 1e-3 if differ else moved < 1e-5


@pytest.mark.parametrize(
    ("level", "rows"), [("prediction", 10), ("instance", 5), ("frame", 2), ("video", 1)]
)
@torch.no_grad()
def test_queries_share_embeddings(level, rows):
    network = build("QUERY_LEVEL", level).network
    assert network.query_embed.num_embeddings == rows
    tokens, pos, _ = network.tokens([torch.randn(1, FRAMES, 24, 2, 3)], None)
    outputs = network.decode(tokens, pos, None)[0][-1, 0]
    for queries in (network.learned_queries(FRAMES * SLOTS), outputs):
        by_frame = queries.unflatten(0, (FRAMES, SLOTS))
        over_frames = (by_frame[0] - by_frame[1]).abs().max() > 1e-4
        over_slots = (by_frame[:, 0] - by_frame[:, 1]).abs().max() > 1e-4
        assert over_frames == (level in ("prediction", "frame"))
        assert over_slots == (level in ("prediction", "instance"))


def encoded_clip(network) -> Encoded:
    """What the masks of one clip are made of: 2x3 cells, and laterals of twice that size."""
    torch.manual_seed(2)
    laterals = [torch.randn(FRAMES, network.mask_head.adapters[0].out_channels, 4, 6)]
    memory = torch.randn(FRAMES, 2, 3, 24)
    return Encoded(
        *(torch.randn(FRAMES, SLOTS, 24), memory, memory.permute(0, 3, 1, 2), None, laterals)
    )


@torch.no_grad()
def masks_of(network, encoded: Encoded) -> torch.Tensor:
    """(S, T, 4, 6)"""
    slots = torch.arange(SLOTS)
    return network.masks(encoded, torch.zeros_like(slots), slots)


@pytest.mark.parametrize(("layers", "depends"), [(3, True), (1, True), (0, False)])
def test_3d_convolutions_are_what_joins_frames(layers, depends):
    network = build("CONV3D_LAYERS", layers).network
    assert sum(isinstance(part, torch.nn.Conv3d) for part in network.insmask_head) == layers + 1
    encoded = encoded_clip(network)
    first = masks_of(network, encoded)
    for name in ("queries", "memory", "source"):
        getattr(encoded, name)[1] += 1
    encoded.laterals[0][1] *= 2
    second = masks_of(network, encoded)
    assert not torch.allclose(first[:, 1], second[:, 1])
    assert torch.equal(first[:, 0], second[:, 0]) != depends


def test_without_the_mask_attention_a_query_looks_nowhere():
    """What it adds to the pixels is the same everywhere, but it is the query's."""
    network = build("MASK_ATTENTION", False).network
    assert network.mask_attention is None
    encoded = encoded_clip(network)
    maps = network.bbox_attention(encoded.queries, encoded.memory)
    assert maps.shape == (FRAMES, SLOTS, 4, 2, 3)
    assert torch.equal(maps, maps[..., :1, :1].expand_as(maps))
    assert torch.equal(maps, network.bbox_attention(encoded.queries, encoded.memory + 1))
    masks = masks_of(network, encoded)
    assert (masks[0] - masks[1]).abs().max() > 1e-5
    other = masks_of(network, replace(encoded, queries=encoded.queries.roll(1, dims=1)))
    torch.testing.assert_close(other.roll(-1, dims=0), masks)


def random_clip(instances: int, frames: int) -> tuple[Predictions, ClipTargets]:
    logits, boxes = torch.randn(2, 1, frames * SLOTS, 4), torch.rand(2, 1, frames * SLOTS, 4)
    return Predictions(logits, boxes), ClipTargets(
        classes=torch.arange(instances) % 3,
        boxes=torch.rand(instances, frames, 4),
        present=torch.rand(instances, frames) > 0.4,
        masks=torch.zeros(instances, frames, 2, 2, dtype=torch.bool),
    )


def test_a_frame_is_matched_by_itself():
    """As a clip of one frame, in which absent instances are not."""
    torch.manual_seed(0)
    clips = [random_clip(instances, 3) for instances in (3, 0, 4)]
    predictions = Predictions(
        torch.cat([p.logits for p, _ in clips], 1), torch.cat([p.boxes for p, _ in clips], 1)
    )
    targets = [target for _, target in clips]
    found = FrameMatcher()(predictions, targets)
    matched = set(
        zip(
            *(x.tolist() for x in (found.layer, found.batch, found.query, found.target)),
            strict=True,
        )
    )
    expected, before = set(), 0
    for clip, target in enumerate(targets):
        for t in range(3):
            shown = target.present[:, t].nonzero()[:, 0]
            slots = slice(t * SLOTS, (t + 1) * SLOTS)
            alone = InstanceSequenceMatcher()(
                Predictions(
                    predictions.logits[:, clip : clip + 1, slots],
                    predictions.boxes[:, clip : clip + 1, slots],
                ),
                [
                    ClipTargets(
                        *(target.classes[shown], target.boxes[shown, t : t + 1]),
                        *(target.present[shown, t : t + 1], target.masks[shown, t : t + 1]),
                    )
                ],
            )
            for layer, slot, row in zip(alone.layer, alone.query, alone.target, strict=True):
                instance = before + int(shown[row])
                expected.add((int(layer), clip, t * SLOTS + int(slot), instance * 3 + t))
        before += len(target.present)
    assert matched == expected
    assert len(matched) == len(found.layer)


def test_an_instance_may_change_its_slot_from_frame_to_frame():
    """Slot 0 has its box in frame 0, slot 1 in frames 1 and 2."""
    boxes = torch.full((1, 1, 3, SLOTS, 4), 0.1)
    boxes[0, 0, [0, 1, 2], [0, 1, 1]] = 0.5
    predictions = Predictions(torch.zeros(1, 1, 15, 4), boxes.flatten(2, 3))
    present = torch.ones(1, 3, dtype=torch.bool)
    masks = torch.zeros(1, 3, 2, 2, dtype=torch.bool)
    target = ClipTargets(torch.tensor([0]), torch.full((1, 3, 4), 0.5), present, masks)
    slots = {
        matcher: (matcher()(predictions, [target]).query % SLOTS).tolist()
        for matcher in (FrameMatcher, InstanceSequenceMatcher)
    }
    assert slots == {FrameMatcher: [0, 1, 1], InstanceSequenceMatcher: [1, 1, 1]}
    assert isinstance(build("MATCHING", "frame").matcher, FrameMatcher)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        (["POSITIONS", "sine"], "'sine': choose sine_3d, sine_2d or none"),
        (["POSITIONS", "none", "MASK_POSITIONS", True], "set MASK_POSITIONS False"),
        (["QUERY_LEVEL", "slot"], "choose prediction, instance, frame or video"),
        (["CONV3D_LAYERS", -1], "CONV3D_LAYERS is -1: set 0 or more"),
        (["MASK_ATTENTION", False, "QUERY_MASKS", True], "MASK_POSITIONS and QUERY_MASKS False"),
        (["MATCHING", "clip"], "choose sequence or frame"),
        (["MATCHING", "frame", "OFFICIAL_PRESENCE", True], "OFFICIAL_PRESENCE False"),
        (["MATCHING", "frame", "COST_ABSENT_FRAMES", True], "set COST_ABSENT_FRAMES"),
        (["DICE_WEIGHT", 0.0, "MASK_WEIGHT", 0.0], "masks would not be learned"),
    ],
    ids=str,
)
def test_bad_configs(keys, message):
    with pytest.raises(UserError, match=message):
        build(*keys)
