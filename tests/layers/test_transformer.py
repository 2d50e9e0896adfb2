"""Transformer layers: padding among the queries, and positions from cell centres."""

import math

import pytest
import torch

from d2video.layers import SinePositionEncoding, TransformerDecoderLayer


@pytest.mark.parametrize("pre_norm", [False, True])
@torch.no_grad()
def test_padded_queries_do_not_speak(pre_norm):
    layer = TransformerDecoderLayer(16, 4, 16, pre_norm=pre_norm).eval()
    x, pos = torch.randn(2, 2, 5, 16)
    memory, memory_pos = torch.randn(2, 2, 7, 16)
    padding = torch.tensor([[False] * 3 + [True] * 2, [False] * 5])
    padded = layer(x, pos, memory, memory + memory_pos, None, padding)
    free = layer(x, pos, memory, memory + memory_pos, None)
    alone = layer(x[:, :3], pos[:, :3], memory, memory + memory_pos, None)
    torch.testing.assert_close(padded[0, :3], alone[0], rtol=0, atol=1e-5)
    torch.testing.assert_close(padded[1], free[1], rtol=0, atol=1e-5)
    assert (free[0, :3] - alone[0]).abs().max() > 1e-3


def test_positions_of_cell_centres():
    """A row of four cells, one of them padding: the first channel is the sine of the position."""
    padding = torch.tensor([[[False, False, False, True]]])
    encoding = SinePositionEncoding(4, 2, offset=-0.5)(padding)
    across = encoding[0, 0, :3, 2]
    expected = torch.sin(torch.tensor([0.5, 1.5, 2.5]) * 2 * math.pi / 3)
    torch.testing.assert_close(across, expected, rtol=0, atol=1e-5)
