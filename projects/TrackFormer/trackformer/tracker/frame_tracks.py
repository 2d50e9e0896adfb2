"""The active tracks of the current frame, before it is settled which of them stay.

Shapes: m: active tracks, H×W: the answer's size in pixels.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from d2video.projects.trackformer.tracker.tracks import Tracks
from torch import Tensor
from torchvision.ops import nms


@dataclass
class FrameTracks:
    """
    Attributes:
        tracks: m tracks with this frame's boxes.
        before: the same tracks as they were before the frame (new ones: as they are).
        rows: (m,) int64, the network's row that shows the track; -1: none does.
        places: (m,) int64, among the known tracks, active ones of the frame before first; -1: a
            detection started the track or brought it back.
    """

    tracks: Tracks
    before: Tracks
    rows: Tensor
    places: Tensor

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: Tensor) -> "FrameTracks":
        """Those of a mask (m,) bool."""
        if index.all():
            return self
        return FrameTracks(
            self.tracks[index], self.before[index], self.rows[index], self.places[index]
        )

    @classmethod
    def cat(cls, parts: Sequence["FrameTracks"]) -> "FrameTracks":
        parts = [part for part in parts if len(part)] or parts[:1]
        if len(parts) == 1:
            return parts[0]
        return cls(
            Tracks.cat([part.tracks for part in parts]),
            Tracks.cat([part.before for part in parts]),
            torch.cat([part.rows for part in parts]),
            torch.cat([part.places for part in parts]),
        )

    def not_overlapping(self, scores: Tensor, threshold: float) -> Tensor:
        """(m,) bool: what non-maximum suppression leaves.

        Args:
            scores: (m,); of equal ones the first stays.
            threshold: greatest IoU; 0: all are left.
        """
        if threshold == 0 or len(self) < 2:
            return torch.ones(len(self), dtype=torch.bool)
        kept = torch.zeros(len(self), dtype=torch.bool)
        kept[nms(self.tracks.boxes, scores, threshold)] = True
        return kept

    def masks(
        self,
        probabilities: Callable[[Tensor], Tensor],
        device: torch.device,
        old: Tensor | None,
        size: tuple[int, int],
    ) -> Tensor:
        """(m, H, W) bool: every pixel is of the most probable track, if that is above 1/2.

        Args:
            probabilities: rows (k,) int64, on the device, to (k, H, W).
            old: masks (n, H, W) bool by ``places``; of probability 1 where a track is not seen.
            size: (H, W).
        """
        if not len(self):
            return torch.zeros(0, *size, dtype=torch.bool, device=device)
        seen = (self.rows >= 0).nonzero()[:, 0]
        unseen = (self.rows < 0).nonzero()[:, 0]
        if len(seen):
            maps = probabilities(self.rows[seen].to(device))
            assert maps.shape == (len(seen), *size), f"masks of shape {tuple(maps.shape)}"
        if len(unseen):
            assert old is not None
            kept = old[self.places[unseen].to(device)].float()
            maps = torch.cat([maps, kept]) if len(seen) else kept
            order = torch.cat([seen, unseen]).argsort()
            maps = maps[order.to(device)]
        highest, best = maps.max(dim=0)
        index = torch.arange(len(self), device=device)[:, None, None]
        return (index == best) & (highest > 0.5)
