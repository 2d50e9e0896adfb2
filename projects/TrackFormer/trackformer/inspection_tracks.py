"""TrackFormer's tracks through time: the queries that ask for them, their scores, and where they look.

Shapes: n: track queries, m: tracks after a frame, F: frames that the decoder looks at.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from d2video.projects.trackformer.network.base import NetworkOutput, TrackingNetwork
from d2video.projects.trackformer.tracker.video_stream import VideoStream
from d2video.projects.trackformer.trackformer import TrackFormer
from detectron2.structures import Instances
from torch import Tensor

from d2video.inspection import Maps, Points, QueryRun, record_queries
from d2video.layers.deformable_transformer import DeformableTransformer
from d2video.structures.boxes import box_xyxy_to_cxcywh

Course = list[tuple[float, float]]
"""(frame, score) of a track."""


@dataclass
class Step:
    """What became of the tracks in one frame; all on the CPU.

    Attributes:
        asked: (n,) int64, the ids of the tracks that the track queries ask for, active ones first.
        num_active: how many of these were active.
        asked_scores: (n,) of the best class; 0 where that is not tracked.
        ids, scores, classes: (m,), of the tracks after the frame.
        boxes: (m, 4), cxcywh as parts of the frame.
        attention: where the queries look that show these m tracks; where none shows a track, its own.
            The current frame comes first, then the F - 1 before it. Dense attention is a mean over the
            heads.
    """

    asked: Tensor
    num_active: int
    asked_scores: Tensor
    ids: Tensor
    scores: Tensor
    classes: Tensor
    boxes: Tensor
    attention: Maps | Points


@torch.no_grad()
def follow(model: TrackFormer, frames: Iterable[Tensor], layer: int = -1) -> Iterator[Step]:
    """Track the objects of one video and look at the queries meanwhile.

    The queries and keys of a frame's attention are dropped before the next frame is taken.

    Args:
        model: in evaluation mode.
        frames: (3, H, W) in 0..255.
        layer: of the decoder.
    """
    stream = None
    for frame in frames:
        size = (int(frame.shape[-2]), int(frame.shape[-1]))
        stream = stream or model.new_stream(size)
        yield _step(model, stream, frame, layer)


def _step(model: TrackFormer, stream: VideoStream, frame: Tensor, layer: int) -> Step:
    tracker, known = stream.tracker, stream.tracker.known()
    num_active = len(tracker.active)
    outputs: list[NetworkOutput] = []
    answers: list[Instances] = []

    def run() -> NetworkOutput:
        answers.append(stream.step(frame))
        return outputs[0]

    hook = model.network.register_forward_hook(lambda _, inputs, output: outputs.append(output))
    try:
        recorded = record_queries(model.network, run)
    finally:
        hook.remove()
    [found] = answers
    scores, classes = model.best_classes(recorded.predictions.logits[-1, 0])
    if tracker.tracked_classes is not None:
        tracked = torch.tensor(tracker.tracked_classes, device=classes.device)
        scores = scores * torch.isin(classes, tracked)
    height, width = found.image_size
    return Step(
        torch.from_numpy(known.ids),
        num_active,
        scores[: len(known)].float().cpu(),
        found.track_ids,
        found.scores,
        found.pred_classes,
        box_xyxy_to_cxcywh(found.pred_boxes.tensor / torch.tensor([width, height] * 2)),
        _attention(model.network, recorded, tracker.rows, layer),
    )


def _attention(
    network: TrackingNetwork, recorded: QueryRun, rows: list[int], layer: int
) -> Maps | Points:
    attention = recorded.decoder_attention(rows, layer)
    if isinstance(attention, Maps):
        return Maps(attention.weights.mean(1, keepdim=True).cpu())
    locations, weights = attention.locations.cpu(), attention.weights.cpu()
    transformer = network.transformer
    assert isinstance(transformer, DeformableTransformer)
    if not transformer.separate_encoder:  # the earliest frame comes first
        locations, weights = locations.flip(2), weights.flip(2)
    return Points(locations, weights)


def score_courses(
    steps: Sequence[Step], first: int = 0
) -> tuple[dict[int, Course], dict[int, Course]]:
    """The scores of the tracks over time.

    Args:
        steps: of :func:`follow`.
        first: the number of the first frame.

    Returns:
        by id, those of active tracks and of inactive ones. The score of a frame is that of the track's
        own query, also where it is too low; that of the detection in a frame in which the track starts
        or comes back.
    """
    active: dict[int, Course] = {}
    inactive: dict[int, Course] = {}
    for frame, step in enumerate(steps, first):
        asked = [*zip(step.asked.tolist(), step.asked_scores.tolist(), strict=True)]
        for track, score in asked[step.num_active :]:
            inactive.setdefault(track, []).append((frame, score))
        own = dict(zip(step.ids.tolist(), step.scores.tolist(), strict=True))
        for track, score in (own | dict(asked[: step.num_active])).items():
            active.setdefault(track, []).append((frame, score))
    return active, inactive
