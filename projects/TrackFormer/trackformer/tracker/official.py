"""What the official tracker does otherwise, where we hold it for a defect; to compare with it."""

from dataclasses import replace

import numpy as np
from d2video.projects.trackformer.tracker.frame_tracks import FrameTracks
from d2video.projects.trackformer.tracker.tracker import Tracker
from d2video.projects.trackformer.tracker.tracks import Tracks


class OfficialTracker(Tracker):
    """An inactive track that comes back keeps its counters, so that its patience lasts its whole life
    (default: they start anew). Tracks that are suppressed end for good, and new ones use up an id
    (default: a known track that is suppressed becomes inactive as it was before the frame, with its
    patience as far as used up; ids have no gaps). With ``reid_similarity_only``, a track that came
    back through its query falls back to its older box.
    """

    def _restarted(self, tracks: Tracks, which: np.ndarray) -> Tracks:
        return tracks

    def _suppress(
        self, active: FrameTracks, scores: np.ndarray, threshold: float
    ) -> tuple[FrameTracks, Tracks]:
        kept, _ = super()._suppress(active, scores, threshold)
        return kept, Tracks.none()

    def _number(self, tracks: Tracks, born: int) -> Tracks:
        self._next_id += born
        return tracks

    def _resting(self, active: FrameTracks) -> Tracks:
        by_query = (active.places >= 0)[:, None]
        boxes = np.where(by_query, active.before.boxes, active.tracks.boxes)
        return replace(active.tracks, boxes=boxes)
