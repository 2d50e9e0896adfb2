"""What the official code does otherwise in training, where we hold it for a defect; to compare with it.

Shapes: B: images, Q: queries of a frame, n: track queries of an image.
"""

import math

import numpy as np
import torch
from d2video.projects.trackformer.training.track_queries import (
    NO_OBJECT,
    PADDED,
    TrackQuerySampler,
)
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from d2video.modeling.matcher import Matches


class OfficialTrackQuerySampler(TrackQuerySampler):
    """Against the paper (sec. 3.3) it keeps the same number of queries in every image, whatever the
    false negative probability; lets real objects that were dropped pass as false positives; and
    prefers false positives that are far away horizontally.

    Random numbers come from torch.randint, torch.randperm and torch.multinomial in the official order
    and are drawn on the CPU, so that a test can replay a log of them.
    """

    def _sample(
        self,
        boxes: Tensor,
        matches: Matches,
        rows: Tensor,
        padding: Tensor | None,
        false_positives: bool,
    ) -> tuple[Tensor, Tensor, np.ndarray]:
        """Queries and rows, both (B, n), false positives last, and the number of each image, (B,)."""
        device, boxes = boxes.device, boxes.cpu()
        images = [matches.batch == b for b in range(len(boxes))]
        least = min(int(image.sum()) for image in images)
        kept = int(torch.randint(0, least + 1, (1,))) if least else 0
        added = 0
        if kept:
            added = int(torch.randint(math.ceil(self.false_positive_prob * kept) + 1, (1,)))
        queries, chosen = [], []
        for b, image in enumerate(images):
            matched, objects = matches.query[image].cpu(), rows[image].cpu()
            if self.false_negative_prob:
                order = torch.randperm(len(matched))[:kept]
                matched, objects = matched[order], objects[order]
            if false_positives:
                free = torch.ones(boxes.shape[1], dtype=torch.bool)
                free[matched] = False
                if padding is not None:
                    free &= ~padding[b].cpu()
                spawning = torch.randperm(kept)[:added]
                new = _false_positives(boxes[b], free, matched[objects >= 0], spawning)
                matched = torch.cat([matched, new])
                objects = torch.cat([objects, torch.full_like(new, NO_OBJECT)])
            queries.append(matched)
            chosen.append(objects)
        return (
            pad_sequence(queries, batch_first=True).to(device),
            pad_sequence(chosen, batch_first=True, padding_value=PADDED).to(device),
            np.array([*map(len, queries)]),
        )


def _false_positives(boxes: Tensor, free: Tensor, tracked: Tensor, spawning: Tensor) -> Tensor:
    """A free query (of Q) for each number in ``spawning``: far from that tracked query, only by
    its x, or any query where the number exceeds the tracked ones."""
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
