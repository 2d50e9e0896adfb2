"""Layers that sample, by torch.export: for maps of any size, and by ``grid_sample``, which ONNX has."""

import pytest
import torch
from torch import nn

from d2video.export import GraphSpec
from d2video.export.writing import program_of
from d2video.layers import DeformConv
from d2video.layers.level_geometry import LevelGeometry
from d2video.layers.multi_scale_encoder import MultiScaleEncoder

pytestmark = pytest.mark.slow


class Convolution(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = DeformConv(4, 3)
        nn.init.normal_(self.layer.offset.weight)

    def forward(self, x):
        return (self.layer(x),)


class Encoder(nn.Module):
    """Two levels, of which each token sees two frames."""

    def __init__(self):
        super().__init__()
        self.layer = MultiScaleEncoder(16, 2, 1, 16, num_levels=2, num_points=2, num_frames=2)

    def forward(self, *levels):
        geometry = LevelGeometry.of([*levels], None)
        tokens = torch.cat([level.flatten(-2).transpose(-1, -2) for level in levels], -2)
        pos = self.layer.embed_levels(tokens / 2, geometry)
        return (self.layer(tokens, pos, geometry),)


def maps(*sizes):
    generator = torch.Generator().manual_seed(0)
    return {f"map{i}": torch.randn(size, generator=generator) for i, size in enumerate(sizes)}


CASES = {
    "convolution": (Convolution, [(2, 4, 9, 14)], [(2, 4, 6, 11)], 1),
    "encoder": (
        Encoder,
        [(1, 3, 16, 9, 14), (1, 3, 16, 5, 7)],
        [(1, 3, 16, 6, 11), (1, 3, 16, 3, 6)],
        4,  # of each level of each frame
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_graph_takes_maps_of_any_size(case):
    build, example, check, samples = CASES[case]
    torch.manual_seed(0)
    module = build().eval()
    inputs = maps(*check)
    dynamic = {name: {x.dim() - 2: "h", x.dim() - 1: "w"} for name, x in inputs.items()}
    program = program_of(GraphSpec(module, maps(*example), inputs, dynamic, ["y"]))
    operators = [str(node.target) for node in program.graph.nodes if node.op == "call_function"]
    assert operators.count("aten.grid_sampler.default") == samples
    assert not [name for name in operators if "torchvision" in name or "embedding_bag" in name]
    with torch.no_grad():
        (found,) = program.module()(*inputs.values())
        (expected,) = module(*inputs.values())
    # Without a graph the encoder samples in another way.
    torch.testing.assert_close(found, expected, atol=2e-6, rtol=1e-5)
