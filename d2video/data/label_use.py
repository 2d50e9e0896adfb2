"""What a model makes of labelled videos."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class LabelUse:
    """What a model makes of labelled videos.

    A meta-architecture (or, for one of another library, the mapper) says so by a class method
    ``label_use(cfg)``. Those without it cannot be used with datasets of ``evaluator_type`` "labels".

    Attributes:
        train_on: "videos": images are refused; "images": each frame is one; or "both".
        test_on: "videos" or "images".
        evaluators: names in :data:`~d2video.evaluation.labels.LABEL_EVALUATORS`.
        needs_masks: objects without a mask are refused in training, and in testing on videos.
        without_masks: what to do if there are none, for messages.
    """

    train_on: Literal["videos", "images", "both"]
    test_on: Literal["videos", "images"]
    evaluators: tuple[str, ...]
    needs_masks: bool
    without_masks: str = "set MODEL.MASK_ON False"
