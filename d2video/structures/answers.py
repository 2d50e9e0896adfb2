"""Types of the models' answers, for evaluators, the predictor and the projects.

The answer to a frame or an image (``stream_video``, and DETR's ``forward``) is an :class:`ImageAnswer`, a
:class:`ScoresAnswer` or a :class:`RestoredAnswer`; a tracker's is ``Instances`` with ``track_ids``. The
answer to a video of a dataset (``forward``) is a :class:`VideoInstances`, :class:`Tracks` or
:class:`VideoScores`.
"""

from typing import Any, TypeAlias, TypedDict

from detectron2.structures import Instances
from torch import Tensor
from typing_extensions import NotRequired


class Segment(TypedDict):
    """A segment of a panoptic map: ``category_id`` is contiguous, things first, then stuff;
    ``track_id``, at least 0, is that of a thing tracked through a video."""

    id: int
    category_id: int
    isthing: bool
    area: NotRequired[int]
    track_id: NotRequired[int]


# The id of each pixel's segment, int (H,W), 0 = void, and the segments.
PanopticMap: TypeAlias = tuple[Tensor, list[Segment]]


class ImageAnswer(TypedDict):
    """Answer of an image model: things, in pixels of the original; of a panoptic model also the map."""

    instances: Instances
    panoptic_seg: NotRequired[PanopticMap]


class ScoresAnswer(TypedDict):
    """Answer of a classifying model to a frame: float (K,), probabilities given all frames so far."""

    class_scores: Tensor


class RestoredAnswer(TypedDict):
    """Answer of a restoring model: float32 (3,s·H,s·W), RGB, about 0..255, neither clamped nor rounded.

    The receiver may change the tensor.
    """

    restored: Tensor


class VideoInstances(TypedDict):
    """N instances of a video of L frames, with a score and a label each (YouTube-VIS)."""

    image_size: tuple[int, int]  # (H, W) of the original
    pred_scores: list[float]  # N, 0 to 1
    pred_labels: list[int]  # N contiguous classes
    pred_masks: list[list[dict[str, Any] | None]]  # N×L compressed COCO RLEs, None where absent
    pred_ids: list[int]  # N


class Tracks(TypedDict):
    """Objects of a video, frame by frame (MOTChallenge, MOTS).

    Attributes:
        image_size: (H, W) of the original.
        frames: L ``Instances`` on the CPU with ``pred_boxes`` (XYXY, pixels, may overflow),
            ``scores``, ``pred_classes``, ``track_ids`` (int64, at least 0, each once in a frame) and,
            of a model with masks, ``pred_rles``: compressed COCO RLEs that do not overlap.
    """

    image_size: tuple[int, int]
    frames: list[Instances]


class VideoScores(TypedDict):
    """The classes of a whole video: float (K,), on the CPU, higher for likelier classes."""

    scores: Tensor
    video_id: NotRequired[int]
