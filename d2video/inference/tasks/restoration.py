"""Better images in place of images."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from d2video.inference.tasks.frame import VideoFrame
from d2video.inference.tasks.task import Summary, Task
from d2video.structures.answers import RestoredAnswer
from d2video.utils.counted import counted
from d2video.video.frame_source import Frame
from d2video.visualization.options import DrawingOptions


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class RestoredFrame(VideoFrame):
    """A frame and the restored image, uint8 (s·H,s·W,3), RGB; grey where the frame is."""

    task: Task[Any] = field(default_factory=lambda: RestorationTask())
    restored: np.ndarray

    def describe(self) -> str:
        """The size of the restored image, width by height."""
        return f"restored, {self.restored.shape[1]}x{self.restored.shape[0]}"


class RestorationTask(Task[RestoredFrame]):
    """Restore images in their own size; the model answers with a :class:`RestoredAnswer`."""

    does = "restores images"
    takes_images = True
    resizes = False
    has_classes = False
    is_lossless = True  # JPEG would cost much of what was restored
    offers = frozenset({"side_by_side"})

    def read(self, frame: Frame, answer: RestoredAnswer) -> RestoredFrame:
        grey = bool((frame.image == frame.image[..., :1]).all())
        restored = _as_picture(answer["restored"], grey)
        return RestoredFrame(**vars(frame), restored=restored)

    def drawer(
        self, class_names: Sequence[str] | None, options: DrawingOptions
    ) -> Callable[[RestoredFrame], np.ndarray]:
        def draw(frame: RestoredFrame) -> np.ndarray:
            shown = frame.restored
            if options.side_by_side:
                size = (shown.shape[1], shown.shape[0])
                enlarged = Image.fromarray(frame.image).resize(size, Image.Resampling.BICUBIC)
                shown = np.concatenate([np.asarray(enlarged), shown], axis=1)
            return shown.repeat(options.scale, 0).repeat(options.scale, 1)

        return draw

    def summary(
        self, class_names: Sequence[str] | None, options: DrawingOptions
    ) -> "RestorationSummary":
        return RestorationSummary()


class RestorationSummary(Summary[RestoredFrame]):
    """How many frames or images were restored, and how much larger they became."""

    def __init__(self) -> None:
        self._count = 0

    def add(self, frame: RestoredFrame) -> None:
        self._count += 1
        self._scale = frame.restored.shape[0] // frame.image.shape[0]
        self._noun = "frame" if frame.file_name is None else "image"

    def line(self, drawn: bool, written: bool) -> tuple[int, str] | None:
        if self._count == 0:
            return None
        size = "their own size" if self._scale == 1 else f"{self._scale} times their size"
        return logging.INFO, f"{counted(self._count, self._noun)} restored, in {size}"


def _as_picture(restored: Tensor, grey: bool) -> np.ndarray:
    """uint8 (H,W,3) of float (3,H,W), which is changed: a photo's answer is large."""
    if grey:
        restored = restored.mean(0, keepdim=True)
    pixels = restored.clamp_(0, 255).round_().byte().cpu().expand(3, -1, -1)
    return np.ascontiguousarray(pixels.permute(1, 2, 0).numpy())
