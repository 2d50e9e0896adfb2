"""A task: how a model's answer to a frame is read, drawn and written."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
from torch import Tensor

from d2video.inference.json_results import open_json
from d2video.video.frame_source import Frame
from d2video.visualization.options import DrawingOptions

# A frame together with what a model of the task found in it.
Answered = TypeVar("Answered", bound=Frame)


class Task(ABC, Generic[Answered]):
    """What models of one kind answer.

    The attribute ``task`` of a meta-architecture names it, of the class, or of the built model if the
    config decides. A project may bring its task.

    Attributes:
        takes_images: a folder holds unrelated images; otherwise the frames of one video.
        resizes: frames are resized by INPUT.MIN_SIZE_TEST and INPUT.MAX_SIZE_TEST.
        has_classes: answers name classes of the data set.
        is_lossless: pictures of a folder are PNG files.
        offers: of the optional outputs "results" (JSON), "mot_results", "mots_results" and
            "side_by_side".
    """

    takes_images = False
    resizes = True
    has_classes = True
    is_lossless = False
    offers: frozenset[str] = frozenset({"results"})

    @abstractmethod
    def read(self, frame: Frame, answer: Any) -> Answered:
        """The frame with the model's answer to it, on the CPU.

        Args:
            answer: one item of the model's ``stream_video``; the task may change its tensors.
        """

    @abstractmethod
    def drawer(
        self, class_names: Sequence[str] | None, options: DrawingOptions
    ) -> Callable[[Answered], np.ndarray]:
        """A function that draws the frames of one video in order, or images, as uint8 (H',W',3), RGB.

        Without ``class_names`` it shows class indices.
        """

    def record(self, frame: Answered, topk: int) -> dict[str, Any]:
        """The JSON entries of a frame; ``topk``: number of classes of a classifying model."""
        return {}

    def video_record(self, last: Answered, topk: int) -> dict[str, Any]:
        """The JSON entries of a whole video, from its last frame."""
        return {}

    def describe(self, last: Answered, class_names: Sequence[str] | None, topk: int) -> str | None:
        """The line for the console on a whole video, from its last frame."""
        return None

    def open_results(
        self, kind: str, path: str | Path, head: dict[str, Any], topk: int
    ) -> AbstractContextManager[Callable[[Answered], None]]:
        """Open a results file; the function that it yields appends a frame.

        Args:
            kind: one of ``offers``.
            path: file to write; its folder is created.
            head: the JSON entries of the source.

        Raises:
            UserError: the path cannot be written.
        """
        assert kind == "results", kind
        return open_json(
            path,
            head,
            lambda frame: self.record(frame, topk),
            lambda last: self.video_record(last, topk),
        )


class StreamingModel(Protocol):
    """A model that follows video; see docs/architecture.md, "Streaming"."""

    @property
    def task(self) -> Task: ...

    def stream_video(
        self, frames: Iterator[Tensor], output_size: tuple[int, int]
    ) -> Iterator[Any]: ...
