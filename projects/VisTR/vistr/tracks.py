"""Tracks through videos of any length: overlapping windows, and their slots linked from one to the next.

In numpy, because exported models do the same without torch; mask logits are of any library.

Shapes: T: frames of a window, s: slots kept, K: classes, h×w: mask logits (stride 4).
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import numpy as np

from d2video.utils.assignment import assign

Image = TypeVar("Image")


@dataclass
class ClipPrediction:
    """The slots of one window that are worth following.

    Attributes:
        probabilities: (T, s, K) float32, class probabilities without "no object".
        mask_logits: (s, T, h, w), of numpy, or of torch on any device.
    """

    probabilities: np.ndarray
    mask_logits: Any


@dataclass
class Track:
    """One object, as far as it has been seen.

    Attributes:
        score_sum: sum over frames of the highest class probability.
        num_frames: frames counted.
        votes: (K,) in how many frames each class was the most probable one; a frame whose probabilities
            are all 0, as MASK_SCORES makes those of a slot without a mask, has no vote.
    """

    id: int
    votes: np.ndarray
    score_sum: float = 0.0
    num_frames: int = 0

    def add(self, probabilities: np.ndarray) -> None:
        """Count frames: (frames, K)."""
        best, classes = probabilities.max(-1), probabilities.argmax(-1)
        self.score_sum += float(best.sum())
        self.num_frames += len(best)
        self.votes += np.bincount(classes[best > 0], minlength=len(self.votes))

    @property
    def score(self) -> float:
        """Mean over frames of the highest class probability, in [0, 1]."""
        return self.score_sum / self.num_frames

    @property
    def category(self) -> int:
        """The class most often on top; of equals the smallest."""
        return int(self.votes.argmax())


@dataclass
class TrackedFrame:
    """The tracks of one frame, one row each.

    Attributes:
        tracks: s tracks, complete up to the end of the window that holds this frame.
        confidence: (s,) float32, highest class probability in this frame.
        mask_logits: (s, h, w), of numpy, or of torch on any device.
    """

    tracks: list[Track]
    confidence: np.ndarray
    mask_logits: Any

    def shown(self, frame_threshold: float, label_offset: int) -> np.ndarray:
        """(s,) bool: tracks that are answered, if they have a mask in this frame.

        Args:
            frame_threshold: least confidence in this frame.
            label_offset: logit of contiguous class 0; tracks of a class below it are left out.
        """
        known = np.array([track.category >= label_offset for track in self.tracks], bool)
        return known & (self.confidence >= np.float32(frame_threshold))

    def columns(
        self, rows: np.ndarray, label_offset: int
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Scores float32, contiguous classes int64 and ids int64, each (n,), of n rows."""
        tracks = [self.tracks[row] for row in rows]
        return (
            np.array([track.score for track in tracks], np.float32),
            np.array([track.category - label_offset for track in tracks], np.int64),
            np.array([track.id for track in tracks], np.int64),
        )


@dataclass(frozen=True)
class Window(Generic[Image]):
    """What the network sees at once.

    Attributes:
        frames: T.
        num_shared: leading frames that the window before has, too.
        num_valid: frames of the video; the rest are repetitions.
    """

    frames: list[Image]
    num_shared: int
    num_valid: int


def windows_of(frames: Iterable[Image], num_frames: int, overlap: int) -> Iterator[Window[Image]]:
    """The windows of a video of any length.

    The first one takes frames 0 … T-1; each further one keeps ``overlap`` frames of the one
    before; the last ends with the video, so it may overlap by more. A video of at most T frames is
    one plain clip. One shorter than T is repeated from its start until T frames are full, as the
    official code does.
    """
    window: deque[Image] = deque(maxlen=num_frames)
    fresh = 0  # frames that no window has yet

    def cut() -> Window[Image]:
        valid = len(window)
        return Window([window[i % valid] for i in range(num_frames)], valid - fresh, valid)

    due = num_frames
    for frame in frames:
        window.append(frame)
        fresh += 1
        if fresh == due:
            yield cut()
            fresh, due = 0, num_frames - overlap
    if fresh:
        yield cut()


@dataclass
class WindowLinker:
    """Carries track identities from window to window.

    Two slots are one track if their masks overlap on the frames that the windows share and their
    classes agree there: similarity = (summed intersection / summed union) · cosine of the mean
    class probabilities. The one-to-one assignment with the largest sum of similarity · confidence ·
    confidence counts where the similarity reaches ``link_iou``. Without the confidences a slot that
    stands for nothing, but whose mask repeats an object's, would take that object's track as often
    as the slot that is sure of it.

    Args:
        link_iou: least similarity.
        mask_ious: mask logits (M, t, h, w) and (N, t, h, w) to the IoU of all pairs of masks over all t
            frames, (M, N) float32.
    """

    link_iou: float
    mask_ious: Callable[[Any, Any], np.ndarray]
    num_tracks: int = 0
    _tracks: list[Track] = field(default_factory=list)
    _previous: ClipPrediction | None = None

    def frames(
        self, prediction: ClipPrediction, num_shared: int, num_valid: int
    ) -> Iterator[TrackedFrame]:
        """The frames that the next window of a video adds.

        Args:
            num_shared, num_valid: see :class:`Window`.
        """
        tracks = self._link(prediction, num_shared, num_valid)
        for t in range(num_shared, num_valid):
            confidence = prediction.probabilities[t].max(-1)
            yield TrackedFrame(tracks, confidence, prediction.mask_logits[:, t])

    def _link(self, window: ClipPrediction, num_shared: int, num_valid: int) -> list[Track]:
        """Tracks of the window's slots; its frames from ``num_shared`` on are counted."""
        num_slots, num_classes = window.probabilities.shape[1:]
        known: dict[int, Track] = {}
        if num_shared:
            assert self._previous is not None
            similarity, confidence = self._similarity(self._previous, window, num_shared)
            for old, new in zip(*assign(-similarity * confidence)):
                if similarity[old, new] >= self.link_iou:
                    known[new] = self._tracks[old]
        linked = []
        for slot in range(num_slots):
            if slot not in known:
                known[slot] = Track(self.num_tracks, np.zeros(num_classes, np.int64))
                self.num_tracks += 1
            track = known[slot]
            # Of the shared frames the previous window's answers were shown, so only new ones count.
            track.add(window.probabilities[num_shared:num_valid, slot])
            linked.append(track)
        self._tracks, self._previous = linked, window
        return linked

    def _similarity(
        self, old: ClipPrediction, new: ClipPrediction, num_shared: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Similarity and product of the confidences, both (old slots, new slots)."""
        ious = self.mask_ious(old.mask_logits[:, -num_shared:], new.mask_logits[:, :num_shared])
        a = old.probabilities[-num_shared:].mean(0)
        b = new.probabilities[:num_shared].mean(0)
        return ious * (_unit(a) @ _unit(b).T), a.max(-1)[:, None] * b.max(-1)


def _unit(rows: np.ndarray) -> np.ndarray:
    """Rows of length 1; those of zeros stay."""
    return rows / np.maximum(np.linalg.norm(rows, axis=-1, keepdims=True), 1e-12)
