"""What the official code does otherwise, where we hold it for a defect; to compare with it.

Shapes: B: images, Q: queries of a frame, m: matched queries of an image, n: its track queries.
"""

import math
from dataclasses import replace

import torch
from d2video.projects.trackformer.tracker.frame_tracks import FrameTracks
from d2video.projects.trackformer.tracker.tracker import Tracker
from d2video.projects.trackformer.tracker.tracks import Tracks
from d2video.projects.trackformer.training.track_queries import PADDED, TrackQuerySampler
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from d2video.modeling.matcher import Matches


class OfficialTracker(Tracker):
    """An inactive track that comes back keeps its counters, so that its patience lasts its whole life
    (default: they start anew). Tracks that are suppressed end for good, and new ones use up an id
    (default: a known track that is suppressed becomes inactive as it was before the frame, with its
    patience as far as used up; ids have no gaps). With ``reid_similarity_only``, a track that came
    back through its query falls back to its older box.
    """

    def _restarted(self, tracks: Tracks, which: Tensor) -> Tracks:
        return tracks

    def _suppress(
        self, active: FrameTracks, scores: Tensor, threshold: float
    ) -> tuple[FrameTracks, Tracks]:
        kept, _ = super()._suppress(active, scores, threshold)
        return kept, Tracks.none()

    def _number(self, tracks: Tracks, born: int) -> Tracks:
        self._next_id += born
        return tracks

    def _resting(self, active: FrameTracks) -> Tracks:
        by_query = (active.places >= 0)[:, None]
        boxes = torch.where(by_query, active.before.boxes, active.tracks.boxes)
        return replace(active.tracks, boxes=boxes)


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
        generator: torch.Generator | None,
    ) -> tuple[Tensor, Tensor]:
        """Queries and rows, both (B, n), false positives last."""
        assert generator is None, "the official sampling uses torch's global generator"
        images = [matches.batch == b for b in range(len(boxes))]
        queries, chosen = sample(
            boxes.cpu(),
            [matches.query[image].cpu() for image in images],
            [rows[image].cpu() for image in images],
            false_negative_prob=self.false_negative_prob,
            false_positive_prob=self.false_positive_prob,
            false_positives=false_positives,
            padding=None if padding is None else padding.cpu(),
        )
        return (
            pad_sequence(queries, batch_first=True).to(boxes.device),
            pad_sequence(chosen, batch_first=True, padding_value=PADDED).to(boxes.device),
        )


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
        padding: (B, Q) bool, True for queries that cannot be false positives either.

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
