"""The mask branch of DETR and TrackFormer as a graph of its own.

Its inputs are the tensors of :class:`Encoded`, and images and queries (n,) int64; ``d2video/deploy/masks.py``
runs it.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from d2video.export.graphs import GraphSpec
from d2video.modeling.mask_head import MaskBranch
from d2video.modeling.predictions import Encoded


def encoded_names(branch: MaskBranch) -> list[str]:
    """Names of :func:`encoded_tensors`."""
    positions = ["positions"] if branch.bbox_attention.use_positions else []
    laterals = [f"lateral_{index}" for index in range(len(branch.mask_head.adapters))]
    return ["queries_of", "memory", "source", *positions, *laterals]


def encoded_tensors(branch: MaskBranch, encoded: Encoded) -> list[Tensor]:
    """What the branch reads of images without padding."""
    positions = []
    if branch.bbox_attention.use_positions:
        assert encoded.positions is not None
        positions = [encoded.positions]
    return [encoded.queries, encoded.memory, encoded.source, *positions, *encoded.laterals]


class _Masks(nn.Module):
    """To mask logits (n, h, w), n > 0."""

    def __init__(self, branch: MaskBranch):
        super().__init__()
        self.branch = branch

    def forward(self, *inputs: Tensor) -> tuple[Tensor]:
        queries, memory, source, *more, images, chosen = inputs
        positions = more.pop(0) if self.branch.bbox_attention.use_positions else None
        encoded = Encoded(queries, memory, source, None, more, positions)
        return (self.branch.at_once(encoded, images, chosen),)


def mask_graph(
    branch: MaskBranch, traced: Sequence[Tensor], checked: Sequence[Tensor]
) -> GraphSpec:
    """
    Args:
        traced: of :func:`encoded_tensors`, of two images, each with three queries or more.
        checked: the same of an image of another size.
    """
    names = encoded_names(branch)
    dynamic = {"images": {0: "n"}, "queries": {0: "n"}}
    for name in names:
        dynamic[name] = {0: "batch"}
        if name == "queries_of":
            dynamic[name][1] = "queries"
        elif name in ("memory", "positions"):
            dynamic[name] |= {1: "rows", 2: "columns"}
        elif name == "source":
            dynamic[name] |= {2: "rows", 3: "columns"}
        else:
            dynamic[name] |= {2: f"rows_{name}", 3: f"columns_{name}"}
    example, check = (dict(zip(names, each, strict=True)) for each in (traced, checked))
    example |= {"images": torch.tensor([0, 1, 1]), "queries": torch.tensor([1, 0, 2])}
    check |= {"images": torch.tensor([0]), "queries": torch.tensor([1])}
    return GraphSpec(_Masks(branch), example, check, dynamic, ["mask_logits"])
