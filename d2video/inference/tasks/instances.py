"""Objects in images, and objects followed through a video."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
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
        return InstanceDrawer(class_names, options)

    def record(self, frame: InstanceFrame, topk: int) -> dict[str, Any]:
        """``instances`` and, of a panoptic model, ``segments``; see :func:`.json_results.open_json`."""
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

    def open_results(
        self, kind: str, path: str | Path, head: dict[str, Any], topk: int
    ) -> AbstractContextManager[Callable[[InstanceFrame], None]]:
        if kind == "results":
            return super().open_results(kind, path, head, topk)
        return _open_tracks(kind, path)


@contextmanager
def _open_tracks(kind: str, path: str | Path) -> Iterator[Callable[[InstanceFrame], None]]:
    opened = {"mot_results": open_mot_results, "mots_results": open_mots_results}[kind](path)
    with opened as writer:
        yield lambda frame: writer.write(frame.index, frame.instances)


class InstanceDrawer:
    """Draws panoptic maps, or else instances."""

    def __init__(self, class_names: Sequence[str] | None, options: DrawingOptions) -> None:
        self._class_names = class_names
        self._options = options
        length = options.trail_length
        self._only_boxes = length is None
        length = DEFAULT_TRAIL_LENGTH if length is None else length
        self._trails = TrailHistory(length) if length else None

    def __call__(self, frame: InstanceFrame) -> np.ndarray:
        """The picture, uint8 (scale·H, scale·W, 3), RGB.

        Raises:
            UserError: a class has no name.
        """
        names, scale = self._class_names, self._options.scale
        if frame.panoptic_seg is not None:
            return draw_panoptic(frame.image, frame.panoptic_seg, names, scale=scale)
        shown = frame.instances
        if shown.has("scores"):
            shown = shown[shown.scores >= self._options.score_threshold]
        if self._trails is not None:
            self._trails.add(shown)
        has_trails = not (self._only_boxes and shown.has("pred_masks"))
        return draw_instances(
            frame.image,
            shown,
            names,
            draw_boxes=self._options.draw_boxes,
            scale=scale,
            trails=self._trails if has_trails else None,
        )


def _instance_records(instances: Instances) -> list[dict[str, Any]]:
    columns: dict[str, list[Any]] = {}
    for key, field in (
        ("track_id", "track_ids"),
        ("category_id", "pred_classes"),
        ("score", "scores"),
    ):
        if instances.has(field):
            columns[key] = instances.get(field).tolist()
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
