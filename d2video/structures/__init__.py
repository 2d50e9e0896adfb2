"""Tensors with invariants, and the types of the models' answers."""

from d2video.structures.answers import (
    ImageAnswer,
    RestoredAnswer,
    ScoresAnswer,
    Segment,
    Tracks,
    VideoInstances,
    VideoScores,
)
from d2video.structures.boxes import (
    box_cxcywh_to_xyxy,
    box_iou,
    box_xyxy_to_cxcywh,
    generalized_box_iou,
)
from d2video.structures.class_head import ClassHead, class_names_of, set_class_names
from d2video.structures.class_scores import top_classes
from d2video.structures.padding import pad_clips, resize_padding

__all__ = [
    "ClassHead",
    "ImageAnswer",
    "RestoredAnswer",
    "ScoresAnswer",
    "Segment",
    "Tracks",
    "VideoInstances",
    "VideoScores",
    "box_cxcywh_to_xyxy",
    "box_iou",
    "box_xyxy_to_cxcywh",
    "class_names_of",
    "generalized_box_iou",
    "pad_clips",
    "resize_padding",
    "set_class_names",
    "top_classes",
]
