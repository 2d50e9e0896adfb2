"""TrackFormer on a video, one frame after the other.

Shapes: n: track queries, Q: object queries, N = n + Q, H×W: the network's input, H_o×W_o: the answer.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from d2video.projects.detr.postprocess import unpad_masks
from d2video.projects.trackformer.network.base import (
    NetworkOutput,
    Pyramid,
    TrackingNetwork,
    TrackQueries,
)
from d2video.projects.trackformer.tracker.frame_output import FrameOutput, Owners
from d2video.projects.trackformer.tracker.tracker import TrackedFrame, Tracker
from detectron2.structures import Boxes, Instances
from torch import Tensor


@dataclass(eq=False)
class VideoStream:
    """What the model remembers of a video: the tracks and the features of the last frames.

    Args:
        network: in evaluation mode.
        tracker: of this video only.
        normalize: frames for the network.
        best_classes: logits (N, K) to the scores and the classes (N,) of the best class.
        output_size: (H_o, W_o) of the answers, in pixels.
    """

    network: TrackingNetwork
    tracker: Tracker
    normalize: Callable[[Tensor], Tensor]
    best_classes: Callable[[Tensor], tuple[Tensor, Tensor]]
    output_size: tuple[int, int]

    def __post_init__(self) -> None:
        # Projected features of earlier frames, the newest first, each projected once.
        self._history: deque[Pyramid] = deque(maxlen=self.network.num_previous)

    @torch.no_grad()
    def step(self, frame: Tensor, public_detections: Tensor | None = None) -> Instances:
        """Follow the tracks into the next frame.

        Args:
            frame: (3, H, W) uint8.
            public_detections: see :meth:`.tracker.Tracker.step`.

        Returns:
            on the CPU: ``pred_boxes`` (XYXY, pixels), ``scores``, ``pred_classes``, ``track_ids`` and, of
            a model with masks, ``pred_masks``; see :class:`.tracker.TrackedFrame`.
        """
        network = self.network
        features = network.features(self.normalize(frame[None]), None)
        current = network.project(features)
        previous = list(self._history)
        size = (int(frame.shape[-2]), int(frame.shape[-1]))

        def detect(embeddings: np.ndarray, boxes: np.ndarray) -> FrameOutput:
            tracks = None
            if len(embeddings):
                device = current.levels[0].device
                tracks = TrackQueries(
                    torch.from_numpy(embeddings)[None].to(device),
                    torch.from_numpy(boxes)[None].to(device),
                )
            output: NetworkOutput = network(features, current, previous, tracks, all_layers=False)
            scores, classes = self.best_classes(output.logits[-1, 0])
            return frame_output(
                *(scores, classes, output.boxes[-1, 0], output.embeddings[0], output.masks), size
            )

        public = None if public_detections is None else public_detections.numpy()
        found = self.tracker.step(detect, self.output_size, public)
        self._history.appendleft(current)
        return _instances(found, self.output_size)


def frame_output(
    scores: Tensor,
    classes: Tensor,
    boxes: Tensor,
    embeddings: Tensor,
    mask_logits: Callable[[Tensor, Tensor], Tensor] | None,
    size: tuple[int, int],
) -> FrameOutput:
    """The network's rows (N, ...) as the tracker reads them, brought to the CPU in one transfer.

    Args:
        mask_logits: see :class:`Predictions`; masks stay on the device, only the best of each pixel comes.
        size: (H, W).
    """
    columns = [scores[:, None], classes[:, None], boxes, embeddings]
    rows = torch.cat([column.float() for column in columns], dim=1).cpu().numpy()

    def owners(asked: np.ndarray) -> Owners:
        assert mask_logits is not None
        index = torch.from_numpy(asked).to(scores.device)
        logits = mask_logits(torch.zeros_like(index), index)
        highest, best = unpad_masks(logits, size, size).max(dim=0)
        return best.cpu().numpy(), highest.sigmoid().cpu().numpy()

    return FrameOutput(
        scores=rows[:, 0],
        classes=rows[:, 1].astype(np.int64),
        boxes=rows[:, 2:6],
        embeddings=rows[:, 6:],
        masks=None if mask_logits is None else owners,
    )


def _instances(found: TrackedFrame, size: tuple[int, int]) -> Instances:
    answer = Instances(size)
    answer.pred_boxes = Boxes(torch.from_numpy(found.boxes))
    answer.scores = torch.from_numpy(found.scores)
    answer.pred_classes = torch.from_numpy(found.classes)
    answer.track_ids = torch.from_numpy(found.ids)
    if found.masks is not None:
        answer.pred_masks = torch.from_numpy(found.masks)
    return answer
