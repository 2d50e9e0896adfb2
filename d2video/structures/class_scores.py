"""The order of class scores: one rule for what is scored, written and drawn."""

import torch
from torch import Tensor


def top_classes(scores: Tensor, topk: int) -> list[tuple[int, float]]:
    """The best classes and their scores, best first.

    Of classes with equal scores the one with the lower index comes first, on every device, which
    ``torch.topk`` does not promise.

    Args:
        scores: float (K,).
        topk: how many, at least 1; all K where there are fewer.
    """
    assert scores.ndim == 1, scores.shape
    assert topk >= 1, topk
    values, order = torch.sort(scores.detach().cpu().float(), descending=True, stable=True)
    return list(zip(order[:topk].tolist(), values[:topk].tolist(), strict=True))
