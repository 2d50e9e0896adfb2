"""From the network's output for each frame to tracks (TrackFormer, sec. 3.2 and 4.2).

Shapes: n: tracks, Q: object queries, C: channels of an embedding, H×W: the answer's size in pixels.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from d2video.projects.trackformer.tracker.frame_output import Candidates, FrameOutput
from d2video.projects.trackformer.tracker.frame_tracks import FrameTracks
from d2video.projects.trackformer.tracker.public_detections import RULES
from d2video.projects.trackformer.tracker.reid import match_by_look, match_by_place
from d2video.projects.trackformer.tracker.tracks import Tracks

from d2video.utils.errors import UserError

if TYPE_CHECKING:
    from detectron2.config import CfgNode
    from typing_extensions import Self


@dataclass(eq=False)
class TrackedFrame:
    """The N tracks in a frame, in order of age, those that came back counting as new.

    Attributes:
        ids: (N,) int64.
        boxes: (N, 4) float32 xyxy, pixels of the answer.
        scores: (N,) float32.
        classes: (N,) int64.
        masks: (N, H, W) bool, none overlapping; None of a model without masks.
    """

    ids: np.ndarray
    boxes: np.ndarray
    scores: np.ndarray
    classes: np.ndarray
    masks: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(kw_only=True, eq=False)
class Tracker:
    """Follows objects through one video, frame by frame; :meth:`reset` before the next.

    In each frame

    1. the queries of the active and of the inactive tracks are asked with the object queries; an
       active track that is not seen for ``steps_termination`` frames becomes inactive, an inactive
       one that is seen comes back;
    2. of active tracks that overlap the one with the higher score stays;
    3. detections, where asked for only those that public ones support, bring back inactive tracks
       (re-identification) or start new ones;
    4. new tracks that overlap others are dropped.

    Works on arrays, so that it runs beside an exported model as beside the network.

    The memory needed does not grow with the length of the video. What the official tracker does
    differently is in :class:`.official.OfficialTracker`.

    Args:
        steps_termination: frames in a row, 1 or more. Until then the track is answered where it
            was, and as it was, with its mask: that counts as certain against others' masks.
        clip_boxes: cut boxes at the image's border.
        tracked_classes: queries of other classes count as not seen; None: all count.
        moved_on: look for tracks where they are if they have moved as before.
        others: the keys of MODEL.TRACKFORMER.TRACKER, explained in config.py.

    Attributes:
        active, inactive: the :class:`Tracks` after the last frame.
        rows: of the last answer's tracks the network's row that showed each, or that of its query if none
            did.

    Raises:
        UserError: a value out of range, or an unknown rule.
    """

    detection_score_thresh: float = 0.4
    track_score_thresh: float = 0.4
    detection_nms_thresh: float = 0.9
    track_nms_thresh: float = 0.9
    steps_termination: int = 1
    inactive_patience: int = -1
    reid_score_thresh: float = 0.4
    reid_similarity_thresh: float = 0.0
    reid_similarity_only: bool = False
    reid_greedy: bool = False
    public_detections: str = ""
    clip_boxes: bool = False
    tracked_classes: tuple[int, ...] | None = (0,)
    moved_on: bool = False

    def __post_init__(self) -> None:
        node = "MODEL.TRACKFORMER.TRACKER"
        for name in ("detection_score", "track_score", "detection_nms", "track_nms", "reid_score"):
            value = getattr(self, f"{name}_thresh")
            if not 0 <= value <= 1:
                raise UserError(f"{node}.{name.upper()}_THRESH is {value}: set it between 0 and 1")
        if not self.reid_similarity_thresh >= 0:
            raise UserError(
                f"{node}.REID_SIMILARITY_THRESH is {self.reid_similarity_thresh}: set a distance, 0 "
                "or more"
            )
        assert self.steps_termination >= 1, self.steps_termination
        if self.public_detections and self.public_detections not in RULES:
            raise UserError(
                f"{node}.PUBLIC_DETECTIONS is '{self.public_detections}': choose "
                f"{', '.join(RULES)}, or '' to start tracks without public detections"
            )
        self.reset()

    @classmethod
    def from_config(cls, cfg: "CfgNode") -> "Self":
        """The tracker that MODEL.TRACKFORMER describes; the keys of TRACKER are its arguments."""
        node = cfg.MODEL.TRACKFORMER
        settings = {key.lower(): value for key, value in node.TRACKER.items() if key != "OFFICIAL"}
        return cls(
            **settings,
            clip_boxes=not node.OVERFLOW_BOXES,
            moved_on=node.TRACK_LINKS,
            tracked_classes=tuple(node.TRACKED_CLASSES) or None,
        )

    def reset(self) -> None:
        """Forget everything; ids start at 0."""
        self.active = self.inactive = Tracks.none()
        self.rows: list[int] = []
        self._owners: np.ndarray | None = None  # of the pixels, if masks may be answered again
        self._next_id = 0

    def known(self) -> Tracks:
        """The tracks that the next frame's track queries ask for, the active ones first."""
        return Tracks.cat([self.active, self._wanted(self.inactive)])

    def queries(self, image_size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        """The track queries for the next frame: embeddings (n, C) and boxes (n, 4) cxcywh divided by
        the image size, both float32. Where n is 0, C may be 0 too.

        Args:
            image_size: (H, W) of the answer.
        """
        known = self.known()
        return known.embeddings, known.query_boxes(image_size, self.moved_on)

    def step(
        self,
        detect: Callable[[np.ndarray, np.ndarray], FrameOutput],
        image_size: tuple[int, int],
        public_detections: np.ndarray | None = None,
    ) -> TrackedFrame:
        """Follow the tracks into the next frame: :meth:`update` by what ``detect`` makes of
        :meth:`queries`."""
        return self.update(detect(*self.queries(image_size)), image_size, public_detections)

    def update(
        self,
        output: FrameOutput,
        image_size: tuple[int, int],
        public_detections: np.ndarray | None = None,
    ) -> TrackedFrame:
        """Follow the tracks into the next frame by what the network sees in it.

        Args:
            output: with the track queries of :meth:`queries`.
            image_size: (H, W) of the answer.
            public_detections: (P, 4 or more), first xyxy in pixels of the answer, for a tracker
                that wants them; P = 0: nothing starts here.

        Raises:
            UserError: public detections are wanted, but not given.
        """
        if self.public_detections and public_detections is None:
            raise UserError(
                "public detections wanted (MODEL.TRACKFORMER.TRACKER.PUBLIC_DETECTIONS is "
                f"{self.public_detections}) but the frame has none: use a dataset whose sequences "
                "have them, or set the key to ''"
            )
        known = self.known()
        assert len(output.scores) >= len(known)
        candidates = Candidates.of(output, image_size, self.clip_boxes, self.tracked_classes)

        active, inactive = self._ask(known, candidates)
        active, suppressed = self._suppress(active, active.tracks.scores, self.track_nms_thresh)
        inactive = self._wanted(Tracks.cat([inactive, suppressed]))
        rows = self._detections(candidates, len(known), public_detections)
        back, inactive, rows = self._reidentify(inactive, candidates, rows)
        born = Tracks.start(candidates, rows, self._next_id)
        nowhere = np.full_like(rows, -1)
        active = FrameTracks.cat([active, back, FrameTracks(born, born, rows, nowhere)])
        known_before = active.tracks.ids < self._next_id
        scores = np.where(known_before, np.inf, active.tracks.scores)
        active, suppressed = self._suppress(active, scores, self.detection_nms_thresh)
        inactive = Tracks.cat([inactive, suppressed[suppressed.ids < self._next_id]])
        tracks = self._number(active.tracks, len(born))
        self.rows = np.where(active.rows < 0, active.places, active.rows).tolist()

        # Copies: a user may well scale or clip the boxes in place.
        kept = (tracks.ids, tracks.boxes, tracks.scores, tracks.classes)
        answer = TrackedFrame(*(column.copy() for column in kept))
        if output.masks is not None:
            owners = active.owners(output.masks, self._owners, image_size)
            answer.masks = owners == np.arange(len(active))[:, None, None]
            if self.steps_termination > 1:
                self._owners = owners
        self.active, self.inactive = tracks, replace(inactive, inactive=inactive.inactive + 1)
        if self.reid_similarity_only:
            resting = self._resting(replace(active, tracks=tracks))
            self.active, self.inactive = Tracks.none(), Tracks.cat([self.inactive, resting])
        return answer

    def _wanted(self, inactive: Tracks) -> Tracks:
        """Inactive tracks that are still looked for."""
        if not len(inactive):
            return inactive
        has_area = (inactive.boxes[:, 2:] > inactive.boxes[:, :2]).all(-1)
        return inactive[has_area & (inactive.inactive <= self.inactive_patience)]

    def _ask(self, known: Tracks, candidates: Candidates) -> tuple[FrameTracks, Tracks]:
        """What became of the known tracks, active ones first: those now active, the inactive."""
        places = np.arange(len(known))
        was_active = places < len(self.active)
        threshold = np.where(
            was_active, np.float32(self.track_score_thresh), np.float32(self.reid_score_thresh)
        )
        seen = candidates.scores[: len(known)] > threshold
        missed = was_active & ~seen
        rows = np.where(seen, places, -1)
        unseen = np.where(was_active & seen, 0, known.unseen + missed)
        now = replace(known.seen_at(candidates, rows), unseen=unseen)
        now = self._restarted(now, seen & ~was_active)
        lost = missed & (now.unseen >= self.steps_termination)
        order = np.concatenate([places[was_active & ~lost], places[seen & ~was_active]])
        inactive = Tracks.cat([now[~was_active & ~seen], now[lost]])
        return FrameTracks(now[order], known[order], rows[order], order), inactive

    def _suppress(
        self, active: FrameTracks, scores: np.ndarray, threshold: float
    ) -> tuple[FrameTracks, Tracks]:
        """The tracks that non-maximum suppression leaves, and the others for the inactive ones.

        These are as they were: else the query of a suppressed track, which sees the object of the
        track that suppressed it, would give it new patience in each frame.
        """
        kept = active.not_overlapping(scores, threshold)
        return active[kept], active.before[~kept]

    def _detections(
        self, candidates: Candidates, first: int, public: np.ndarray | None
    ) -> np.ndarray:
        """Rows, from ``first`` on, that may bring back or start a track."""
        rows = np.flatnonzero(candidates.scores[first:] > self.detection_score_thresh) + first
        if self.public_detections:
            assert public is not None
            public = public[:, :4].astype(np.float32)
            rows = rows[RULES[self.public_detections](candidates.boxes[rows], public)]
        return rows

    def _reidentify(
        self, inactive: Tracks, candidates: Candidates, rows: np.ndarray
    ) -> tuple[FrameTracks, Tracks, np.ndarray]:
        """The inactive tracks that detections bring back, and the tracks and rows that are left."""
        track = found = np.zeros(0, np.int64)
        if len(inactive) and len(rows) and self.reid_greedy:
            track, found = match_by_place(inactive.boxes, candidates.boxes[rows])
        elif len(inactive) and len(rows) and self.reid_similarity_thresh > 0:
            track, found = match_by_look(
                inactive.embeddings, candidates.embeddings[rows], self.reid_similarity_thresh
            )
        before = inactive[track]
        back = before.seen_at(candidates, rows[found])
        back = replace(back, inactive=np.zeros_like(back.inactive))
        back = self._restarted(back, np.ones(len(back), dtype=bool))
        others = np.ones(len(inactive), dtype=bool)
        others[track] = False
        free = np.ones(len(rows), dtype=bool)
        free[found] = False
        nowhere = np.full_like(track, -1)
        return FrameTracks(back, before, rows[found], nowhere), inactive[others], rows[free]

    def _number(self, tracks: Tracks, born: int) -> Tracks:
        """Number the new tracks, those from ``_next_id`` on; ``born`` of them were there at first."""
        new = tracks.ids >= self._next_id
        ids = np.where(new, self._next_id + new.cumsum() - 1, tracks.ids)
        self._next_id += int(new.sum())
        return replace(tracks, ids=ids)

    def _restarted(self, tracks: Tracks, which: np.ndarray) -> Tracks:
        """The tracks; the counters of those (n,) bool that came back start anew."""
        return replace(
            tracks,
            unseen=np.where(which, 0, tracks.unseen),
            inactive=np.where(which, 0, tracks.inactive),
        )

    def _resting(self, active: FrameTracks) -> Tracks:
        """The active tracks as they become inactive ones, with ``reid_similarity_only``."""
        return active.tracks
