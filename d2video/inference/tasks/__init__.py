"""Tasks: what models answer, and how that is read, drawn and written."""

from d2video.inference.tasks.classification import (
    ClassificationTask,
    ClassifiedFrame,
    VideoClasses,
)
from d2video.inference.tasks.frame import NotOffered, VideoFrame
from d2video.inference.tasks.instances import DetectionTask, InstanceFrame, TrackingTask
from d2video.inference.tasks.restoration import RestorationTask, RestoredFrame
from d2video.inference.tasks.task import StreamingModel, Summary, Task

__all__ = [
    "ClassificationTask",
    "ClassifiedFrame",
    "DetectionTask",
    "InstanceFrame",
    "NotOffered",
    "RestorationTask",
    "RestoredFrame",
    "StreamingModel",
    "Summary",
    "Task",
    "TrackingTask",
    "VideoClasses",
    "VideoFrame",
]
