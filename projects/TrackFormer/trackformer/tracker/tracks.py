"""Tracks between two frames, as columns of numbers.

Shapes: n: tracks, C: channels of an embedding.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import torch
from d2video.projects.trackformer.network.frame_output import Candidates
from torch import Tensor

from d2video.structures.boxes import box_xyxy_to_cxcywh


@dataclass
class Tracks:
    """What is kept of each track: its last sight, nothing of its history.

    Attributes:
        ids: (n,) int64.
        boxes: (n, 4) float32 xyxy, pixels.
        scores: (n,) float32.
        classes: (n,) int64.
        unseen: (n,) int64, frames in a row in which the track was looked for as an active one, and
            missed ("count_termination").
        inactive: (n,) int64, frames that the track has been inactive ("count_inactive").
        embeddings: (n, C), on the network's device; all else is on the CPU.
        motion: (n, 2), x and y, pixels a frame between the last two sights; 0 after one.
    """

    ids: Tensor
    boxes: Tensor
    scores: Tensor
    classes: Tensor
    unseen: Tensor
    inactive: Tensor
    embeddings: Tensor
    motion: Tensor

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: Tensor) -> "Tracks":
        """The tracks of a mask (n,) bool or of different numbers (m,) int64, on the CPU."""
        if index.dtype == torch.bool:
            index = index.nonzero()[:, 0]  # here: as a mask it would make an accelerator wait
            if len(index) == len(self):  # most often, and a small step is made of small calls
                return self
        if not len(index):
            return Tracks.none()
        columns = {name: getattr(self, name)[index] for name in _CPU_COLUMNS}
        return Tracks(**columns, embeddings=self.embeddings[index.to(self.embeddings.device)])

    @classmethod
    def none(cls) -> "Tracks":
        """No tracks, of unknown C (0)."""
        empty = torch.zeros(0, dtype=torch.int64)
        none, boxes = torch.zeros(0), torch.zeros(0, 4)
        return cls(empty, boxes, none, empty, empty, empty, torch.zeros(0, 0), torch.zeros(0, 2))

    @classmethod
    def start(cls, candidates: Candidates, rows: Tensor, first_id: int) -> "Tracks":
        """New tracks at the rows (m,), with ids from ``first_id`` on."""
        zeros = torch.zeros_like(rows)
        return cls(
            ids=first_id + torch.arange(len(rows)),
            boxes=candidates.boxes[rows],
            scores=candidates.scores[rows],
            classes=candidates.classes[rows],
            unseen=zeros,
            inactive=zeros,
            embeddings=candidates.embeddings[rows.to(candidates.embeddings.device)],
            motion=torch.zeros(len(rows), 2),
        )

    @classmethod
    def cat(cls, parts: Sequence["Tracks"]) -> "Tracks":
        """All tracks of the parts, in order."""
        some = [part for part in parts if len(part)]  # empty ones do not know C
        if len(some) <= 1:
            return some[0] if some else cls.none()
        names = [*_CPU_COLUMNS, "embeddings"]
        return cls(**{name: torch.cat([getattr(part, name) for part in some]) for name in names})

    def query_boxes(self, size: tuple[int, int], moved_on: bool = False) -> Tensor:
        """(n, 4) cxcywh divided by ``size`` (H, W), on the device of the embeddings.

        Args:
            moved_on: where the tracks are now if they have moved as before, the centres within the
                image; otherwise where they were seen last.
        """
        boxes = box_xyxy_to_cxcywh(self.boxes)
        if moved_on:
            boxes[:, :2] += self.motion * (1 + self.inactive[:, None])
        boxes /= torch.tensor([size[1], size[0]] * 2)
        if moved_on:
            boxes[:, :2].clamp_(0.01, 0.99)
        return boxes.to(self.embeddings.device)

    def seen_at(self, candidates: Candidates, rows: Tensor) -> "Tracks":
        """The same tracks with what the candidates' rows (n,) show; a row of -1: as they were.

        The counters stay.
        """
        if not len(self):
            return self
        seen = rows >= 0
        rows = rows.clamp(min=0)
        device = self.embeddings.device
        shown = candidates.embeddings[rows.to(device)]
        motion = (_centres(candidates.boxes[rows]) - _centres(self.boxes)) / (
            1 + self.inactive[:, None]
        )
        return replace(
            self,
            boxes=torch.where(seen[:, None], candidates.boxes[rows], self.boxes),
            scores=torch.where(seen, candidates.scores[rows], self.scores),
            classes=torch.where(seen, candidates.classes[rows], self.classes),
            embeddings=torch.where(seen.to(device)[:, None], shown, self.embeddings),
            motion=torch.where(seen[:, None], motion, self.motion),
        )


def _centres(boxes: Tensor) -> Tensor:
    return (boxes[:, :2] + boxes[:, 2:]) / 2


_CPU_COLUMNS = [field.name for field in fields(Tracks) if field.name != "embeddings"]
