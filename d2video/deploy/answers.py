"""What a deployed model answers to a frame."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from d2video.deploy.sources import Frame

DEFAULT_TOPK = 5


class Found(ABC):
    """What was found in a frame, as arrays; each task has its class."""

    @abstractmethod
    def record(self, topk: int) -> dict[str, Any]:
        """The JSON entries of a frame, as in the results files of ``d2video predict``."""

    def video_record(self, topk: int) -> dict[str, Any]:
        """The JSON entries of a whole video, of what was found in its last frame."""
        return {}

    def picture(self) -> np.ndarray | None:
        """The image that a model which makes images has made, uint8 (H', W', 3), RGB."""
        return None


@dataclass(frozen=True, eq=False)
class Answer:
    """A frame and what was found in it.

    Attributes:
        frame: with its image, in its own size.
        found: such as :class:`~d2video.deploy.detections.Objects`.
        class_names: see :class:`~d2video.deploy.manifest.Manifest`.
    """

    frame: Frame
    found: Found
    class_names: Sequence[str] | None

    def entries(self, topk: int = DEFAULT_TOPK) -> dict[str, Any]:
        """A frame of a results file: its place and what was found, as ``json.dumps`` takes it."""
        entries: dict[str, Any] = {"index": self.frame.index}
        if self.frame.file_name is None:
            entries["time"] = round(self.frame.time, 6)
        else:
            height, width = self.frame.image.shape[:2]
            entries |= {"file_name": self.frame.file_name, "height": height, "width": width}
        return entries | self.found.record(topk)

    def to_dict(self, topk: int = DEFAULT_TOPK) -> dict[str, Any]:
        """:meth:`entries`, where each instance, segment or class has its name too: "category".

        The same as :meth:`d2video.VideoFrame.to_dict`.

        Args:
            topk: number of classes of a classifying model.
        """
        entries = self.entries(topk)
        for value in entries.values():
            for each in value if isinstance(value, list) else ():
                if "category_id" in each:
                    each["category"] = self._name(each["category_id"])
        return entries

    def _name(self, index: int) -> str:
        name = self.class_names[index] if self.class_names else ""
        return name or f"class {index}"
