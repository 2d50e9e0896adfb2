"""The active tracks of the current frame, before it is settled which of them stay.

Shapes: m: active tracks, H×W: the answer's size in pixels.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from d2video.projects.trackformer.tracker.frame_output import Owners
from d2video.projects.trackformer.tracker.tracks import Tracks

from d2video.utils.box_arrays import nms
from d2video.utils.nearest_sampling import resize_nearest


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
    rows: np.ndarray
    places: np.ndarray

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: np.ndarray) -> "FrameTracks":
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
            np.concatenate([part.rows for part in parts]),
            np.concatenate([part.places for part in parts]),
        )

    def not_overlapping(self, scores: np.ndarray, threshold: float) -> np.ndarray:
        """(m,) bool: what non-maximum suppression leaves.

        Args:
            scores: (m,); of equal ones the first stays.
            threshold: greatest IoU; 0: all are left.
        """
        if threshold == 0 or len(self) < 2:
            return np.ones(len(self), dtype=bool)
        kept = np.zeros(len(self), dtype=bool)
        kept[nms(self.tracks.boxes, scores, threshold)] = True
        return kept

    def owners(
        self,
        masks: Callable[[np.ndarray], Owners],
        old: np.ndarray | None,
        size: tuple[int, int],
    ) -> np.ndarray:
        """(H, W) int64: the track of each pixel, the most probable one, if that is above 1/2; else -1.

        Args:
            masks: see :class:`.frame_output.FrameOutput`; resized by nearest sampling.
            old: the owners (H, W) in the frame before, by ``places``: a track that is not seen has its
                pixels with probability 1.
            size: (H, W).
        """
        owners = np.full(size, -1)
        seen, unseen = np.flatnonzero(self.rows >= 0), np.flatnonzero(self.rows < 0)
        doubted = np.ones(size, dtype=bool)
        if len(seen):
            best, highest = (resize_nearest(each, size) for each in masks(self.rows[seen]))
            owners = np.where(highest > 0.5, seen[best], -1)
            doubted = highest < 1
        if len(unseen):
            assert old is not None
            number = np.full(max(old.max(), self.places.max()) + 2, -1)  # the last: of nobody
            number[self.places[unseen]] = unseen
            certain = number[old]
            # Of two that are certain the older one has the pixel.
            owners = np.where((certain >= 0) & (doubted | (certain < owners)), certain, owners)
        return owners
