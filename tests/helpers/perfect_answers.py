"""What a model answers that has learnt the records of a training set by heart."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pycocotools.mask as mask_util
import torch
from detectron2.data import MetadataCatalog
from detectron2.structures import Boxes, Instances

from d2video.data.records import xyxy_box
from d2video.formats.geometry.rle import to_rle
from d2video.formats.panoptic_png import segment_ids
from d2video.video.image_io import read_rgb

Answers = tuple[list[dict[str, Any]], list[dict[str, Any]]]


def perfect_answers(name: str, records: Sequence[Mapping[str, Any]]) -> Answers:
    """Inputs and outputs for the evaluator of a registered data set, from its records."""
    answer = {
        "coco": image_objects,
        "coco_panoptic_seg": panoptic,
        "mot": tracks,
        "mots": tracks,
        "video_classification": classes,
        "ytvis": mask_tracks,
    }[MetadataCatalog.get(name).evaluator_type]
    inputs = [
        {key: record[key] for key in record if key.endswith("_id") or key in ("sequence", "label")}
        for record in records
    ]
    count = len(MetadataCatalog.get(name).thing_classes)
    return inputs, [answer(record, count) for record in records]


def objects(annotations: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return [each for each in annotations if not each.get("iscrowd", 0)]


def instances(size: tuple[int, int], kept: Sequence[Mapping[str, Any]]) -> Instances:
    boxes = Boxes(torch.zeros(0, 4))
    # In float64: a file may have more digits than float32 keeps.
    boxes.tensor = torch.tensor([xyxy_box(each) for each in kept], dtype=torch.float64)
    boxes.tensor = boxes.tensor.reshape(-1, 4)
    return Instances(
        size,
        pred_boxes=boxes,
        scores=torch.full((len(kept),), 0.9),
        pred_classes=torch.tensor([each["category_id"] for each in kept], dtype=torch.int64),
    )


def image_objects(record: Mapping[str, Any], count: int) -> dict[str, Any]:
    size = record["height"], record["width"]
    kept = objects(record["annotations"])
    found = instances(size, kept)
    if kept and all(each.get("segmentation") for each in kept):
        masks = [mask_util.decode(to_rle(each["segmentation"], *size)) for each in kept]
        found.pred_masks = torch.from_numpy(np.stack(masks)).bool()
    return {"instances": found}


def panoptic(record: Mapping[str, Any], count: int) -> dict[str, Any]:
    ids = segment_ids(read_rgb(record["pan_seg_file_name"]))
    kept = objects(record["segments_info"])
    ids = np.where(np.isin(ids, [each["id"] for each in kept]), ids, 0)
    return {"panoptic_seg": (torch.from_numpy(ids), kept)}


def mask_tracks(record: Mapping[str, Any], count: int) -> dict[str, Any]:
    size, length = (record["height"], record["width"]), record["length"]
    found: dict[int, list[Any]] = {}
    labels: dict[int, int] = {}
    for t, frame in enumerate(record["annotations"]):
        for each in objects(frame):
            labels[each["id"]] = each["category_id"]
            track = found.setdefault(each["id"], [None] * length)
            track[t] = to_rle(each["segmentation"], *size)
    return {
        "image_size": size,
        "pred_scores": [0.9] * len(found),
        "pred_labels": [labels[track_id] for track_id in found],
        "pred_masks": [*found.values()],
    }


def tracks(record: Mapping[str, Any], count: int) -> dict[str, Any]:
    size = record["height"], record["width"]
    frames = []
    for annotations in record["annotations"]:
        kept = objects(annotations)
        found = instances(size, kept)
        found.track_ids = torch.tensor([each["id"] for each in kept], dtype=torch.int64)
        if kept and "segmentation" in kept[0]:
            found.pred_rles = [to_rle(each["segmentation"], *size) for each in kept]
        frames.append(found)
    return {"image_size": size, "frames": frames}


def classes(record: Mapping[str, Any], count: int) -> dict[str, Any]:
    return {"scores": torch.eye(count)[record["label"]]}
