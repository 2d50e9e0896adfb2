"""Tracks between two frames, as columns of numbers.

Shapes: n: tracks, C: channels of an embedding.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
from d2video.projects.trackformer.tracker.frame_output import Candidates

from d2video.utils.box_arrays import xyxy_to_cxcywh


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
        embeddings: (n, C) float32.
        motion: (n, 2) float32, x and y, pixels a frame between the last two sights; 0 after one.
    """

    ids: np.ndarray
    boxes: np.ndarray
    scores: np.ndarray
    classes: np.ndarray
    unseen: np.ndarray
    inactive: np.ndarray
    embeddings: np.ndarray
    motion: np.ndarray

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: np.ndarray) -> "Tracks":
        """The tracks of a mask (n,) bool or of different numbers (m,) int64."""
        if index.dtype == bool:
            index = np.flatnonzero(index)
            if len(index) == len(self):  # most often, and a small step is made of small calls
                return self
        if not len(index):
            return Tracks.none()
        return Tracks(*(getattr(self, name)[index] for name in _COLUMNS))

    @classmethod
    def none(cls) -> "Tracks":
        """No tracks, of unknown C (0)."""
        empty = np.zeros(0, np.int64)
        numbers = np.zeros(0, np.float32)
        boxes, motion = numbers.reshape(0, 4), numbers.reshape(0, 2)
        return cls(empty, boxes, numbers, empty, empty, empty, numbers.reshape(0, 0), motion)

    @classmethod
    def start(cls, candidates: Candidates, rows: np.ndarray, first_id: int) -> "Tracks":
        """New tracks at the rows (m,), with ids from ``first_id`` on."""
        zeros = np.zeros_like(rows)
        return cls(
            ids=first_id + np.arange(len(rows)),
            boxes=candidates.boxes[rows],
            scores=candidates.scores[rows],
            classes=candidates.classes[rows],
            unseen=zeros,
            inactive=zeros,
            embeddings=candidates.embeddings[rows],
            motion=np.zeros((len(rows), 2), np.float32),
        )

    @classmethod
    def cat(cls, parts: Sequence["Tracks"]) -> "Tracks":
        """All tracks of the parts, in order."""
        some = [part for part in parts if len(part)]  # empty ones do not know C
        if len(some) <= 1:
            return some[0] if some else cls.none()
        return cls(*(np.concatenate([getattr(part, name) for part in some]) for name in _COLUMNS))

    def query_boxes(self, size: tuple[int, int], moved_on: bool = False) -> np.ndarray:
        """(n, 4) float32, cxcywh divided by ``size`` (H, W).

        Args:
            moved_on: where the tracks are now if they have moved as before, the centres within the
                image; otherwise where they were seen last.
        """
        boxes = xyxy_to_cxcywh(self.boxes)
        if moved_on:
            boxes[:, :2] += self.motion * self._frames_since()
        boxes /= np.array([size[1], size[0]] * 2, np.float32)
        if moved_on:
            boxes[:, :2] = boxes[:, :2].clip(0.01, 0.99)
        return boxes

    def seen_at(self, candidates: Candidates, rows: np.ndarray) -> "Tracks":
        """The same tracks with what the candidates' rows (n,) show; a row of -1: as they were.

        The counters stay.
        """
        if not len(self):
            return self
        seen = rows >= 0
        boxes = candidates.boxes[rows]
        motion = (_centres(boxes) - _centres(self.boxes)) / self._frames_since()
        each = seen[:, None]
        return replace(
            self,
            boxes=np.where(each, boxes, self.boxes),
            scores=np.where(seen, candidates.scores[rows], self.scores),
            classes=np.where(seen, candidates.classes[rows], self.classes),
            embeddings=np.where(each, candidates.embeddings[rows], self.embeddings),
            motion=np.where(each, motion, self.motion),
        )

    def _frames_since(self) -> np.ndarray:
        """(n, 1) float32, frames since a track was last seen."""
        return (1 + self.inactive[:, None]).astype(np.float32)


def _centres(boxes: np.ndarray) -> np.ndarray:
    return (boxes[:, :2] + boxes[:, 2:]) / 2


_COLUMNS = [field.name for field in fields(Tracks)]
