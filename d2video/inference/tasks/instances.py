"""Objects in images, and objects followed through a video."""

import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from detectron2.structures import Instances

from d2video.formats.faults import Tally, refuse
from d2video.formats.mot_results import open_mot_results
from d2video.formats.rle import encode_masks
from d2video.inference.tasks.task import Summary, Task
from d2video.structures.answers import ImageAnswer, PanopticMap
from d2video.utils.counted import counted
from d2video.video.frame_source import Frame
from d2video.visualization.instances import draw_instances
from d2video.visualization.options import DEFAULT_TRAIL_LENGTH, DrawingOptions
from d2video.visualization.panoptic import draw_panoptic
from d2video.visualization.trails import TrailHistory


@dataclass(frozen=True, eq=False, kw_only=True)
class InstanceFrame(Frame):
    """A frame and the objects in it, on the CPU.

    Attributes:
        instances: in pixels of ``image``, with those fields that the model predicts: ``pred_boxes``
            (XYXY), ``scores``, ``pred_classes``, ``pred_masks`` (bool N,H,W), ``track_ids`` (int64 N).
        panoptic_seg: of a panoptic model.
    """

    instances: Instances
    panoptic_seg: PanopticMap | None = None


class DetectionTask(Task[InstanceFrame]):
    """Find objects, each frame by itself; the model answers with an :class:`ImageAnswer`."""

    does = "finds objects"
    takes_images = True

    def read(self, frame: Frame, answer: ImageAnswer) -> InstanceFrame:
        panoptic_seg = answer.get("panoptic_seg")
        if panoptic_seg is not None:
            panoptic_seg = (panoptic_seg[0].cpu(), panoptic_seg[1])
        instances = answer["instances"].to("cpu")
        return InstanceFrame(**vars(frame), instances=instances, panoptic_seg=panoptic_seg)

    def drawer(
        self, class_names: Sequence[str] | None, options: DrawingOptions
    ) -> Callable[[InstanceFrame], np.ndarray]:
        """Draw panoptic maps, or else instances."""
        length = options.trail_length
        if length is None:
            length = DEFAULT_TRAIL_LENGTH
        trails = TrailHistory(length) if length else None

        def draw(frame: InstanceFrame) -> np.ndarray:
            image, scale = frame.image, options.scale
            if frame.panoptic_seg is not None:
                return draw_panoptic(image, frame.panoptic_seg, class_names, scale=scale)
            shown = frame.instances
            if shown.has("scores"):
                shown = shown[shown.scores >= options.score_threshold]
            if trails is not None:
                trails.add(shown)
            without_trails = options.trail_length is None and shown.has("pred_masks")
            return draw_instances(
                image,
                shown,
                class_names,
                draw_boxes=options.draw_boxes,
                scale=scale,
                trails=None if without_trails else trails,
            )

        return draw

    def record(self, frame: InstanceFrame, topk: int) -> dict[str, Any]:
        """``instances`` and, of a panoptic model, ``segments``; see :meth:`open_results`."""
        record: dict[str, Any] = {"instances": _instance_records(frame.instances)}
        if frame.panoptic_seg is not None:
            record["segments"] = _segment_records(frame.panoptic_seg)
        return record

    def summary(
        self, class_names: Sequence[str] | None, options: DrawingOptions
    ) -> "InstanceSummary":
        return InstanceSummary(options.score_threshold)


class InstanceSummary(Summary[InstanceFrame]):
    """How many instances and tracks were drawn and written; if there are none, the highest score.

    Args:
        score_threshold: of those that are drawn. A panoptic model's segments are all drawn.
    """

    def __init__(self, score_threshold: float) -> None:
        self._threshold = score_threshold
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
            return logging.WARNING, "no instance was found, of any score"
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
    takes_images = False
    offers = frozenset({"results", "mot_results", "mots_results"})

    def read(self, frame: Frame, answer: Instances) -> InstanceFrame:
        return InstanceFrame(**vars(frame), instances=answer.to("cpu"))

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
                kept = append(_number(frame), frame.instances)
                tally.used += kept
                tally.leave_out("without area", len(frame.instances) - kept)

            with open_mot_results(path, several, masks=kind == "mots_results") as append:
                yield write
            tally.tell(refuse)


def _number(frame: Frame) -> int:
    return frame.index + 1 if frame.number is None else frame.number


def _instance_records(instances: Instances) -> list[dict[str, Any]]:
    fields = {"track_id": "track_ids", "category_id": "pred_classes", "score": "scores"}
    columns: dict[str, list[Any]] = {
        key: instances.get(field).tolist() for key, field in fields.items() if instances.has(field)
    }
    if instances.has("pred_boxes"):
        boxes = instances.pred_boxes.tensor.clone()
        boxes[:, 2:] -= boxes[:, :2]
        columns["bbox"] = boxes.tolist()
    if instances.has("pred_masks"):
        columns["segmentation"] = _mask_codes(instances.pred_masks)
    rows = zip(*columns.values(), strict=True)
    return [dict(zip(columns, row, strict=True)) for row in rows]


def _segment_records(panoptic_seg: PanopticMap) -> list[dict[str, Any]]:
    ids, segments = panoptic_seg
    present = torch.tensor([segment["id"] for segment in segments], dtype=ids.dtype)
    codes = _mask_codes(ids == present[:, None, None])
    return [
        {
            "id": segment["id"],
            "category_id": segment["category_id"],
            "isthing": bool(segment["isthing"]),
            "segmentation": code,
        }
        for segment, code in zip(segments, codes, strict=True)
    ]


def _mask_codes(masks: torch.Tensor) -> list[dict[str, Any]]:
    return [code | {"counts": code["counts"].decode()} for code in encode_masks(masks.cpu())]
