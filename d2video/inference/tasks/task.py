"""A task: how a model's answer to a frame is read, drawn and written."""

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
from torch import Tensor

from d2video.utils.files import open_text
from d2video.video.frame_source import Frame
from d2video.visualization.options import DrawingOptions

# A frame together with what a model of the task found in it.
Answered = TypeVar("Answered", bound=Frame)


class Summary(Generic[Answered]):
    """An account of one video, or of images, for the console."""

    def add(self, frame: Answered) -> None:
        """Take the next frame."""

    def line(self, drawn: bool, written: bool) -> tuple[int, str] | None:
        """The level of logging and the text of the last line; ``None``: there is none.

        Args:
            drawn: pictures were written.
            written: results files were.
        """
        return None


class Task(ABC, Generic[Answered]):
    """What models of one kind answer.

    The attribute ``task`` of a meta-architecture names it, of the class, or of the built model if the
    config decides. A project may bring its task.

    Attributes:
        does: what such a model does, for messages.
        takes_images: a folder holds unrelated images; otherwise the frames of one video.
        resizes: frames are resized by INPUT.MIN_SIZE_TEST and INPUT.MAX_SIZE_TEST.
        has_classes: answers name classes of the dataset.
        is_lossless: pictures of a folder are PNG files.
        offers: of the optional outputs "results" (JSON), "mot_results", "mots_results" and
            "side_by_side", and of the option "classes".
    """

    does = "has another task"
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

    def answer_image(
        self, model: "StreamingModel", image: Tensor, output_size: tuple[int, int]
    ) -> Any:
        """What :meth:`read` takes for a single image, (3,h,w): a video of one frame."""
        (answer,) = model.stream_video(iter([image]), output_size=output_size)
        return answer

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

    def entries(self, frame: Answered, topk: int) -> dict[str, Any]:
        """A frame of :meth:`open_results`: its place, and its :meth:`record`."""
        entries: dict[str, Any] = {"index": frame.index}
        if frame.file_name is None:
            entries["time"] = round(frame.time, 6)
        else:
            height, width = frame.image.shape[:2]
            entries |= {"file_name": frame.file_name, "height": height, "width": width}
        return entries | self.record(frame, topk)

    def video_record(self, last: Answered, topk: int) -> dict[str, Any]:
        """The JSON entries of a whole video, from its last frame."""
        return {}

    def summary(
        self, class_names: Sequence[str] | None, options: DrawingOptions
    ) -> "Summary[Answered]":
        """A new account of what is found; the base class's says nothing."""
        return Summary()

    @contextmanager
    def open_results(
        self, kind: str, path: str | Path, head: dict[str, Any], topk: int
    ) -> Iterator[Callable[[Answered], None]]:
        """Open a results file; the function that it yields appends a frame.

        The base class writes JSON, a frame a line::

            {"video": name, "height": H, "width": W, "fps": rate,
             "categories": [names, "" for a class without one] or null,
             "frames": [{"index": 0, "time": seconds, "instances": [
                 {"track_id": int, "category_id": int (0-based), "score": 0 to 1,
                  "bbox": [x, y, width, height] in pixels,
                  "segmentation": {"size": [H, W], "counts": compressed COCO RLE}}, ...]}, ...],
             "num_frames": count}

        Fields that the instances lack are left out. For images the head is ``{"images": name,
        "categories": ...``, and each has ``"file_name"``, ``"height"`` and ``"width"`` in place of
        ``"time"``. A panoptic model adds ``"segments"``, which do not overlap: [{"id": int,
        "category_id": int, "isthing": bool, "segmentation": as above}, ...], where the things of a
        video that is followed have a "track_id". A classifying model
        adds ``"classes"``, best first: [{"category_id": int, "score": 0 to 1}, ...]; those of the
        whole video follow ``"num_frames"``.

        Args:
            kind: one of ``offers``.
            path: file to write; its folder is created. It appears at the end, not on an exception.
            head: the JSON entries before the frames.

        Raises:
            UserError: the path cannot be written, or the disk refuses.
        """
        assert kind == "results", kind
        count = 0
        tail: dict[str, Any] = {}

        def write(frame: Answered) -> None:
            nonlocal count, tail
            if frame.file_name is None:
                tail = self.video_record(frame, topk)
            put((",\n" if count else "\n") + json.dumps(self.entries(frame, topk)))
            count += 1

        with open_text(path) as put:
            put(json.dumps(head)[:-1] + ',\n"frames": [')
            yield write
            put(f"\n],\n{json.dumps({'num_frames': count} | tail)[1:]}\n")


class StreamingModel(Protocol):
    """A model that follows video; see docs/extend/architecture.md, "Streaming"."""

    @property
    def task(self) -> Task: ...

    def stream_video(
        self, frames: Iterator[Tensor], output_size: tuple[int, int]
    ) -> Iterator[Any]: ...
