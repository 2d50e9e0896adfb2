"""TrackFormer on a video, one frame after the other.

Shapes: n: track queries, Q: object queries, N = n + Q, H×W: the network's input, H_o×W_o: the answer.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from d2video.projects.detr.postprocess import unpad_masks
from d2video.projects.trackformer.network.base import (
    NetworkOutput,
    Pyramid,
    TrackingNetwork,
    TrackQueries,
)
from d2video.projects.trackformer.network.frame_output import FrameOutput
from d2video.projects.trackformer.tracker.tracker import Tracker
from detectron2.structures import Instances
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
            on the CPU; see :meth:`.tracker.Tracker.step`.
        """
        network = self.network
        features = network.features(self.normalize(frame[None]), None)
        current = network.project(features)
        previous = list(self._history)
        size = (int(frame.shape[-2]), int(frame.shape[-1]))

        def detect(embeddings: Tensor, boxes: Tensor) -> FrameOutput:
            tracks = None
            if len(embeddings):
                tracks = TrackQueries(embeddings[None], boxes[None].to(embeddings.device))
            output: NetworkOutput = network(features, current, previous, tracks, all_layers=False)
            return self._frame_output(output, size)

        found = self.tracker.step(detect, self.output_size, public_detections)
        self._history.appendleft(current)
        return found.to("cpu")

    def _frame_output(self, output: NetworkOutput, size: tuple[int, int]) -> FrameOutput:
        scores, classes = self.best_classes(output.logits[-1, 0])
        mask_logits = output.masks

        def masks(rows: Tensor) -> Tensor:
            assert mask_logits is not None
            logits = mask_logits(torch.zeros_like(rows), rows)
            probability = unpad_masks(logits, size, size).sigmoid()
            return F.interpolate(probability[:, None], size=self.output_size, mode="nearest")[:, 0]

        return FrameOutput(
            scores=scores,
            classes=classes,
            boxes=output.boxes[-1, 0],
            embeddings=output.embeddings[0],
            masks=None if mask_logits is None else masks,
        )
