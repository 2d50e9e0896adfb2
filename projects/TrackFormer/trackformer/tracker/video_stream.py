"""TrackFormer on videos, one frame after the other.

Shapes: B: videos side by side, n: track queries, Q: object queries, N = n + Q, H×W: the network's
input, H_o×W_o: the answer.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from d2video.projects.detr.postprocess import unpad_masks
from d2video.projects.trackformer.network.base import (
    NetworkOutput,
    Pyramid,
    TrackingNetwork,
    TrackQueries,
    earlier_frames,
)
from d2video.projects.trackformer.tracker.frame_output import FrameOutput, Owners
from d2video.projects.trackformer.tracker.tracker import TrackedFrame, Tracker
from detectron2.structures import Boxes, Instances
from torch import Tensor

from d2video.utils.transfer import to_device


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
        self.history: deque[Pyramid] = deque(maxlen=self.network.num_previous)

    def step(self, frame: Tensor, public_detections: Tensor | None = None) -> Instances:
        """Follow the tracks into the next frame.

        Args:
            frame: (3, H, W) uint8.
            public_detections: see :meth:`.tracker.Tracker.update`.

        Returns:
            on the CPU: ``pred_boxes`` (XYXY, pixels), ``scores``, ``pred_classes``, ``track_ids`` and, of
            a model with masks, ``pred_masks``; see :class:`.tracker.TrackedFrame`.
        """
        (answer,) = step_together([self], [frame], [public_detections])
        return answer


@torch.no_grad()
def step_together(
    streams: Sequence[VideoStream],
    frames: Sequence[Tensor],
    public_detections: Sequence[Tensor | None],
) -> list[Instances]:
    """:meth:`VideoStream.step` of B videos with one model, whose frames have one size, in one call of the
    network."""
    network = streams[0].network
    size = (int(frames[0].shape[-2]), int(frames[0].shape[-1]))
    features = network.features(streams[0].normalize(torch.stack([*frames])), None)
    current = network.project(features)
    own = current.split()
    earlier = [
        earlier_frames(pyramid, stream.history, network.num_previous)
        for pyramid, stream in zip(own, streams, strict=True)
    ]
    previous = [Pyramid.cat(pyramids) for pyramids in zip(*earlier, strict=True)]
    queries = [stream.tracker.queries(stream.output_size) for stream in streams]
    tracks = padded_queries(queries, current.levels[0].device)
    output: NetworkOutput = network(features, current, previous, tracks, all_layers=False)
    counts = [len(boxes) for _, boxes in queries]
    outputs = frame_outputs(output, *streams[0].best_classes(output.logits[-1]), counts, size)
    answers = []
    for stream, pyramid, found, public in zip(
        streams, own, outputs, public_detections, strict=True
    ):
        detections = None if public is None else public.numpy()
        tracked = stream.tracker.update(found, stream.output_size, detections)
        stream.history.appendleft(pyramid)
        answers.append(_instances(tracked, stream.output_size))
    return answers


def padded_queries(
    queries: Sequence[tuple[np.ndarray, np.ndarray]], device: torch.device
) -> TrackQueries | None:
    """The track queries of B trackers as a batch, padded with 0 behind; None if nobody has any.

    Args:
        queries: see :meth:`.tracker.Tracker.queries`.
    """
    counts = np.array([len(boxes) for _, boxes in queries])
    if not counts.any():
        return None
    width = max(embeddings.shape[1] for embeddings, _ in queries)
    shape = (len(queries), int(counts.max()))
    batch_embeddings, batch_boxes = (np.zeros((*shape, n), np.float32) for n in (width, 4))
    for row, (embeddings, boxes) in enumerate(queries):
        batch_embeddings[row, : len(boxes), : embeddings.shape[1]] = embeddings
        batch_boxes[row, : len(boxes)] = boxes
    padding = np.arange(shape[1]) >= counts[:, None]
    return TrackQueries(
        to_device(torch.from_numpy(batch_embeddings), device),
        to_device(torch.from_numpy(batch_boxes), device),
        to_device(torch.from_numpy(padding), device) if padding.any() else None,
    )


def frame_outputs(
    output: NetworkOutput,
    scores: Tensor,
    classes: Tensor,
    counts: Sequence[int],
    size: tuple[int, int],
) -> list[FrameOutput]:
    """The network's rows for B frames as their trackers read them, brought to the CPU in one transfer.

    Args:
        output: of the last decoder layer. Masks stay on the device, only the best of each pixel comes.
        scores, classes: (B, N) of the best class.
        counts: the n_i track queries of each frame; the network's n is the largest of them.
        size: (H, W).
    """
    columns = [scores[..., None], classes[..., None], output.boxes[-1], output.embeddings]
    batch = torch.cat([column.float() for column in columns], dim=-1).cpu().numpy()
    places = np.arange(batch.shape[1])
    outputs = []
    for image, count in enumerate(counts):
        kept = places[(places < count) | (places >= max(counts))]
        rows = batch[image, kept]
        outputs.append(
            FrameOutput(
                scores=rows[:, 0],
                classes=rows[:, 1].astype(np.int64),
                boxes=rows[:, 2:6],
                embeddings=rows[:, 6:],
                masks=None if output.masks is None else partial(_owners, output, image, kept, size),
            )
        )
    return outputs


def _owners(
    output: NetworkOutput, image: int, kept: np.ndarray, size: tuple[int, int], asked: np.ndarray
) -> Owners:
    """See :attr:`FrameOutput.masks`; ``kept`` gives the network's row for each of the frame's rows."""
    assert output.masks is not None
    index = torch.from_numpy(kept[asked])
    logits = output.masks(torch.full_like(index, image), index)
    highest, best = unpad_masks(logits, size, size).max(dim=0)
    # Numbers of rows are exact in float32.
    numbers, probabilities = torch.stack([best.float(), highest.sigmoid()]).cpu().numpy()
    return numbers.astype(np.int64), probabilities


def _instances(found: TrackedFrame, size: tuple[int, int]) -> Instances:
    answer = Instances(size)
    answer.pred_boxes = Boxes(torch.from_numpy(found.boxes))
    answer.scores = torch.from_numpy(found.scores)
    answer.pred_classes = torch.from_numpy(found.classes)
    answer.track_ids = torch.from_numpy(found.ids)
    if found.masks is not None:
        answer.pred_masks = torch.from_numpy(found.masks)
    return answer
