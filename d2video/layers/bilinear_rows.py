"""Sums of bilinear samples by ``embedding_bag``: the four pixels around a point are rows of a table.

Shapes: R: rows of the table, c: their width, G: sums, P: points that one sum takes.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def sum_of_samples(
    table: Tensor,
    x: Tensor,
    y: Tensor,
    weights: Tensor | None,
    *,
    width: Tensor,
    height: Tensor,
    first: Tensor,
    step: int,
    points: int,
) -> Tensor:
    """Bilinear samples of maps, summed with their weights; zero beyond the borders of a map.

    Several times as fast as ``grid_sample`` on a CPU, whose channels lie a whole map apart in memory. The
    backward pass of ``embedding_bag`` gives that gain away again, so this is for inference.

    Args:
        table: (R, c), of the type of the sums. Each map has a border of zeros, one pixel wide. Neighbours
            in a row of a map are ``step`` rows of the table apart.
        x, y: (..., G·P) float32, the points of G sums, in pixels of the bordered map, whose border is
            pixel 0; overwritten. Operations are fast where the last dimension is long.
        weights: as x, or None for equal weights of 1.
        width, height: of the map of each point, without its border; float32, (G·P,).
        first: the row of the map's first pixel; float32 below 2^24, broadcast to x.
        step: see ``table``.
        points: P, of one sum.

    Returns:
        (sums, c).
    """
    # Points beyond the border are moved onto its outer edge, where nothing but zeros counts.
    x, y = x.clamp_(min=0).minimum(width + 1), y.clamp_(min=0).minimum(height + 1)
    left, top = x.floor().minimum(width), y.floor().minimum(height)
    right_part, lower_part = x.sub_(left), y.sub_(top)
    line = (width + 2) * step
    index = top.mul_(line).add_(left, alpha=step).add_(first).unflatten(-1, (-1, points))
    line = line.int().unflatten(-1, (-1, points))
    # The four pixels of a sum's points: each of its P points in turn, so that whole rows are written.
    indices = index.new_empty(*index.shape[:-1], 4, points, dtype=torch.int32)
    indices[..., 0, :] = index
    torch.add(indices[..., 0, :], step, out=indices[..., 1, :])
    torch.add(indices[..., 0, :], line, out=indices[..., 2, :])
    torch.add(indices[..., 2, :], step, out=indices[..., 3, :])
    lower = lower_part if weights is None else weights * lower_part
    upper = (1 if weights is None else weights) - lower
    right_part, lower, upper = (
        part.unflatten(-1, (-1, points)) for part in (right_part, lower, upper)
    )
    shares = x.new_empty(indices.shape)
    torch.mul(upper, right_part, out=shares[..., 1, :])
    torch.sub(upper, shares[..., 1, :], out=shares[..., 0, :])
    torch.mul(lower, right_part, out=shares[..., 3, :])
    torch.sub(lower, shares[..., 3, :], out=shares[..., 2, :])
    bags = torch.arange(0, indices.numel(), 4 * points, dtype=torch.int32, device=x.device)
    return F.embedding_bag(
        indices.view(-1),
        table,
        bags,
        per_sample_weights=shares.view(-1).to(table.dtype),
        mode="sum",
    )


# Row numbers of a table are counted in float32.
MAX_ROWS = 2**24
