"""A frame with the model's answer, which you can draw, save and convert."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image
from typing_extensions import Self

from d2video.inference.tasks.task import Task
from d2video.utils.errors import UserError
from d2video.video.frame_source import Frame
from d2video.video.image_writer import ImageFileWriter
from d2video.visualization.options import DEFAULT_TOPK, drawing_options
from d2video.visualization.primitives import label_of_class

if TYPE_CHECKING:
    from detectron2.structures import Instances
    from supervision import Detections
    from torch import Tensor

# Which models' frames have what others lack.
_OFFERED_BY = {
    "instances": "finds or follows objects",
    "panoptic_seg": "finds or follows objects",
    "of_classes": "finds or follows objects",
    "to_coco": "finds or follows objects",
    "to_supervision": "finds or follows objects",
    "class_scores": "classifies videos",
    "top": "classifies videos",
    "restored": "restores images",
}


def check_topk(caller: str, topk: int) -> None:
    """Raises UserError for a number of classes below 1."""
    if topk < 1:
        raise UserError(f"{caller}: topk is {topk}: ask for 1 class or more")


class NotOffered(UserError, AttributeError):
    """The frame's model has another task."""


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class VideoFrame(Frame):
    """A frame of a video, or an image, together with a model's answer to it.

    It holds no data of other frames. Answers of only one task (``instances``, ``class_scores``,
    ``restored``) are attributes of a derived class; on the frames of other models they raise
    :class:`NotOffered`.

    Attributes:
        task: of the model; it draws and writes the frame.
        class_names: by class index, "" for a class without a name; ``None`` if unknown.
        categories: [{"id": int, "name": text}, ...] of the dataset that the classes are of, as in a
            COCO file; ``None`` if unknown.
    """

    task: Task[Any]
    class_names: Sequence[str] | None = None
    categories: Sequence[Mapping[str, Any]] | None = None

    def plot(self, **options: Any) -> np.ndarray:
        """Draw the answer into the frame.

        A track's path through several frames needs :meth:`Predictor.drawer`.

        Args:
            options: see :class:`DrawingOptions`.

        Returns:
            uint8 (H',W',3), RGB.

        Raises:
            UserError: a drawing option is unknown.
        """
        return self.task.drawer(self.class_names, drawing_options(options))(self)

    def save(self, path: str | Path, **options: Any) -> None:
        """Write :meth:`plot`'s picture to an image file, in the format of its suffix.

        The folder above it is created. The file appears whole or not at all.

        Raises:
            UserError: the suffix is not that of an image format, the path cannot be written, or a
                drawing option is unknown.
        """
        with ImageFileWriter(path) as writer:
            writer.write(self.plot(**options))

    def to_dict(self, topk: int = DEFAULT_TOPK) -> dict[str, Any]:
        """Return the answer as plain values that ``json.dumps`` accepts.

        The keys are those of a frame in the results files (:meth:`Task.open_results`); each instance,
        segment or class also has its name, ``"category"``.

        Args:
            topk: number of classes of a classifying model, at least 1.

        Raises:
            UserError: ``topk`` is below 1, or a class has no name.
        """
        check_topk("to_dict", topk)
        entries = self.task.entries(self, topk)
        for value in entries.values():
            for each in value if isinstance(value, list) else ():
                if "category_id" in each:
                    each["category"] = label_of_class(each["category_id"], self.class_names)
        return entries

    def of_classes(self, names: Sequence[str]) -> Self:
        """The frame with the objects of some classes only; see :class:`InstanceFrame`."""
        raise self._not_offered("of_classes")

    def to_coco(
        self,
        image_id: int | None = None,
        categories: Sequence[Mapping[str, Any]] | None = None,
    ) -> list[dict[str, Any]]:
        """The instances as entries of a COCO results file; see :class:`InstanceFrame`."""
        raise self._not_offered("to_coco")

    def to_supervision(self) -> "Detections":
        """The instances as ``supervision.Detections``; see :class:`InstanceFrame`."""
        raise self._not_offered("to_supervision")

    def top(self, k: int = DEFAULT_TOPK) -> list[tuple[str, float]]:
        """The best classes and their scores, best first; see :class:`ClassifiedFrame`."""
        raise self._not_offered("top")

    def describe(self) -> str:
        """What was found, in a few words."""
        return ""

    def __repr__(self) -> str:
        place = self.file_name or "image"
        if self.file_name is None:
            place = f"{self.index} at {self.time:.2f} s"
        found = self.describe()
        return f"VideoFrame {place}{': ' if found else ''}{found}"

    def _repr_png_(self) -> bytes:
        """The picture that notebooks show."""
        file = BytesIO()
        Image.fromarray(self.plot()).save(file, "PNG")
        return file.getvalue()

    def _not_offered(self, name: str) -> NotOffered:
        return NotOffered(
            f"this frame has no {name}: its model {self.task.does}; load one that {_OFFERED_BY[name]}"
        )

    if TYPE_CHECKING:

        @property
        def instances(self) -> Instances: ...
        @property
        def class_scores(self) -> Tensor: ...
        @property
        def restored(self) -> np.ndarray: ...

    else:

        def __getattr__(self, name: str) -> Any:
            if name in _OFFERED_BY:
                raise self._not_offered(name)
            raise AttributeError(f"{type(self).__name__} has no attribute {name}")
