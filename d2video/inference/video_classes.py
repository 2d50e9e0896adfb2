"""What a classifying model says of a whole video."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from d2video.inference.streaming import VideoFrame
from d2video.structures.class_scores import top_classes
from d2video.utils.errors import UserError
from d2video.visualization.drawing import label_of_class


class VideoClasses(NamedTuple):
    """The best classes of a video, and how the answer came about.

    Attributes:
        labels: class indices, best first; as many as were asked for, or all.
        names: of these.
        scores: theirs, 0 to 1, after the last frame.
        times: float64 (n,), seconds since the first frame, ascending: of the frames whose answer was
            another than that of the frame before, and of the last frame.
        time_line: float32 (n,K), the scores of all classes at these times.
    """

    labels: list[int]
    names: list[str]
    scores: list[float]
    times: np.ndarray
    time_line: np.ndarray


def collect_classes(
    video: str, frames: Iterable[VideoFrame], topk: int, class_names: Sequence[str] | None
) -> VideoClasses:
    """Run through the answered frames of a video; of each only its scores are kept.

    Args:
        video: its name, for messages.
        frames: with ``class_scores``.
        topk: number of classes, at least 1.
        class_names: by class index; ``None`` where unknown.

    Raises:
        UserError: there are no frames, or a class has no name.
    """
    times: list[float] = []
    rows: list[Tensor] = []
    last_time = 0.0
    for frame in frames:
        assert frame.class_scores is not None, "a classifying model answers with class_scores"
        last_time = frame.time
        if not rows or not torch.equal(rows[-1], frame.class_scores):
            times.append(frame.time)
            rows.append(frame.class_scores)
    if not rows:
        raise UserError(f"{video} has no frames, so there is nothing to classify")
    if times[-1] < last_time:
        times.append(last_time)
        rows.append(rows[-1])
    best = top_classes(rows[-1], topk)
    return VideoClasses(
        labels=[index for index, _ in best],
        names=[label_of_class(index, class_names) for index, _ in best],
        scores=[score for _, score in best],
        times=np.array(times),
        time_line=torch.stack(rows).float().numpy(),
    )
