"""TrackFormer on a video, one frame after the other.

Shapes: n: track queries, Q: object queries, N = n + Q, H×W: the network's input, H_o×W_o: the answer.
"""

from collections import deque
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from d2video.projects.detr.panoptic import unpad_masks
from d2video.projects.trackformer.network.base import NetworkOutput, Pyramid
from d2video.projects.trackformer.network.frame_output import FrameOutput
from d2video.projects.trackformer.training.track_queries import TrackQueries
from detectron2.structures import Instances
from torch import Tensor

if TYPE_CHECKING:
    from d2video.projects.trackformer.trackformer import TrackFormer


class VideoStream:
    """What the model remembers of a video: the tracks and the features of the last frames.

    Args:
        model: in evaluation mode.
        output_size: (H_o, W_o) of the answers, in pixels.
    """

    def __init__(self, model: "TrackFormer", output_size: tuple[int, int]):
        self.model = model
        self.output_size = output_size
        self.tracker = model.new_tracker()
        # Newest last; projected features, each projected once.
        length = model.network.num_previous * model.prev_frame_distance
        self._history: deque[Pyramid] = deque(maxlen=length)

    @torch.no_grad()
    def step(self, frame: Tensor, public_detections: Tensor | None = None) -> Instances:
        """Follow the tracks into the next frame.

        Args:
            frame: (3, H, W) uint8.
            public_detections: see :meth:`.tracker.Tracker.step`.

        Returns:
            on the CPU; see :meth:`.tracker.Tracker.step`.
        """
        network = self.model.network
        features = network.features(self.model.normalize(frame[None]), None)
        current = network.project(features)
        distance = self.model.prev_frame_distance
        previous = list(self._history)[::-1][distance - 1 :: distance]
        size = (int(frame.shape[-2]), int(frame.shape[-1]))

        def detect(embeddings: Tensor, boxes: Tensor) -> FrameOutput:
            tracks = None
            if len(embeddings):
                tracks = TrackQueries(embeddings[None], boxes[None].to(embeddings.device))
            output = network(features, current, previous, tracks, all_layers=False)
            return self._frame_output(output, size)

        found = self.tracker.step(detect, self.output_size, public_detections)
        self._history.append(current)
        return found.to("cpu")

    def _frame_output(self, output: NetworkOutput, size: tuple[int, int]) -> FrameOutput:
        scores, classes = self.model.best_classes(output.logits[-1, 0])
        branch, encoded = self.model.network.mask_branch, output.encoded

        def masks(rows: Tensor) -> Tensor:
            assert branch is not None
            assert encoded is not None
            if not len(rows):
                return torch.zeros(0, *self.output_size, device=rows.device)
            logits = branch(encoded, torch.zeros_like(rows), rows)
            probability = unpad_masks(logits, size, size).sigmoid()
            return F.interpolate(probability[None], size=self.output_size, mode="nearest")[0]

        return FrameOutput(
            scores=scores,
            classes=classes,
            boxes=output.boxes[-1, 0],
            embeddings=output.embeddings[0],
            masks=None if branch is None else masks,
        )
