"""What a linked model answers to videos."""

from typing import Any

from detectron2.structures import Instances
from torch import Tensor

from d2video.inference.tasks import DetectionTask, InstanceFrame, TrackingTask
from d2video.structures.answers import ImageAnswer, Tracks, VideoInstances
from d2video.video.frame_source import Frame


class LinkedTask(TrackingTask):
    """Follow objects through a video with a model of single images, which may be panoptic."""

    takes_images = True

    def read(self, frame: Frame, answer: ImageAnswer) -> InstanceFrame:
        return DetectionTask.read(self, frame, answer)

    def answer_image(self, model: Any, image: Tensor, output_size: tuple[int, int]) -> ImageAnswer:
        """What the model finds in an image, without tracks."""
        height, width = output_size
        return model([{"image": image, "height": height, "width": width}])[0]


class LinkedVideo(Tracks, VideoInstances):
    """The answer to a video of a dataset: its tracks frame by frame (MOTChallenge), and one by one
    (YouTube-VIS)."""


def collect_video(frames: list[Instances], size: tuple[int, int]) -> LinkedVideo:
    """The answer to a whole video, from the frames' :class:`~d2video.structures.answers.Tracks`.

    A track's score is the mean over the frames that show it, its class the one with the largest sum of
    scores. Without masks there are no ``pred_masks``: every mask is None.
    """
    scores: dict[int, dict[int, list[float]]] = {}
    masks: dict[int, list[dict[str, Any] | None]] = {}
    for t, frame in enumerate(frames):
        codes = frame.pred_rles if frame.has("pred_rles") else [None] * len(frame)
        columns = (frame.track_ids, frame.pred_classes, frame.scores)
        for track, label, score, code in zip(*(c.tolist() for c in columns), codes, strict=True):
            scores.setdefault(track, {}).setdefault(label, []).append(score)
            masks.setdefault(track, [None] * len(frames))[t] = code
    every = [[x for values in by_class.values() for x in values] for by_class in scores.values()]
    return {
        "image_size": size,
        "frames": frames,
        "pred_scores": [sum(values) / len(values) for values in every],
        "pred_labels": [max(c, key=lambda label: sum(c[label])) for c in scores.values()],
        "pred_masks": [*masks.values()],
        "pred_ids": [*scores],
    }
