"""Classes of a whole video."""

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from d2video.inference.tasks.frame import VideoFrame, check_topk
from d2video.inference.tasks.task import Summary, Task
from d2video.structures.answers import ScoresAnswer
from d2video.structures.class_scores import top_classes
from d2video.video.frame_source import Frame
from d2video.visualization.class_panel import ScoreHistory, add_class_panel
from d2video.visualization.options import DEFAULT_TOPK, DrawingOptions
from d2video.visualization.primitives import enlarge, label_of_class


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class ClassifiedFrame(VideoFrame):
    """A frame and the class probabilities of the video up to it: float (K,), on the CPU."""

    task: Task[Any] = field(default_factory=lambda: ClassificationTask())
    class_scores: Tensor

    def top(self, k: int = DEFAULT_TOPK) -> list[tuple[str, float]]:
        """The best classes and their scores, best first.

        Args:
            k: number of classes, at least 1.

        Raises:
            UserError: ``k`` is below 1, or a class has no name.
        """
        check_topk("top", k)
        return named_classes(self.class_scores, k, self.class_names)

    def describe(self) -> str:
        """The best class."""
        return as_percent(self.top(1))


class ClassificationTask(Task[ClassifiedFrame]):
    """Classify a video; the model answers each frame with a :class:`ScoresAnswer`."""

    does = "classifies videos"

    def read(self, frame: Frame, answer: ScoresAnswer) -> ClassifiedFrame:
        return ClassifiedFrame(**vars(frame), class_scores=answer["class_scores"].cpu())

    def drawer(
        self, class_names: Sequence[str] | None, options: DrawingOptions
    ) -> Callable[[ClassifiedFrame], np.ndarray]:
        """Put a panel of the best classes under each picture, with their curves for a video."""
        history = ScoreHistory()

        def draw(frame: ClassifiedFrame) -> np.ndarray:
            is_video = frame.file_name is None
            if is_video:
                history.add(frame.time, frame.class_scores)
            return add_class_panel(
                enlarge(frame.image, options.scale),
                frame.class_scores,
                class_names,
                topk=options.topk,
                label_size=options.label_size,
                history=history if is_video else None,
            )

        return draw

    def record(self, frame: ClassifiedFrame, topk: int) -> dict[str, Any]:
        return {"instances": [], **self.video_record(frame, topk)}

    def video_record(self, last: ClassifiedFrame, topk: int) -> dict[str, Any]:
        best = top_classes(last.class_scores, topk)
        return {"classes": [{"category_id": index, "score": score} for index, score in best]}

    def summary(self, class_names: Sequence[str] | None, options: DrawingOptions) -> "ClassSummary":
        return ClassSummary(class_names, options.topk)


class ClassSummary(Summary[ClassifiedFrame]):
    """The best classes of a video, or the number of images."""

    def __init__(self, class_names: Sequence[str] | None, topk: int) -> None:
        self._class_names = class_names
        self._topk = topk
        self._count = 0

    def add(self, frame: ClassifiedFrame) -> None:
        self._last = frame
        self._count += 1

    def line(self, drawn: bool, written: bool) -> tuple[int, str] | None:
        if self._count == 0:
            return None
        if self._last.file_name is not None and self._count > 1:
            return logging.INFO, f"{self._count} images classified"
        best = named_classes(self._last.class_scores, self._topk, self._class_names)
        return logging.INFO, as_percent(best)


class VideoClasses(NamedTuple):
    """The best classes of a video, and the scores over time.

    Attributes:
        labels: class indices, best first; ``topk`` or all.
        names: of these classes.
        scores: of these classes, 0 to 1, after the last frame.
        times: float64 (n,), ascending seconds since the first frame: of the frames whose scores
            differ from those before, and of the last frame.
        time_line: float32 (n,K), the scores of all classes at these times.
    """

    labels: list[int]
    names: list[str]
    scores: list[float]
    times: np.ndarray
    time_line: np.ndarray


def named_classes(
    scores: Tensor, topk: int, class_names: Sequence[str] | None
) -> list[tuple[str, float]]:
    """The names and scores of the best classes, best first.

    Raises:
        UserError: a class has no name.
    """
    return [
        (label_of_class(index, class_names), score) for index, score in top_classes(scores, topk)
    ]


def as_percent(best: Iterable[tuple[str, float]]) -> str:
    """Names and scores, 0 to 1, as text."""
    return ", ".join(f"{name} {100 * score:.1f} %" for name, score in best)


def collect_classes(
    frames: Iterable[ClassifiedFrame], topk: int, class_names: Sequence[str] | None
) -> VideoClasses:
    """The ``topk`` best classes of a video of at least one frame, and its time line.

    Raises:
        UserError: a class has no name.
    """
    times: list[float] = []
    rows: list[Tensor] = []
    for frame in frames:
        if not rows or not torch.equal(rows[-1], frame.class_scores):
            times.append(frame.time)
            rows.append(frame.class_scores)
    if times[-1] < frame.time:
        times.append(frame.time)
        rows.append(frame.class_scores)
    best = top_classes(rows[-1], topk)
    return VideoClasses(
        labels=[index for index, _ in best],
        names=[label_of_class(index, class_names) for index, _ in best],
        scores=[score for _, score in best],
        times=np.array(times),
        time_line=torch.stack(rows).float().numpy(),
    )
