"""What a model that follows video takes and answers (docs/architecture.md, "Streaming")."""

from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol, TypeAlias

import numpy as np
import torch
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
        class_scores: of a model that classifies the video: float (K,), on the CPU, the classes'
            probabilities by what was seen up to this frame.
        restored: of a model that restores images: uint8 (s·H,s·W,3), RGB.
        file_name: of an image that is no frame of a video.
    """

    index: int  # type: ignore[assignment]  # hides tuple.index, of no use here
    time: float
    image: np.ndarray
    instances: Instances
    panoptic_seg: PanopticMap | None = None
    class_scores: Tensor | None = None
    restored: np.ndarray | None = None
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


def classifies_video(model: object) -> bool:
    """Whether a model, or its class, tells what a whole video shows, and finds no objects in it.

    Such a model says so by a class attribute ``classifies_video = True``.
    """
    return getattr(model, "classifies_video", False)


def restores_images(model: object) -> bool:
    """Whether a model, or its class, answers images with better ones, and finds no objects in them.

    Such a model says so by a class attribute ``restores_images = True``.
    """
    return getattr(model, "restores_images", False)


def split_answer(
    answer: Answer, image: np.ndarray
) -> tuple[Instances, PanopticMap | None, Tensor | None, np.ndarray | None]:
    """A frame's answer as the fields of :class:`VideoFrame` from ``instances`` on; on the CPU.

    Args:
        answer: a dict without ``instances``, as one of class scores alone, has none of them;
            ``restored`` is float (3,s·H,s·W), RGB, 0..255, on the CPU or GPU, a tensor that the
            model made for this answer and keeps no more: it is clamped and rounded in place.
        image: the frame, (H,W,3), RGB. Where it is grey, so is what is restored of it.
    """
    if isinstance(answer, Instances):
        return answer.to("cpu"), None, None, None
    # detectron2's Instances have a length only if they have a field.
    size = (image.shape[0], image.shape[1])
    instances = answer.get("instances", Instances(size, scores=torch.empty(0)))
    panoptic_seg, class_scores = answer.get("panoptic_seg"), answer.get("class_scores")
    restored = answer.get("restored")
    return (
        instances.to("cpu"),
        None if panoptic_seg is None else (panoptic_seg[0].cpu(), panoptic_seg[1]),
        None if class_scores is None else class_scores.cpu(),
        None if restored is None else _as_picture(restored, grey=_is_grey(image)),
    )


def _as_picture(restored: Tensor, grey: bool) -> np.ndarray:
    """uint8 (H,W,3) of float (3,H,W), which is changed: a photo's answer is large."""
    if grey:
        restored = restored.mean(0, keepdim=True)
    pixels = restored.clamp_(0, 255).round_().byte().cpu().expand(3, -1, -1)
    return np.ascontiguousarray(pixels.permute(1, 2, 0).numpy())


def _is_grey(image: np.ndarray) -> bool:
    red, green, blue = (image[..., channel] for channel in range(3))
    return bool((red == green).all() and (green == blue).all())
