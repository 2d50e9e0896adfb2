"""What a model that follows video takes and answers (docs/architecture.md, "Streaming")."""

from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol, TypeAlias

import numpy as np
from detectron2.structures import Instances
from torch import Tensor

# The id of each pixel's segment, (H,W), and the segments.
PanopticMap: TypeAlias = tuple[Tensor, list[dict[str, Any]]]
Answer: TypeAlias = Instances | dict[str, Any]


class VideoFrame(NamedTuple):
    """One frame, or an image, and what was found in it.

    Attributes:
        index: 0 for the first frame.
        time: seconds since the first frame.
        image: uint8 (H,W,3), RGB, as read.
        instances: on the CPU, in pixels of ``image``: ``pred_boxes`` (XYXY), ``scores``,
            ``pred_classes``, ``pred_masks`` (bool N,H,W), ``track_ids`` (int64 N); a model has
            those fields that it predicts.
        panoptic_seg: of a panoptic model: int (H,W), on the CPU, the id of each pixel's segment,
            0 = void; and a dict for each segment with ``id``, ``category_id`` (contiguous, things,
            then stuff) and ``isthing``.
        file_name: of an image that is no frame of a video.
    """

    index: int  # type: ignore[assignment]  # hides tuple.index, of no use here
    time: float
    image: np.ndarray
    instances: Instances
    panoptic_seg: PanopticMap | None = None
    file_name: str | None = None


class StreamingModel(Protocol):
    """A model that follows video."""

    def stream_video(
        self, frames: Iterator[Tensor], output_size: tuple[int, int]
    ) -> Iterator[Answer]: ...


def tracks_instances(model: object) -> bool:
    """Whether a model, or its class, relates the frames of a video to each other.

    An image model says that it does not by a class attribute ``tracks_instances = False``.
    """
    return getattr(model, "tracks_instances", True)


def split_answer(answer: Answer) -> tuple[Instances, PanopticMap | None]:
    """The instances and, if there is one, the panoptic map of a frame's answer; on the CPU."""
    if isinstance(answer, Instances):
        return answer.to("cpu"), None
    if "panoptic_seg" not in answer:
        return answer["instances"].to("cpu"), None
    ids, segments = answer["panoptic_seg"]
    return answer["instances"].to("cpu"), (ids.cpu(), segments)
