"""Objects in images, and objects followed through a video."""

import logging
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from detectron2.structures import Instances

from d2video.formats.faults import Tally, refuse
from d2video.formats.mot_results import open_mot_results
from d2video.inference.tasks.frame import VideoFrame
from d2video.inference.tasks.instance_formats import (
    coco_results,
    detections,
    instance_records,
    segment_records,
)
from d2video.inference.tasks.task import Summary, Task
from d2video.structures.answers import ImageAnswer, PanopticMap
from d2video.structures.instances import on_host
from d2video.utils.counted import counted
from d2video.utils.errors import UserError
from d2video.utils.near_names import did_you_mean
from d2video.video.frame_source import Frame
from d2video.visualization.instances import draw_instances
from d2video.visualization.labels import LabelPlaces
from d2video.visualization.options import DEFAULT_TRAIL_LENGTH, DrawingOptions
from d2video.visualization.panoptic import draw_panoptic
from d2video.visualization.primitives import label_of_class
from d2video.visualization.trails import TrailHistory

if TYPE_CHECKING:
    from supervision import Detections


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class InstanceFrame(VideoFrame):
    """A frame and the objects in it, on the CPU.

    Attributes:
        instances: in pixels of ``image``, of any score, with those fields that the model predicts:
            ``pred_boxes`` (XYXY), ``scores``, ``pred_classes``, ``pred_masks`` (bool N,H,W),
            ``track_ids`` (int64 N).
        panoptic_seg: of a panoptic model.
    """

    task: Task[Any] = field(default_factory=lambda: DetectionTask())
    instances: Instances
    panoptic_seg: PanopticMap | None = None

    def of_classes(self, names: Sequence[str]) -> "InstanceFrame":
        """The frame with the instances and segments of some classes only; other segments become void.

        Args:
            names: of the classes, as in ``class_names``; of a class without a name, "class 3".

        Raises:
            UserError: the model has no class of a name.
        """
        classes = chosen_classes(names, self.class_names)
        instances, panoptic = self.instances, self.panoptic_seg
        if instances.has("pred_classes"):
            instances = instances[torch.isin(instances.pred_classes, torch.tensor(classes))]
        if panoptic is not None:
            segments = [each for each in panoptic[1] if each["category_id"] in classes]
            ids = torch.tensor([each["id"] for each in segments], dtype=panoptic[0].dtype)
            panoptic = (panoptic[0].where(torch.isin(panoptic[0], ids), 0), segments)
        return replace(self, instances=instances, panoptic_seg=panoptic)

    def to_coco(
        self,
        image_id: int | None = None,
        categories: Sequence[Mapping[str, Any]] | None = None,
    ) -> list[dict[str, Any]]:
        """The instances, of any score, as entries of a COCO results file (``COCO.loadRes``).

        Args:
            image_id: of all entries; by default ``index``.
            categories: those of the ground truth (``coco.dataset["categories"]``). Classes are
                matched by name; instances of others are left out. By default the attribute of this
                name, as of models of COCO, YouTube-VIS and OVIS; where that is ``None``,
                ``category_id`` is the class index, from 0.

        Returns:
            [{"image_id": int, "category_id": int, "score": 0 to 1, "bbox": [x, y, width, height] in
            pixels, "segmentation": {"size": [H, W], "counts": compressed RLE as text}, "track_id":
            int}, ...], without what the model does not predict.

        Raises:
            UserError: no class of the model is in ``categories``.
        """
        image_id = self.index if image_id is None else image_id
        known = self.categories if categories is None else categories
        return coco_results(self.instances, image_id, self.class_names, known)

    def to_supervision(self) -> "Detections":
        """The instances, of any score, as ``supervision.Detections``.

        It has ``xyxy`` and, as far as the model predicts them, ``mask``, ``confidence``,
        ``class_id`` and ``tracker_id``; ``data["class_name"]`` holds the names.

        Raises:
            UserError: supervision is not installed.
        """
        return detections(self.instances, self.class_names)

    def describe(self) -> str:
        """The classes of what :meth:`plot` shows by default, most frequent first."""
        if self.panoptic_seg is not None:
            indices = [segment["category_id"] for segment in self.panoptic_seg[1]]
        else:
            shown = _above(self.instances, DrawingOptions().score_threshold)
            if not shown.has("pred_classes"):
                return counted(len(shown), "instance")
            indices = shown.pred_classes.tolist()
        counts = Counter(label_of_class(index, self.class_names) for index in indices)
        return ", ".join(f"{n} × {label}" for label, n in counts.most_common()) or "nothing"


class DetectionTask(Task[InstanceFrame]):
    """Find objects, frame by frame; the model answers with an :class:`ImageAnswer`."""

    does = "finds objects"
    found_nothing = "no instance was found, of any score"
    takes_images = True
    offers = frozenset({"results", "classes"})

    def read(self, frame: Frame, answer: ImageAnswer) -> InstanceFrame:
        panoptic_seg = answer.get("panoptic_seg")
        if panoptic_seg is not None:
            panoptic_seg = (panoptic_seg[0].cpu(), panoptic_seg[1])
        instances = on_host(answer["instances"])
        return InstanceFrame(**vars(frame), instances=instances, panoptic_seg=panoptic_seg)

    def drawer(
        self, class_names: Sequence[str] | None, options: DrawingOptions
    ) -> Callable[[InstanceFrame], np.ndarray]:
        """Draw panoptic maps, or instances if masks are off."""
        length = options.trail_length
        if length is None:
            length = DEFAULT_TRAIL_LENGTH
        trails = TrailHistory(length) if length else None
        places = LabelPlaces()

        def draw(frame: InstanceFrame) -> np.ndarray:
            if options.classes:
                frame = frame.of_classes(options.classes)
            shown = _above(frame.instances, options.score_threshold)
            if trails is not None:
                trails.add(shown)
            panoptic = frame.panoptic_seg if options.masks else None
            shows_masks = options.masks and (panoptic is not None or shown.has("pred_masks"))
            history: dict[str, Any] = {
                "trails": None if options.trail_length is None and shows_masks else trails,
                "places": places,
            }
            if panoptic is not None:
                return draw_panoptic(frame.image, panoptic, class_names, options, **history)
            return draw_instances(frame.image, shown, class_names, options, **history)

        return draw

    def record(self, frame: InstanceFrame, topk: int) -> dict[str, Any]:
        """``instances`` and, of a panoptic model, ``segments``; see :meth:`open_results`."""
        record: dict[str, Any] = {"instances": instance_records(frame.instances)}
        if frame.panoptic_seg is not None:
            record["segments"] = segment_records(frame.panoptic_seg)
        return record

    def summary(
        self, class_names: Sequence[str] | None, options: DrawingOptions
    ) -> "InstanceSummary":
        return InstanceSummary(options.score_threshold, self.found_nothing)


class InstanceSummary(Summary[InstanceFrame]):
    """How many instances and tracks were drawn and written; if there are none, the highest score.

    Args:
        score_threshold: of those that are drawn. A panoptic model's segments are all drawn.
        found_nothing: text for frames without instances.
    """

    def __init__(self, score_threshold: float, found_nothing: str) -> None:
        self._threshold, self._found_nothing = score_threshold, found_nothing
        self._drawn, self._all = _Count(), _Count()
        self._segments: int | None = None
        self._best: float | None = None

    def add(self, frame: InstanceFrame) -> None:
        found = frame.instances
        self._all.add(found)
        if found.has("scores") and len(found):
            self._best = max(found.scores.max().item(), self._best or 0.0)
            found = found[found.scores >= self._threshold]
        self._drawn.add(found)
        if frame.panoptic_seg is not None:
            self._segments = (self._segments or 0) + len(frame.panoptic_seg[1])

    def line(self, drawn: bool, written: bool) -> tuple[int, str] | None:
        if not self._all.instances and not self._segments:
            return logging.WARNING, self._found_nothing
        parts, level = [], logging.INFO
        if drawn and self._segments == 0:
            level = logging.WARNING
            parts.append(
                "no segment reaches the score threshold of the config; the highest score of the "
                f"instances was {self._best:.3g}"
            )
        elif drawn and self._segments is not None:
            parts.append(f"{counted(self._segments, 'segment')} drawn")
        elif drawn and self._drawn.instances:
            parts.append(f"{self._drawn} drawn")
        elif drawn:
            level = logging.WARNING
            parts.append(
                f"no instance reaches the score threshold {self._threshold:g}; the highest score was "
                f"{self._best:.3g}: lower --score-threshold"
            )
        if written:
            parts.append(f"{self._all} in the results")
        return (level, "; ".join(parts)) if parts else None


class _Count:
    """Instances and, if they have them, tracks."""

    def __init__(self) -> None:
        self.instances = 0
        self._tracks: set[int] | None = None

    def add(self, found: Instances) -> None:
        self.instances += len(found)
        if found.has("track_ids"):
            self._tracks = (self._tracks or set()) | {*found.track_ids.tolist()}

    def __str__(self) -> str:
        tracks = "" if self._tracks is None else f" of {counted(len(self._tracks), 'track')}"
        return counted(self.instances, "instance") + tracks


class TrackingTask(DetectionTask):
    """Follow objects through a video; the model answers with ``Instances`` that have ``track_ids``."""

    does = "follows objects"
    found_nothing = "no instance was found with a score that starts a track"
    takes_images = False
    offers = frozenset({"results", "mot_results", "mots_results", "classes"})

    def read(self, frame: Frame, answer: Instances) -> InstanceFrame:
        return InstanceFrame(**vars(frame), instances=on_host(answer))

    @contextmanager
    def open_results(
        self, kind: str, path: str | Path, head: dict[str, Any], topk: int
    ) -> Iterator[Callable[[InstanceFrame], None]]:
        """As :meth:`Task.open_results`; of several classes, the first has number 1 in MOT's files. A
        model whose classes have neither names nor a number is taken to have one."""
        if kind == "results":
            with super().open_results(kind, path, head, topk) as write:
                yield write
        else:
            names = head["categories"]
            is_one = names is None or len(names) == 1 or sum(map(bool, names)) == 1
            several = None if is_one else range(1, sys.maxsize)
            tally = Tally(str(path), "instances")

            def write(frame: InstanceFrame) -> None:
                if not frame.instances.has("track_ids"):
                    raise UserError(
                        f"{path}: image {frame.file_name} has no tracks to write: give a video, or "
                        "leave out the file of tracks"
                    )
                kept = append(_number(frame), frame.instances)
                tally.used += kept
                tally.leave_out("without area", len(frame.instances) - kept)

            with open_mot_results(path, several, masks=kind == "mots_results") as append:
                yield write
            tally.tell(refuse)


def chosen_classes(names: Sequence[str], class_names: Sequence[str] | None) -> list[int]:
    """The indices of classes by their names, as :func:`label_of_class` gives them.

    Raises:
        UserError: the model has no class of a name.
    """
    if class_names is None:
        raise UserError(
            f"classes: the names of the model's classes are unknown, so '{names[0]}' cannot be chosen"
        )
    known = {label_of_class(index, class_names): index for index in range(len(class_names))}
    for name in names:
        if name not in known:
            hint = did_you_mean(name, known, f"it has {', '.join([*known][:8])}, ...")
            raise UserError(f"the model has no class '{name}': {hint}")
    return [known[name] for name in names]


def _above(instances: Instances, threshold: float) -> Instances:
    """The instances with that score or a higher one; all that have no scores."""
    return instances[instances.scores >= threshold] if instances.has("scores") else instances


def _number(frame: Frame) -> int:
    return frame.index + 1 if frame.number is None else frame.number
