"""What the keys of DETR's ablations change in the network (see "Ablations" in its README)."""

import pytest
import torch
from detectron2.modeling import build_model
from detectron2.utils.events import EventStorage

from d2video.layers import Transformer
from d2video.utils.errors import UserError
from tests.projects.DETR.tiny import make_image, tiny_cfg


def build(*keys, masks: bool = False):
    torch.manual_seed(0)
    options = [
        f"MODEL.DETR.{key}" if isinstance(key, str) and key.isupper() else key for key in keys
    ]
    return build_model(tiny_cfg("MODEL.MASK_ON", masks, *options))


@torch.no_grad()
def moved_by_order(network) -> tuple[float, float]:
    """How much the memory of a token and the queries' outputs change if the tokens change their
    places, that is their order relative to their positions."""
    torch.manual_seed(1)
    tokens, pos, _ = network.tokens([torch.randn(1, 32, 3, 4)], None)
    order = torch.randperm(12)
    outputs, _, memory = network.decode(tokens, pos, None)
    others, _, again = network.decode(tokens[:, order], pos, None)
    moved = (memory[:, order] - again).abs().max(), (outputs - others).abs().max()
    return float(moved[0]), float(moved[1])


@pytest.mark.parametrize(
    ("keys", "memory", "outputs"),
    [
        ([], True, True),
        (["POSITIONS", "learned"], True, True),
        (["POSITIONS_AT", "input"], True, True),
        (["POSITIONS_AT", "decoder"], False, True),
        (["POSITIONS", "none"], False, False),
    ],
    ids=str,
)
def test_only_positions_tell_tokens_apart(keys, memory, outputs):
    found = moved_by_order(build(*keys).eval().network)
    # The order of the sums alone changes float32 by less than 1e-5.
    assert [moved > 1e-3 for moved in found] == [memory, outputs], found
    assert all(moved > 1e-3 or moved < 1e-5 for moved in found), found


def decoder_inputs(model) -> list[list]:
    """What each decoder layer takes: queries, their positions, memory and memory with positions."""
    seen = []
    for layer in model.network.transformer.decoder.layers:
        layer.register_forward_pre_hook(lambda _, inputs: seen.append(list(inputs[:4])))
    with EventStorage():
        model([make_image(32, 64)])
    return seen


def test_positions_enter_once_or_in_every_layer():
    model = build("POSITIONS_AT", "input", "QUERIES_AT", "input", "ENC_LAYERS", 0)
    first, second = decoder_inputs(model)
    assert torch.equal(first[0][0], model.network.query_embed.weight)
    for _, query_pos, memory, memory_with_pos in (first, second):
        assert query_pos is None
        assert memory_with_pos is memory
    plain = build("ENC_LAYERS", 0)
    first, second = decoder_inputs(plain)
    assert not first[0].any()
    for _, query_pos, memory, memory_with_pos in (first, second):
        assert torch.equal(query_pos[0], plain.network.query_embed.weight)
        pos = memory_with_pos - memory
    # Without encoder layers the memory is the encoder's input.
    [source, *_] = decoder_inputs(model)
    torch.testing.assert_close(source[2], memory + pos)


def test_no_feed_forward_blocks():
    """The paper: 41.3 M parameters become 28.7 M; what stays has its names."""
    with torch.device("meta"):
        whole, attention = Transformer(), Transformer(feedforward=0)
    names = [set(model.state_dict()) for model in (whole, attention)]
    sizes = [sum(p.numel() for p in model.parameters()) for model in (whole, attention)]
    assert (sizes[0] - sizes[1]) / 1e6 == pytest.approx(41.3 - 28.7, abs=0.05)
    assert names[1] < names[0]
    removed = {name.split(".", 3)[3].split(".")[0] for name in names[0] - names[1]}
    assert removed == {"linear1", "linear2", "norm2", "norm3"}
    assert "decoder.layers.0.norm2.weight" in names[1]


def losses_of(*keys, **options) -> dict:
    with EventStorage():
        return build(*keys, **options)([make_image()])


@pytest.mark.parametrize(
    ("keys", "left_out"),
    [
        (["L1_WEIGHT", 0.0], {"loss_bbox", "loss_bbox_0"}),
        (["GIOU_WEIGHT", 0.0], {"loss_giou", "loss_giou_0"}),
        (["MASK_WEIGHT", 0.0], {"loss_mask"}),
        (["DICE_WEIGHT", 0.0], {"loss_dice"}),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_a_loss_of_weight_0_is_left_out(keys, left_out):
    """The others stay as they are, because matching has its own factors."""
    whole, part = losses_of(masks=True), losses_of(*keys, masks=True)
    assert whole.keys() - part.keys() == left_out
    assert part == {name: whole[name] for name in part}


def test_matching_without_a_term():
    without = build("COST_L1", 0.0).matcher.cost
    assert (without.box, without.overlap) == (0, 2)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        (["POSITIONS", "sinus"], "POSITIONS is 'sinus': choose sine, learned or none"),
        (["POSITIONS_AT", "encoder"], "choose attention, input or decoder"),
        (["QUERIES_AT", "decoder"], "QUERIES_AT is 'decoder': choose attention or input"),
        (["POSITIONS", "none", "POSITIONS_AT", "input"], "leave POSITIONS_AT 'attention'"),
        (["POSITIONS", "none", "MASK_POSITIONS", True], "MASK_POSITIONS False"),
        (["POSITIONS", "none", "ANCHOR_QUERIES", True], "set POSITIONS sine"),
        (["QUERIES_AT", "input", "ANCHOR_QUERIES", True], "QUERIES_AT attention"),
        (["POSITIONS_AT", "input", "DEFORMABLE_ENCODER.ENABLED", True], "set attention"),
        (["L1_WEIGHT", 0.0, "GIOU_WEIGHT", 0.0], "boxes would not be learned"),
        (["CLASS_WEIGHT", 0.0], "CLASS_WEIGHT is 0.0: set a number above 0"),
    ],
    ids=str,
)
def test_bad_configs(keys, message):
    with pytest.raises(UserError, match=message):
        build(*keys)


def test_masks_need_a_loss():
    with pytest.raises(UserError, match="masks would not be learned"):
        build("MASK_WEIGHT", 0.0, "DICE_WEIGHT", 0.0, masks=True)
    build("MASK_WEIGHT", 0.0, "DICE_WEIGHT", 0.0)
