"""Instances and segments of a frame as JSON, as COCO results, and for supervision."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from detectron2.structures import BitMasks, Instances

from d2video.formats.geometry.rle import encode_masks
from d2video.structures.answers import PanopticMap
from d2video.utils.errors import UserError
from d2video.visualization.primitives import label_of_class

if TYPE_CHECKING:
    from supervision import Detections


def instance_records(instances: Instances) -> list[dict[str, Any]]:
    """A dict an instance: ``track_id``, ``category_id``, ``score``, ``bbox`` and ``segmentation`` as
    in :meth:`Task.open_results`, without those that the instances lack."""
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


def segment_records(panoptic_seg: PanopticMap) -> list[dict[str, Any]]:
    """A dict a segment, as in :meth:`Task.open_results`."""
    ids, segments = panoptic_seg
    present = torch.tensor([segment["id"] for segment in segments], dtype=ids.dtype)
    codes = _mask_codes(ids == present[:, None, None])
    return [
        {
            **{key: segment[key] for key in ("id", "track_id", "category_id") if key in segment},
            "isthing": bool(segment["isthing"]),
            "segmentation": code,
        }
        for segment, code in zip(segments, codes, strict=True)
    ]


def coco_results(
    instances: Instances,
    image_id: int,
    class_names: Sequence[str] | None,
    categories: Sequence[Mapping[str, Any]] | None,
) -> list[dict[str, Any]]:
    """The entries of :meth:`InstanceFrame.to_coco`."""
    records = [{"image_id": image_id, **each} for each in instance_records(instances)]
    if categories is None:
        return records
    if class_names is None:
        raise UserError("to_coco: the model's classes have no names to find in the categories")
    ids = {category["name"]: category["id"] for category in categories}
    if not ids.keys() & {*class_names}:
        raise UserError(
            f"to_coco: none of the model's classes ({class_names[0]}, ...) is among the categories "
            f"({', '.join([*ids][:3])}, ...): give those of the file that has the ground truth"
        )
    named = [(class_names[each["category_id"]], each) for each in records]
    return [each | {"category_id": ids[name]} for name, each in named if name in ids]


def detections(instances: Instances, class_names: Sequence[str] | None) -> "Detections":
    """What :meth:`InstanceFrame.to_supervision` returns."""
    try:
        from supervision import Detections
    except ModuleNotFoundError as error:
        raise UserError(
            f"to_supervision: {error}: pip install supervision (--no-deps, if it would bring "
            "opencv-python: that does not go with opencv-python-headless)"
        ) from error
    columns = {
        name: instances.get(field).numpy()
        for name, field in {
            "confidence": "scores",
            "class_id": "pred_classes",
            "tracker_id": "track_ids",
            "mask": "pred_masks",
        }.items()
        if instances.has(field)
    }
    boxes = (
        instances.pred_boxes
        if instances.has("pred_boxes")
        else BitMasks(instances.pred_masks).get_bounding_boxes()
    )
    names = [label_of_class(index, class_names) for index in columns.get("class_id", ())]
    data = {"class_name": np.array(names, dtype=str)} if "class_id" in columns else {}
    return Detections(xyxy=boxes.tensor.numpy(), **columns, data=data)


def _mask_codes(masks: torch.Tensor) -> list[dict[str, Any]]:
    return [code | {"counts": code["counts"].decode()} for code in encode_masks(masks.cpu())]
