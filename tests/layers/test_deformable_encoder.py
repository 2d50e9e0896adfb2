"""Deformable encoders: which frames a token sees, padding, positions of levels."""

import pytest
import torch

from d2video.layers import ms_deform_attn
from d2video.layers.level_geometry import LevelGeometry
from d2video.layers.multi_scale_encoder import MultiScaleEncoder

SIZES = [(4, 6), (2, 3)]
TOKENS = 30


def build(num_frames: int = 1, pre_norm: bool = False) -> MultiScaleEncoder:
    """Width 8, two layers, random weights in place of the first ones."""
    torch.manual_seed(0)
    encoder = MultiScaleEncoder(
        *(8, 2, 2, 16, 0.0), pre_norm, num_levels=2, num_points=2, num_frames=num_frames
    )
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    return encoder.eval()


def levels(batch: int = 1) -> list[torch.Tensor]:
    return [torch.randn(batch, 8, *size) for size in SIZES]


def geometry() -> LevelGeometry:
    return LevelGeometry.of(levels(), None)


@pytest.mark.parametrize(
    ("num_frames", "seen_by"),
    [
        (1, ["0", "1", "2", "3"]),
        (2, ["01", "01", "12", "23"]),
        (3, ["012", "012", "123", "123"]),
        (4, ["0123"] * 4),
    ],
)
@torch.no_grad()
def test_a_token_sees_the_nearest_frames_of_its_own_clip(num_frames, seen_by):
    encoder = build(num_frames)
    del encoder.layers[1]  # a second layer looks further
    tokens, pos = torch.randn(2, 2, 4, TOKENS, 8)
    before = encoder(tokens, pos, geometry())
    assert before.shape == tokens.shape
    for changed in range(4):
        other = tokens.clone()
        other[1, changed] += torch.randn(TOKENS, 8)
        differs = (encoder(other, pos, geometry()) - before).abs().amax((2, 3)) > 1e-4
        assert not differs[0].any()
        assert differs[1].tolist() == [str(changed) in frames for frames in seen_by]


@torch.no_grad()
def test_of_equal_frames_a_window_says_what_one_frame_says():
    one, two = build(), build(2)
    state = one.state_dict()
    for name, shape in {name: value.shape for name, value in two.state_dict().items()}.items():
        if state[name].shape != shape:  # offsets and weights, heads first: every frame as the one
            by_head = state[name].unflatten(0, (2, -1))
            state[name] = torch.cat([by_head, by_head], dim=1).flatten(0, 1)
    two.load_state_dict(state)
    tokens, pos = torch.randn(2, 1, 1, TOKENS, 8)
    expected = one(tokens, pos, geometry()).expand(-1, 3, -1, -1)
    found = two(tokens.expand(-1, 3, -1, -1), pos.expand(-1, 3, -1, -1), geometry())
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("pre_norm", [False, True])
@torch.no_grad()
def test_padding_has_no_influence(pre_norm):
    """Maps alone, and in the corner of a canvas whose other cells are random."""
    encoder = build(2, pre_norm)
    maps = levels(2)
    canvas = [torch.randn(2, 8, 2 * h, 2 * w) for h, w in SIZES]
    paddings = [torch.ones(1, 2 * h, 2 * w, dtype=torch.bool) for h, w in SIZES]
    for level, large, padding, (height, width) in zip(maps, canvas, paddings, SIZES):
        large[..., :height, :width] = level
        padding[..., :height, :width] = False
    memories = []
    for given, padding in ((maps, None), (canvas, paddings)):
        tokens = torch.cat([level.flatten(2).transpose(1, 2) for level in given], dim=1)[None]
        where = LevelGeometry.of(given, padding)
        pos = encoder.embed_levels(torch.zeros_like(tokens), where)
        memory = encoder(tokens, pos, where)
        memories.append(memory if padding is None else memory[:, :, ~where.padding[0]])
    torch.testing.assert_close(memories[1], memories[0], rtol=0, atol=1e-5)


def test_positions_tell_the_levels_apart():
    encoder, where = build(), geometry()
    pos = encoder.embed_levels(torch.zeros(1, 1, TOKENS, 8), where)[0, 0]
    assert torch.equal(pos[:24], encoder.level_embed[:1].expand(24, -1))
    assert torch.equal(pos[24:], encoder.level_embed[1:].expand(6, -1))


@torch.no_grad()
def test_a_large_table_is_read_in_parts(monkeypatch):
    encoder, where = build(3), geometry()
    tokens, pos = torch.randn(2, 2, 3, TOKENS, 8)
    whole = encoder(tokens, pos, where)
    sizes = []
    read = ms_deform_attn._sum_of_rows
    monkeypatch.setattr(ms_deform_attn, "MAX_ROWS", 1300)
    monkeypatch.setattr(
        ms_deform_attn, "_sum_of_rows", lambda v, *args: sizes.append(len(v)) or read(v, *args)
    )
    torch.testing.assert_close(encoder(tokens, pos, where), whole)
    # A frame has (6·8 + 4·5)·2 rows for each of the three that it sees: 408.
    assert sizes == [3, 3] * 2
