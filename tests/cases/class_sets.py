"""Data sets of every format whose classes can be changed, and a model that knows their labels."""

import json
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pycocotools.mask as coco_mask
import pytest
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.data.datasets import register_coco_instances
from detectron2.structures import Boxes, BoxMode, Instances
from torch import nn

from d2video.config import get_cfg
from d2video.data import register_video_list, register_ytvis_instances
from d2video.data.datasets.coco_panoptic import register_coco_panoptic
from d2video.data.datasets.coco_tracks import register_coco_tracks
from d2video.engine import VideoTrainer
from d2video.formats.geometry.rle import to_rle
from d2video.formats.panoptic_png import segment_ids
from d2video.projects import register_all
from d2video.synthetic import MotionSpec, ShapesSpec, write_coco_shapes, write_motion_videos
from d2video.utils.errors import UserError
from d2video.video.image_io import read_rgb
from tests.cases.conftest import INPUTS
from tests.projects.DETR.tiny import tiny_cfg

register_all()  # the mapper of tracks


@dataclass
class Format:
    """How a format's sets are registered and answered.

    Attributes:
        content: of a file, with ``categories`` and ``annotations``.
        register: a content under a name.
        answer: to a mapped input, its record and the model's number of each class of the data set.
        options: config keys and values.
        best: the metrics that a perfect model has at 100, as task and name.
    """

    content: dict[str, Any]
    register: Callable[[str, dict[str, Any]], None]
    answer: Callable[[dict, dict, list[int]], dict[str, Any]]
    options: tuple[Any, ...]
    best: tuple[tuple[str, str], ...]


def written(folder: Path, name: str, content: dict) -> str:
    path = folder / f"{name}.json"
    path.write_text(json.dumps(content))
    return str(path)


def instances(record: dict, annotations: list[dict], numbers: list[int]) -> Instances:
    boxes = [BoxMode.convert(a["bbox"], a["bbox_mode"], BoxMode.XYXY_ABS) for a in annotations]
    return Instances(
        (record["height"], record["width"]),
        pred_boxes=Boxes(torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)),
        scores=torch.full((len(annotations),), 0.9),
        pred_classes=torch.tensor([numbers[a["category_id"]] for a in annotations]).long(),
    )


def rles(record: dict, annotations: list[dict]) -> list[dict]:
    return [to_rle(a["segmentation"], record["height"], record["width"]) for a in annotations]


def coco(pictures: Path, folder: Path) -> Format:
    root = pictures / "shapes_coco"

    def answer(given, record, numbers):
        found = instances(record, record["annotations"], numbers)
        masks = [coco_mask.decode(rle) for rle in rles(record, record["annotations"])]
        size = (len(masks), record["height"], record["width"])
        found.pred_masks = torch.from_numpy(np.array(masks, dtype=bool).reshape(size))
        return {"instances": found}

    return Format(
        json.loads((root / "annotations/instances_val.json").read_text()),
        lambda name, content: register_coco_instances(
            name, {}, written(folder, name, content), str(root / "val")
        ),
        answer,
        ("INPUT.DATASET_MAPPER", "DatasetMapper"),
        (("bbox", "AP"), ("segm", "AP")),
    )


def panoptic(pictures: Path, folder: Path) -> Format:
    root = folder / "shapes_coco"
    spec = ShapesSpec(height=48, width=64, stuff=("grass", "water"))
    write_coco_shapes(root, {"val": 4}, spec, panoptic=True, progress=False)

    def answer(given, record, numbers):
        ids = torch.from_numpy(segment_ids(read_rgb(record["pan_seg_file_name"])).astype(np.int64))
        segments = [
            {**s, "category_id": numbers[s["category_id"]]} for s in record["segments_info"]
        ]
        ids[~torch.isin(ids, torch.tensor([s["id"] for s in segments]))] = 0
        return {"panoptic_seg": (ids, segments)}

    return Format(
        json.loads((root / "annotations/panoptic_val.json").read_text()),
        lambda name, content: register_coco_panoptic(
            name, {}, str(root / "val"), str(root / "panoptic_val"), written(folder, name, content)
        ),
        answer,
        ("INPUT.DATASET_MAPPER", "DatasetMapper"),
        (("panoptic_seg", "PQ"), ("panoptic_seg", "PQ_th"), ("panoptic_seg", "PQ_st")),
    )


def ytvis(pictures: Path, folder: Path) -> Format:
    root = pictures / "shapes"

    def answer(given, record, numbers):
        frames = [{a["id"]: a for a in frame} for frame in record["annotations"]]
        tracks = sorted({i: a for frame in frames for i, a in frame.items()}.items())
        return {
            "image_size": (record["height"], record["width"]),
            "pred_scores": [0.9] * len(tracks),
            "pred_labels": [numbers[a["category_id"]] for _, a in tracks],
            "pred_masks": [
                [rles(record, [frame[i]])[0] if i in frame else None for frame in frames]
                for i, _ in tracks
            ],
            "pred_ids": [i for i, _ in tracks],
        }

    return Format(
        json.loads((root / "train.json").read_text()),
        lambda name, content: register_ytvis_instances(
            name, {}, written(folder, name, content), str(root / "train/JPEGImages")
        ),
        answer,
        ("INPUT.DATASET_MAPPER", "ClipDatasetMapper"),
        (("segm", "AP"), ("segm", "AR10")),
    )


def classification(pictures: Path, folder: Path) -> Format:
    """The "file" has a category and a video an annotation."""
    spec = MotionSpec(
        height=16, width=16, num_frames=(3, 3), classes=("left", "right", "clockwise")
    )
    write_motion_videos(folder / "motion", {"val": 6}, spec, progress=False)
    paths = sorted((folder / "motion/val").glob("*/*.mp4"))

    def register(name, content):
        by_id = {c["id"]: c["name"] for c in content["categories"]}
        labels = {i: label for label, i in enumerate(sorted(by_id))}
        lines = [f"{a['path']} {labels[a['category_id']]}" for a in content["annotations"]]
        (folder / f"{name}.txt").write_text("\n".join(lines))
        names = [by_id[i] for i in sorted(by_id)]
        register_video_list(name, str(folder / f"{name}.txt"), class_names=names)

    def answer(given, record, numbers):
        scores = torch.zeros(3)
        scores[numbers[record["label"]]] = 1
        return {"scores": scores}

    names = list(spec.classes)
    return Format(
        {
            "categories": [{"id": i, "name": name} for i, name in enumerate(names, 1)],
            "annotations": [
                {"path": str(path), "category_id": 1 + names.index(path.parent.name)}
                for path in paths
            ],
        },
        register,
        answer,
        (
            *("INPUT.DATASET_MAPPER", "VideoClipMapper", "INPUT.CLASSIFICATION.NUM_FRAMES_TEST", 1),
            *("INPUT.CLASSIFICATION.NUM_CROPS", 1, "INPUT.CLASSIFICATION.CROP_SIZE_TEST", 0),
        ),
        (("classification", "top1"), ("classification", "mean_class_accuracy")),
    )


def tracks(pictures: Path, folder: Path) -> Format:
    root = pictures / "shapes_mot/val"

    def answer(given, record, numbers):
        frames = [instances(record, frame, numbers) for frame in record["annotations"]]
        for found, frame in zip(frames, record["annotations"], strict=True):
            found.track_ids = torch.tensor([a["id"] for a in frame])
        return {"image_size": (record["height"], record["width"]), "frames": frames}

    content = json.loads((INPUTS / "tracks/two_classes.json").read_text())
    for each in content["annotations"]:
        each["track_id"] += 100 * each["category_id"]  # there one track has both classes
    return Format(
        content,
        lambda name, content: register_coco_tracks(name, written(folder, name, content), str(root)),
        answer,
        ("INPUT.DATASET_MAPPER", "FramePairMapper"),
        (("mot", "HOTA"), ("mot", "MOTA"), ("mot", "IDF1")),
    )


FORMATS = {
    "coco": coco,
    "panoptic": panoptic,
    "ytvis": ytvis,
    "tracks": tracks,
    "classification": classification,
}


class Oracle(nn.Module):
    """Answers a test set perfectly, in the classes of ``names``; to what is of none it answers class 0."""

    def __init__(self, test: str, given: Format, names: list[str]) -> None:
        super().__init__()
        self.test, self.given, self.names, self.calls = test, given, names, 0

    def forward(self, batch: list[dict]) -> list[dict]:
        self.calls += 1
        (item,) = batch
        key = next(k for k in ("image_id", "sequence", "video_id") if k in item)
        (record,) = (r for r in DatasetCatalog.get(self.test) if r[key] == item[key])
        ours, theirs = self.names, MetadataCatalog.get(self.test).thing_classes
        numbers = [ours.index(name) if name in ours else 0 for name in theirs]
        return [self.given.answer(item, record, numbers)]


def evaluated(given: Format, content: dict, tmp_path: Path, *options: Any, is_named: bool = True):
    """Results of a perfect model of the format's classes on a file, or the error; and the model."""
    given.register("train", given.content)
    given.register("test", content)
    cfg = get_cfg()
    cfg.merge_from_list(
        [
            *("DATASETS.TRAIN", ("train",), "DATASETS.TEST", ("test",), "MODEL.DEVICE", "cpu"),
            *("DATALOADER.NUM_WORKERS", 0, "INPUT.MIN_SIZE_TEST", 0),
            *("OUTPUT_DIR", str(tmp_path / "out"), *given.options, *options),
        ]
    )
    DatasetCatalog.get("train")  # sets the names
    model = Oracle("test", given, list(MetadataCatalog.get("train").thing_classes))
    model.class_names = model.names if is_named else None
    try:
        return VideoTrainer.test(cfg, model), model
    except UserError as error:
        return error, model


def is_perfect(given: Format, results: dict) -> bool:
    return all(results[task][name] == pytest.approx(100) for task, name in given.best)


def renumbered(content: dict, number: Callable[[int], int]) -> dict:
    """The file with other category ids."""
    changed = deepcopy(content)
    for each in changed["categories"]:
        each["id"] = number(each["id"])
    for label in labels_of(changed):
        label["category_id"] = number(label["category_id"])
    return changed


def labels_of(content: dict) -> list[dict]:
    entries = content["annotations"]
    return (
        [s for e in entries for s in e["segments_info"]]
        if "segments_info" in entries[0]
        else entries
    )


def without(content: dict, name: str) -> dict:
    """The file without a class and its labels."""
    changed = deepcopy(content)
    (number,) = (c["id"] for c in changed["categories"] if c["name"] == name)
    changed["categories"] = [c for c in changed["categories"] if c["id"] != number]
    for entry in changed["annotations"]:
        if "segments_info" in entry:
            entry["segments_info"] = [
                s for s in entry["segments_info"] if s["category_id"] != number
            ]
    if "segments_info" not in changed["annotations"][0]:
        changed["annotations"] = [a for a in changed["annotations"] if a["category_id"] != number]
    return changed


def renamed(content: dict, before: str, after: str) -> dict:
    changed = deepcopy(content)
    for each in changed["categories"]:
        each["name"] = after if each["name"] == before else each["name"]
    return changed


def first_used(content: dict) -> str:
    """The first class that has labels."""
    used = {label["category_id"] for label in labels_of(content)}
    return next(c["name"] for c in content["categories"] if c["id"] in used)


def registered_cfg(given: Format, tmp_path: Path, *options: Any, **contents: dict):
    """A tiny DETR, with sets of these contents registered."""
    for name, content in contents.items():
        given.register(name, content)
    output = str(tmp_path / "out")
    return tiny_cfg(
        *("DATALOADER.NUM_WORKERS", 0, "SOLVER.IMS_PER_BATCH", 2, "OUTPUT_DIR", output),
        *("DATASETS.TEST", (), *options),
    )
