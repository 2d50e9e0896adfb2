"""Baseline: the model's detections, frame by frame, linked by the IoU of their boxes.

What a tracker scores above this on the same data is what its track queries add.
"""

import itertools
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.evaluation import DatasetEvaluator
from detectron2.modeling import build_model
from detectron2.structures import Instances
from torch import nn
from tqdm import tqdm

from d2video.checkpoint import VideoCheckpointer
from d2video.data import build_test_loader
from d2video.data.model_records import label_use
from d2video.evaluation import build_evaluator, match_test_sets
from d2video.evaluation.mot.iou_tracker import link_by_iou
from d2video.utils.errors import UserError

Results = dict[str, Any]


@torch.no_grad()
def detect(model: nn.Module, loader: Iterable[list[dict]]) -> list[tuple[dict, list[Instances]]]:
    """Every video of the loader, without its pictures, and the detections in its frames."""
    videos = []
    for (item,) in tqdm(loader, desc="detect", unit="video"):
        size = (item["height"], item["width"])
        frames = [
            model([{"image": frame, "height": size[0], "width": size[1]}])[0]["instances"].to("cpu")
            for frame in item["image"]
        ]
        videos.append(({key: value for key, value in item.items() if key != "image"}, frames))
    return videos


def evaluate(
    cfg: CfgNode,
    score_thresholds: Sequence[float] = (0.3, 0.4, 0.5),
    iou_thresholds: Sequence[float] = (0.1, 0.3),
    max_ages: Sequence[int] = (1, 5),
) -> dict[str, Results]:
    """{test set: the best result} of the linked detections of ``MODEL.WEIGHTS``.

    A result is the evaluator's answer and, under "settings", the thresholds: detections count if
    their score is higher than the first; see :func:`link_by_iou` for the others.

    Raises:
        UserError: no test set, one without boxes of tracks, masks, or weights that do not fit.
    """
    if not cfg.DATASETS.TEST:
        raise UserError("DATASETS.TEST is empty: name the datasets to evaluate on")
    if cfg.MODEL.MASK_ON:
        raise UserError("boxes are linked, not masks: set MODEL.MASK_ON False")
    use = label_use(cfg)
    of_labels = () if use is None else use.evaluators
    for name in cfg.DATASETS.TEST:
        kind = MetadataCatalog.get(name).get("evaluator_type")
        kinds = of_labels if kind == "labels" else (kind,)
        if name in DatasetCatalog and "mot" not in kinds:
            raise UserError(f"dataset {name} has no tracks of boxes: name others in DATASETS.TEST")
    model = build_model(cfg).eval()
    VideoCheckpointer(model, strict=True).load(cfg.MODEL.WEIGHTS)
    best = {}
    for name, classes in zip(cfg.DATASETS.TEST, match_test_sets(cfg, model), strict=True):
        videos = detect(model, build_test_loader(cfg, name))
        folder = f"{cfg.OUTPUT_DIR}/linked/{name}"
        evaluator = build_evaluator(name, folder, classes, use)
        results = [
            score_linked(videos, evaluator, *settings)
            for settings in itertools.product(score_thresholds, iou_thresholds, max_ages)
        ]
        if any("mot" not in result for result in results):
            raise UserError(f"dataset {name} has no labels: nothing can be compared")
        found = max(results, key=lambda result: result["mot"]["HOTA"])
        # Once more, so that the files that the evaluator writes are those of the best settings.
        best[name] = score_linked(videos, evaluator, *found["settings"].values())
    return best


def score_linked(
    videos: list[tuple[dict, list[Instances]]],
    evaluator: DatasetEvaluator,
    score_threshold: float,
    iou_threshold: float,
    max_age: int,
) -> Results:
    """The evaluator's answer to the detections of :func:`detect`, linked, and the settings."""
    evaluator.reset()
    for item, frames in videos:
        kept = [found[found.scores > score_threshold] for found in frames]
        linked = link_by_iou(kept, iou_threshold, max_age)
        size = (item["height"], item["width"])
        evaluator.process([item], [{"image_size": size, "frames": linked}])
    settings = {
        "score_threshold": score_threshold,
        "iou_threshold": iou_threshold,
        "max_age": max_age,
    }
    return {**evaluator.evaluate(), "settings": settings}
