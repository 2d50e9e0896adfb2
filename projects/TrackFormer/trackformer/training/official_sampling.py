"""Track queries for training as the official code samples them, to compare with it.

Against the paper (sec. 3.3) it keeps the same number of queries in every image, whatever the false
negative probability; lets real objects that were dropped pass as false positives; and prefers
false positives that are far away horizontally.

Random numbers come from torch.randint, torch.randperm and torch.multinomial in the official order
and are drawn on the CPU, so that a test can replay a log of them.

Shapes: B: images, Q: queries, m: matched queries of an image, n: its track queries.
"""

import math

import torch
from torch import Tensor


def sample(
    boxes: Tensor,
    queries: list[Tensor],
    rows: list[Tensor],
    *,
    false_negative_prob: float,
    false_positive_prob: float,
    false_positives: bool,
    padding: Tensor | None = None,
) -> tuple[list[Tensor], list[Tensor]]:
    """
    Args:
        boxes: (B, Q, 4), cxcywh, on the CPU as all else.
        queries: B tensors (m,) int64, the matched queries of each image in the matcher's order.
        rows: B tensors (m,) int64, their objects' rows in the current frame, or negative.
        false_negative_prob: 0 keeps all; any other value a random number of them.
        false_positive_prob: of the number kept, rounded up, is the greatest number added.
        false_positives: add any.
        padding: (B, Q) bool, True for queries that are no false positives either.

    Returns:
        B tensors of the chosen queries and B tensors of their rows, both (n,) int64; false
        positives come last, with row -1.
    """
    least = min(len(matched) for matched in queries)
    kept = int(torch.randint(0, least + 1, (1,))) if least else 0
    added = 0
    if kept:
        added = int(torch.randint(math.ceil(false_positive_prob * kept) + 1, (1,)))
    chosen_queries, chosen_rows = [], []
    for image, (matched, objects) in enumerate(zip(queries, rows, strict=True)):
        if false_negative_prob:
            order = torch.randperm(len(matched))[:kept]
            matched, objects = matched[order], objects[order]
        if false_positives:
            free = torch.ones(boxes.shape[1], dtype=torch.bool)
            free[matched] = False
            if padding is not None:
                free &= ~padding[image]
            spawning = torch.randperm(kept)[:added]
            new = _false_positives(boxes[image], free, matched[objects >= 0], spawning)
            matched = torch.cat([matched, new])
            objects = torch.cat([objects, torch.full_like(new, -1)])
        chosen_queries.append(matched)
        chosen_rows.append(objects)
    return chosen_queries, chosen_rows


def _false_positives(boxes: Tensor, free: Tensor, tracked: Tensor, spawning: Tensor) -> Tensor:
    """A free query (of Q) for each number in ``spawning``: far from that tracked query, by its x
    alone, or any query where the number exceeds the tracked ones."""
    pool = free.nonzero()[:, 0]
    new = []
    for number in spawning.tolist():
        if number < len(tracked):
            distance = boxes[tracked[number], 0] - boxes[pool, 0]
            # sqrt(dx² + dx²) in the official code, where dx² + dy² was meant.
            place = int(torch.multinomial((2 * distance**2).sqrt(), 1))
        else:
            place = int(torch.randperm(len(pool))[0])
        new.append(pool[place])
        pool = torch.cat([pool[:place], pool[place + 1 :]])
    return torch.stack(new) if new else pool[:0]
