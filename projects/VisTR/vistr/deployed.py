"""An exported VisTR: windows of a video to tracks with masks, without torch.

Shapes: T: frames of a window, S: slots, s: slots kept, K: classes, h×w: mask logits (stride 4), H×W: the
image.
"""

import math
from collections.abc import Iterable, Iterator, Mapping

import numpy as np
from d2video.projects.vistr.tracks import (
    ClipPrediction,
    TrackedFrame,
    WindowLinker,
    windows_of,
)

from d2video.deploy.answers import Found
from d2video.deploy.detections import Objects
from d2video.deploy.graphs import Graph
from d2video.deploy.manifest import Manifest
from d2video.deploy.pixels import upsample
from d2video.deploy.task import DeployedTask


class Segmentation(DeployedTask):
    """Follow instances by the graph ``clip``.

    ``clip``: frames uint8 (T, 3, h, w), RGB, to ``probabilities`` (T, S, K), with the rescoring of the
    slots, and ``mask_logits`` (S, T, h', w').

    Args:
        num_frames: T.
        overlap: shared frames of neighbouring windows.
        link_iou: see :class:`WindowLinker`.
        score_threshold: slots with a lower mean confidence are dropped.
        frame_threshold, label_offset: see :meth:`TrackedFrame.shown`.
    """

    def __init__(
        self,
        graphs: Mapping[str, Graph],
        manifest: Manifest,
        *,
        num_frames: int,
        overlap: int,
        link_iou: float,
        score_threshold: float,
        frame_threshold: float,
        label_offset: int,
    ):
        super().__init__(graphs, manifest)
        self.num_frames = num_frames
        self.overlap = overlap
        self.link_iou = link_iou
        self.score_threshold = np.float32(score_threshold)
        self.frame_threshold = frame_threshold
        self.label_offset = label_offset

    def stream(self, images: Iterable[np.ndarray]) -> Iterator[Found]:
        linker = WindowLinker(self.link_iou, mask_ious)
        size = (0, 0)

        def prepared() -> Iterator[np.ndarray]:
            nonlocal size
            for image in images:
                size = (image.shape[0], image.shape[1])
                yield self.prepared(image)

        for window in windows_of(prepared(), self.num_frames, self.overlap):
            prediction = self._predict(window.frames)
            for frame in linker.frames(prediction, window.num_shared, window.num_valid):
                yield self._objects(frame, size)

    def _predict(self, frames: list[np.ndarray]) -> ClipPrediction:
        found = self.graphs["clip"](frames=np.stack(frames))
        probabilities = found["probabilities"]
        kept = probabilities.max(-1).mean(0) >= self.score_threshold
        return ClipPrediction(probabilities[:, kept], found["mask_logits"][kept])

    def _objects(self, frame: TrackedFrame, size: tuple[int, int]) -> Objects:
        (rows,) = frame.shown(self.frame_threshold, self.label_offset).nonzero()
        masks = upsample(frame.mask_logits[rows], size) > 0
        filled = masks.any((1, 2))
        rows, masks = rows[filled], masks[filled]
        scores, classes, ids = frame.columns(rows, self.label_offset)
        return Objects(boxes_around(masks), scores, classes, masks, ids)


def mask_ious(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Of mask logits (M, t, h, w) and (N, t, h, w): see :class:`WindowLinker`; 0 of two empty masks."""
    a, b = ((x > 0).reshape(len(x), math.prod(x.shape[1:])).astype(np.float32) for x in (a, b))
    intersection = a @ b.T
    return intersection / np.maximum(a.sum(1)[:, None] + b.sum(1) - intersection, 1)


def boxes_around(masks: np.ndarray) -> np.ndarray:
    """(N, H, W) bool, none empty, to float32 XYXY boxes (N, 4) around their pixels."""
    sides = [np.asarray(masks.any(axis)) for axis in (1, 2)]  # columns, rows
    low = [side.argmax(1) for side in sides]
    high = [side.shape[1] - side[:, ::-1].argmax(1) for side in sides]
    return np.stack(low + high, axis=1).astype(np.float32)
