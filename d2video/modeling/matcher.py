"""Bipartite matching between predictions and objects.

Shapes: L: decoder layers, B: clips or images, P: predictions (slots), n_b: objects of clip b.
"""

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor


def solve_assignments(costs: list[Tensor]) -> list[list[tuple[Tensor, Tensor]]]:
    """The cheapest one-to-one assignment for every decoder layer and clip.

    All cost matrices travel to the host in one transfer.

    Args:
        costs: B tensors (L, P, n_b).

    Returns:
        [L][B] pairs (prediction indices, object indices), int64 on the device of the costs, sorted
        by prediction, each of length min(P, n_b).

    Raises:
        FloatingPointError: a cost is not finite, so the model has diverged.
    """
    device = costs[0].device
    host = torch.cat([cost.detach().float().flatten() for cost in costs]).cpu()
    if not torch.isfinite(host).all():
        raise FloatingPointError(
            "matching: non-finite cost, so predictions hold NaN or infinity; lower SOLVER.BASE_LR "
            "or the loss weights, or switch SOLVER.AMP.DTYPE to bfloat16"
        )
    blocks = [
        block.view(cost.shape).numpy()
        for block, cost in zip(host.split([cost.numel() for cost in costs]), costs)
    ]
    pairs = [
        [linear_sum_assignment(block[layer]) for block in blocks] for layer in range(len(costs[0]))
    ]
    return [
        [tuple(torch.as_tensor(index, device=device) for index in pair) for pair in layer]  # type: ignore[misc]
        for layer in pairs
    ]
