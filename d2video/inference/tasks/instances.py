"""Objects in images, and objects followed through a video."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from detectron2.structures import Instances

from d2video.formats.mot_results import open_mot_results, open_mots_results
from d2video.formats.rle import encode_masks
from d2video.inference.tasks.task import Task
from d2video.structures.answers import ImageAnswer, PanopticMap
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


class TrackingTask(DetectionTask):
    """Follow objects through a video; the model answers with ``Instances`` that have ``track_ids``."""

    takes_images = False
    offers = frozenset({"results", "mot_results", "mots_results"})

    def read(self, frame: Frame, answer: Instances) -> InstanceFrame:
        return InstanceFrame(**vars(frame), instances=answer.to("cpu"))

    @contextmanager
    def open_results(
        self, kind: str, path: str | Path, head: dict[str, Any], topk: int
    ) -> Iterator[Callable[[InstanceFrame], None]]:
        """As :meth:`Task.open_results`; of several classes, the first has number 1 in MOT's files."""
        if kind == "results":
            with super().open_results(kind, path, head, topk) as write:
                yield write
        else:
            opened = open_mot_results if kind == "mot_results" else open_mots_results
            names = head["categories"]
            is_one = names is not None and sum(map(bool, names)) == 1
            several = None if is_one else range(1, sys.maxsize)
            with opened(path, several) as append:
                yield lambda frame: append(_number(frame), frame.instances)


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
