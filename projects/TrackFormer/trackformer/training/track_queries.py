"""Track queries of a training sample, with augmentations (TrackFormer, sec. 3.3).

Shapes: B: images, Q: queries of the previous frame, n: track queries (of the image with most), C: width,
M: matched queries of the batch.
"""

import numpy as np
import torch
from d2video.projects.trackformer.network.base import TrackQueries
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from d2video.modeling.matcher import Matches
from d2video.modeling.targets import ImageTargets
from d2video.utils.transfer import to_device

NO_OBJECT = -1  # a track query whose object is not in the frame, or that never had one
PADDED = -2  # no query at all: fills up the batch


class TrackQuerySampler:
    """Turns matched queries of the previous frame into track queries, with augmentations.

    Each matched query is dropped (a false negative: its object has to be detected anew) with one
    probability; each of those kept brings along, with another, a false positive: an unmatched query
    of the previous frame, likely one whose box lies near. The false positives of an image are
    different queries, drawn from the mean of what the kept queries would draw from one by one.

    Args:
        false_negative_prob, false_positive_prob: in [0, 1]; the official values are 0.4 and 0.1.
    """

    def __init__(self, false_negative_prob: float = 0.4, false_positive_prob: float = 0.1):
        self.false_negative_prob = false_negative_prob
        self.false_positive_prob = false_positive_prob

    def __call__(
        self,
        embeddings: Tensor,
        boxes: Tensor,
        matches: Matches,
        previous: list[ImageTargets],
        current: list[ImageTargets],
        *,
        padding: Tensor | None = None,
        false_positives: bool = True,
    ) -> tuple[TrackQueries, Tensor]:
        """
        Args:
            embeddings: (B, Q, C), outputs of the previous frame's decoder; gradients pass.
            boxes: (B, Q, 4), cxcywh, predicted in the previous frame; gradients do not pass.
            matches: M matches of its last layer, targets numbered over ``previous``.
            previous, current: B frames each.
            padding: (B, Q) bool, True where the previous frame had no query; these are not used.
            false_positives: whether to add any.

        Returns:
            the track queries, in no particular order and with arbitrary finite values where padded;
            and (B, n) int64, for each the row of its object in ``current[b]``, ``NO_OBJECT`` or
            ``PADDED``.
        """
        boxes = boxes.detach()
        rows = current_rows(matches, previous, current)
        queries, rows, counts = self._sample(boxes, matches, rows, padding, false_positives)
        padded = rows == PADDED if counts.min() < rows.shape[1] else None
        matched = torch.zeros_like(boxes[..., 0], dtype=torch.bool)
        matched[matches.batch, matches.query] = True
        return TrackQueries(
            embeddings.gather(1, queries[..., None].expand(-1, -1, embeddings.shape[-1])),
            boxes.gather(1, queries[..., None].expand(-1, -1, 4)),
            padded,
            matched.gather(1, queries),
        ), rows

    def _sample(
        self,
        boxes: Tensor,
        matches: Matches,
        rows: Tensor,
        padding: Tensor | None,
        false_positives: bool,
    ) -> tuple[Tensor, Tensor, np.ndarray]:
        """Queries and rows, both (B, n), in the order of the queries, and how many each image has, (B,).

        What decides these numbers is drawn on the CPU, so that nothing waits for the device.
        """
        batch, query = matches.batch, matches.query
        device, (num_images, num_queries) = boxes.device, boxes.shape[:2]
        image = matches.on_host()[1]
        kept = torch.rand(len(rows)) >= self.false_negative_prob
        assigned = torch.full((num_images, num_queries), PADDED, device=device)
        assigned[batch, query] = rows.where(to_device(kept, device), PADDED)
        counts = np.bincount(image[kept.numpy()], minlength=num_images)
        if false_positives and self.false_positive_prob > 0:
            spawning = kept & (torch.rand(len(rows)) < self.false_positive_prob)
            wanted = np.bincount(image[spawning.numpy()], minlength=num_images)
            free = num_queries - np.bincount(image, minlength=num_images)
            candidates = torch.ones_like(assigned, dtype=torch.bool)
            candidates[batch, query] = False
            if padding is not None:
                candidates &= ~padding
                free = free - padding.sum(1).cpu().numpy()  # waits for the device
            density = nearness(boxes[batch, query], boxes[batch]) * candidates[batch]
            density = density / density.sum(1, keepdim=True).clamp(min=1e-30)
            share = boxes.new_zeros(assigned.shape, dtype=torch.float32)
            share = share.index_add(0, batch, density * to_device(spawning, device)[:, None])
            # Exponential clocks of these rates ring in the order of draws without replacement.
            clock = -torch.log1p(-torch.rand(num_images, num_queries, device=device)) / share
            place = clock.argsort(1).argsort(1)
            most = to_device(torch.from_numpy(wanted), device)
            chosen = (place < most[:, None]) & (share > 0)
            assigned = assigned.masked_fill(chosen, NO_OBJECT)
            counts = counts + np.minimum(wanted, free)
        used = (assigned != PADDED).byte()
        queries = used.argsort(dim=1, descending=True, stable=True)[:, : counts.max()]
        return queries, assigned.gather(1, queries), counts


def current_rows(
    matches: Matches, previous: list[ImageTargets], current: list[ImageTargets]
) -> Tensor:
    """(M,) int64, the row in ``current[b]`` of each match's object, ``NO_OBJECT`` if it is gone."""
    ids = torch.cat(_ids(previous))[matches.target]
    present = pad_sequence(_ids(current), True, NO_OBJECT)
    present = torch.nn.functional.pad(present, (0, 1), value=NO_OBJECT)  # argmax needs a column
    same = present[matches.batch] == ids[:, None]
    return same.byte().argmax(1).where(same.any(1), NO_OBJECT)


def moved_on(
    boxes: Tensor,
    rows: Tensor,
    earlier: list[ImageTargets],
    current: list[ImageTargets],
    unknown: float = 0.3,
) -> Tensor:
    """Boxes of track queries, moved on from where their objects were a frame earlier: at inference a
    tracker knows that of tracks that are two frames old.

    Args:
        boxes: (B, n, 4) cxcywh, of the previous frame.
        rows: (B, n) int64, see :class:`TrackQuerySampler`; those without an object stay.
        earlier, current: B frames each, before the previous frame and after it.
        unknown: probability that a track stays, as new ones do.

    Returns:
        (B, n, 4), the centres within the image.
    """
    moved = boxes.clone()
    known = torch.rand(rows.shape, device=boxes.device) >= unknown
    for image, (before, now) in enumerate(zip(earlier, current)):
        if not (len(before) and len(now)):
            continue
        assert before.ids is not None
        assert now.ids is not None
        same = now.ids[rows[image].clamp(min=0)][:, None] == before.ids
        which = known[image] & (rows[image] >= 0) & same.any(1)
        start = before.boxes[same.byte().argmax(1), :2]
        on = (2 * boxes[image, :, :2] - start).clamp(0.01, 0.99)
        moved[image, :, :2] = torch.where(which[:, None], on, boxes[image, :, :2])
    return moved


def _ids(images: list[ImageTargets]) -> list[Tensor]:
    ids = [targets.ids for targets in images if targets.ids is not None]
    assert len(ids) == len(images), "the targets of a tracker have ids"
    return ids


def nearness(box: Tensor, others: Tensor) -> Tensor:
    """How readily a false positive at each of the other boxes is taken for an object in ``box``.

    (1 + d²)⁻², d: distance of the centres in widths and heights of ``box``. Of queries spread
    evenly, half of those drawn by this weight have d < 1, and none, however far, has weight 0.

    Args:
        box: (M, 4), cxcywh divided by the image size.
        others: (M, Q, 4).

    Returns:
        (M, Q) float32 in (0, 1].
    """
    box, others = box.float()[:, None], others.float()
    size = box[..., 2:].clamp(min=1e-3)  # a box without area has neighbours, too
    distance = (others[..., :2] - box[..., :2]) / size
    return (1 + distance.square().sum(-1)) ** -2


def no_object_weights(
    track_rows: Tensor, num_object_queries: int, weight: float, false_positive_weight: float = 1.0
) -> Tensor:
    """Weights in the class loss of queries without an object, for ``SetCriterion.forward``.

    Args:
        track_rows: (B, n) int64, see :class:`TrackQuerySampler`.
        num_object_queries: Q', which follow the track queries.
        weight: of an object query.
        false_positive_weight: of a track query without an object.

    Returns:
        (B, n + Q') float32; 0 for padding.
    """
    weights = (track_rows != PADDED) * false_positive_weight
    return torch.nn.functional.pad(weights, (0, num_object_queries), value=weight)
