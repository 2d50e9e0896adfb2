"""Videos of any length: overlapping windows, slots linked to tracks, results frame by frame.

Shapes: T: frames of a window, s: slots kept, K: classes, h×w: mask logits (stride 4), H×W: output.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from detectron2.structures import Boxes, Instances
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from d2video.formats.geometry.rle import encode_masks
from d2video.modeling.rescoring import mask_ious
from d2video.structures.answers import VideoInstances
from d2video.utils.batches import comes_one_at_a_time, in_batches


@dataclass
class ClipPrediction:
    """The slots of one window that are worth following.

    Attributes:
        probabilities: (T, s, K), class probabilities without "no object".
        mask_logits: (s, T, h, w).
    """

    probabilities: Tensor
    mask_logits: Tensor


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
    votes: Tensor
    score_sum: float = 0.0
    num_frames: int = 0

    def add(self, probabilities: Tensor) -> None:
        """Count frames: (frames, K)."""
        best, classes = probabilities.max(-1)
        self.score_sum += best.sum().item()
        self.num_frames += len(best)
        self.votes += torch.bincount(classes[best > 0], minlength=len(self.votes))

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
        confidence: (s,) highest class probability in this frame.
        mask_logits: (s, h, w).
    """

    tracks: list[Track]
    confidence: Tensor
    mask_logits: Tensor

    def masks(self, size: tuple[int, int]) -> Tensor:
        """(s, H, W) bool: logits resized (bilinear), positive ones kept."""
        logits = self.mask_logits[:, None].float()
        return F.interpolate(logits, size=size, mode="bilinear")[:, 0] > 0


@dataclass
class WindowLinker:
    """Carries track identities from window to window.

    Two slots are one track if their masks overlap on the frames that the windows share and their
    classes agree there: similarity = (summed intersection / summed union) · cosine of the mean
    class probabilities. The one-to-one assignment with the largest sum of similarity · confidence ·
    confidence counts where the similarity reaches ``link_iou``. Without the confidences a slot that
    stands for nothing, but whose mask repeats an object's, would take that object's track as often
    as the slot that is sure of it.
    """

    link_iou: float
    num_tracks: int = 0
    _tracks: list[Track] = field(default_factory=list)
    _previous: ClipPrediction | None = None

    def link(self, window: ClipPrediction, num_shared: int, num_valid: int) -> list[Track]:
        """Tracks of the window's slots; its frames from ``num_shared`` on are counted.

        Args:
            num_shared: leading frames that the previous window has shown already.
            num_valid: frames of the video in the window; the rest are repetitions.
        """
        num_slots, num_classes = window.probabilities.shape[1:]
        known: dict[int, Track] = {}
        if num_shared:
            assert self._previous is not None
            similarity, confidence = self._similarity(self._previous, window, num_shared)
            for old, new in zip(*linear_sum_assignment(similarity * confidence, maximize=True)):
                if similarity[old, new] >= self.link_iou:
                    known[new] = self._tracks[old]
        linked = []
        for slot in range(num_slots):
            if slot not in known:
                votes = torch.zeros(num_classes, dtype=torch.int64)
                known[slot] = Track(self.num_tracks, votes)
                self.num_tracks += 1
            track = known[slot]
            # Of the shared frames the previous window's answers were shown, so only new ones count.
            track.add(window.probabilities[num_shared:num_valid, slot].cpu())
            linked.append(track)
        self._tracks, self._previous = linked, window
        return linked

    @staticmethod
    def _similarity(
        old: ClipPrediction, new: ClipPrediction, num_shared: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Similarity and product of the confidences, both (old slots, new slots)."""
        a = (old.mask_logits[:, -num_shared:] > 0).flatten(1)
        b = (new.mask_logits[:, :num_shared] > 0).flatten(1)
        classes_a = old.probabilities[-num_shared:].float().mean(0)
        classes_b = new.probabilities[:num_shared].float().mean(0)
        cosine = F.normalize(classes_a, dim=-1) @ F.normalize(classes_b, dim=-1).t()
        similarity = mask_ious(a, b) * cosine
        confidence = classes_a.amax(-1)[:, None] * classes_b.amax(-1)
        return similarity.cpu().numpy(), confidence.cpu().numpy()


@dataclass(frozen=True)
class Window:
    """What the network sees at once.

    Attributes:
        frames: T.
        num_shared: leading frames that the window before has, too.
        num_valid: frames of the video; the rest are repetitions.
    """

    frames: list[Tensor]
    num_shared: int
    num_valid: int


def windows_of(frames: Iterable[Tensor], num_frames: int, overlap: int) -> Iterator[Window]:
    """The windows of a video of any length.

    The first one takes frames 0 … T-1; each further one keeps ``overlap`` frames of the one
    before; the last ends with the video, so it may overlap by more. A video of at most T frames is
    one plain clip. One shorter than T is repeated from its start until T frames are full, as the
    official code does.
    """
    window: deque[Tensor] = deque(maxlen=num_frames)
    fresh = 0  # frames that no window has yet

    def cut() -> Window:
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


def track_video(
    frames: Iterable[Tensor],
    predict: Callable[[list[list[Tensor]]], list[ClipPrediction]],
    *,
    num_frames: int,
    overlap: int,
    link_iou: float,
    batch: int = 1,
) -> Iterator[TrackedFrame]:
    """Follow objects through a video of any length, holding one batch of windows at a time.

    Args:
        frames: what ``predict`` takes, T = ``num_frames`` of them in a window.
        predict: of windows.
        overlap: shared frames of neighbouring windows, in [1, T - 1].
        batch: windows at once; 1 if the frames come one at a time.

    Yields:
        one :class:`TrackedFrame` a frame, in order, at most as late as a batch is long.
    """
    linker = WindowLinker(link_iou)
    at_once = 1 if comes_one_at_a_time(frames) else batch
    for windows in in_batches(windows_of(frames, num_frames, overlap), at_once):
        predictions = predict([window.frames for window in windows])
        for window, prediction in zip(windows, predictions, strict=True):
            tracks = linker.link(prediction, window.num_shared, window.num_valid)
            for t in range(window.num_shared, window.num_valid):
                confidence = prediction.probabilities[t].amax(-1)
                yield TrackedFrame(tracks, confidence, prediction.mask_logits[:, t])
        del windows, window, predictions, prediction  # not kept while the next ones are worked out


def frame_instances(
    frame: TrackedFrame, size: tuple[int, int], frame_threshold: float, label_offset: int
) -> Instances:
    """detectron2 ``Instances`` of one frame: the tracks that are visible in it.

    Args:
        size: (H, W) of the output.
        frame_threshold: least confidence in this frame.
        label_offset: logit of contiguous class 0; tracks of a class below it are left out.

    Returns:
        the fields of docs/architecture.md ("Streaming"), all on the device of the masks.
    """
    masks = frame.masks(size)
    visible = masks.flatten(1).any(1) & (frame.confidence >= frame_threshold)
    known = [track.category >= label_offset for track in frame.tracks]
    visible &= torch.tensor(known, dtype=torch.bool, device=masks.device)
    masks = masks[visible]
    kept = [track for track, keep in zip(frame.tracks, visible.tolist()) if keep]
    classes = [track.category - label_offset for track in kept]
    result = Instances(size)
    result.pred_boxes = Boxes(_boxes_around(masks))
    result.scores = torch.tensor([track.score for track in kept])
    result.pred_classes = torch.tensor(classes, dtype=torch.int64)
    result.pred_masks = masks
    result.track_ids = torch.tensor([track.id for track in kept], dtype=torch.int64)
    return result.to(masks.device)


def _boxes_around(masks: Tensor) -> Tensor:
    """(N, H, W) bool, none empty, to XYXY boxes (N, 4) around their pixels.

    As detectron2's ``BitMasks.get_bounding_boxes``, which waits for the device at every mask.
    """
    sides = [masks.any(1).byte(), masks.any(2).byte()]  # columns, rows
    low = [side.argmax(1) for side in sides]
    high = [side.shape[1] - side.flip(1).argmax(1) for side in sides]
    return torch.stack(low + high, dim=1).float()


def collect_video(
    frames: Iterable[TrackedFrame], size: tuple[int, int], frame_threshold: float, label_offset: int
) -> VideoInstances:
    """A model's answer to a whole video (docs/architecture.md): tracks with one RLE a frame.

    A track is left out if its masks are empty in all frames. A frame's mask is ``None`` where the
    track is not known or its confidence is below ``frame_threshold``.
    """
    tracks: dict[int, Track] = {}
    codes: dict[int, dict[int, dict]] = {}  # of each track: frame to RLE
    seen: set[int] = set()
    unseen: set[int] = set()
    length = 0
    for frame in frames:
        # A track that is not carried on never returns. Every window brings slots that show nothing.
        for gone in unseen - {track.id for track in frame.tracks}:
            del tracks[gone], codes[gone]
        masks = frame.masks(size)
        shown = (frame.confidence >= frame_threshold).tolist()
        filled = masks.flatten(1).any(1).tolist()
        for track, rle, show, full in zip(frame.tracks, encode_masks(masks.cpu()), shown, filled):
            tracks[track.id] = track
            history = codes.setdefault(track.id, {})
            if show:
                history[length] = rle
            if full:
                seen.add(track.id)
        unseen = {track.id for track in frame.tracks} - seen
        length += 1
    kept = [t for t in tracks.values() if t.id in seen and t.category >= label_offset]
    return {
        "image_size": size,
        "pred_scores": [track.score for track in kept],
        "pred_labels": [track.category - label_offset for track in kept],
        "pred_masks": [[codes[track.id].get(t) for t in range(length)] for track in kept],
        "pred_ids": [track.id for track in kept],
    }
