#!/usr/bin/env python
"""Score a tracker's own detections, linked by the overlap of their boxes alone.

The difference to the tracker's own result on the same data is what its track queries add::

    tools/link_detections.py --config-file configs/TrackFormer/trackformer_mot17_half.yaml MODEL.WEIGHTS model.pth

Each frame goes through the model as a picture of its own; detections with a high enough score are
linked as SORT does without its Kalman filter (d2video/evaluation/iou_tracker.py).
"""

import argparse
import json
from pathlib import Path

import torch
from detectron2.config import CfgNode
from detectron2.evaluation import inference_on_dataset
from detectron2.modeling import build_model
from detectron2.utils.logger import setup_logger
from torch import nn

from d2video.checkpoint import VideoCheckpointer
from d2video.data import build_test_loader
from d2video.engine.setup import check_device, load_cfg
from d2video.evaluation import build_evaluator
from d2video.evaluation.iou_tracker import link_by_iou
from d2video.projects import register_all
from d2video.utils.errors import UserError, exit_on_user_error
from d2video.utils.files import replace_on_success


class LinkedDetector(nn.Module):
    """Answers to videos, as docs/architecture.md has them, from a model's answers to images.

    Args:
        model: answers an image with ``{"instances": Instances}``.
        score_threshold: detections count if their score is higher.
        iou_threshold, max_age: see :func:`link_by_iou`.
    """

    def __init__(
        self, model: nn.Module, score_threshold: float, iou_threshold: float, max_age: int
    ):
        super().__init__()
        self.model = model
        self.score_threshold = score_threshold
        self.iou_threshold = iou_threshold
        self.max_age = max_age

    def forward(self, batched_inputs: list[dict]) -> list[dict]:
        return [self._follow(item) for item in batched_inputs]

    def _follow(self, item: dict) -> dict:
        size = (item["height"], item["width"])
        frames = []
        for frame in item["image"]:
            answer = self.model([{"image": frame, "height": size[0], "width": size[1]}])[0]
            found = answer["instances"].to("cpu")
            frames.append(found[found.scores > self.score_threshold])
        linked = link_by_iou(frames, self.iou_threshold, self.max_age)
        return {"image_size": size, "frames": linked}


def evaluate(
    cfg: CfgNode, score_threshold: float, iou_threshold: float, max_age: int
) -> dict[str, dict[str, dict[str, float]]]:
    """{test set: {task: metrics}} of the linked detections of ``MODEL.WEIGHTS``.

    Raises:
        UserError: no test set, or weights that do not fit.
    """
    if not cfg.DATASETS.TEST:
        raise UserError("DATASETS.TEST is empty: name the data sets to evaluate on")
    if cfg.MODEL.MASK_ON:
        raise UserError("boxes are linked, not masks: set MODEL.MASK_ON False")
    model = build_model(cfg).eval()
    VideoCheckpointer(model, strict=True).load(cfg.MODEL.WEIGHTS)
    linked = LinkedDetector(model, score_threshold, iou_threshold, max_age).eval()
    results = {}
    with torch.no_grad():
        for name in cfg.DATASETS.TEST:
            evaluator = build_evaluator(name, f"{cfg.OUTPUT_DIR}/linked/{name}")
            results[name] = inference_on_dataset(linked, build_test_loader(cfg, name), evaluator)
    return results


@exit_on_user_error
def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config-file", required=True)
    parser.add_argument("--score-threshold", type=float, default=0.5)
    parser.add_argument("--iou-threshold", type=float, default=0.3)
    parser.add_argument("--max-age", type=int, default=1, help="frames that a track waits unseen")
    parser.add_argument("--json", type=Path, help="write the figures to this file as well")
    parser.add_argument("opts", nargs="*", metavar="KEY VALUE", help="config keys to change")
    args = parser.parse_args(argv)
    register_all()
    setup_logger(name="d2video")
    cfg = load_cfg(args.config_file, args.opts)
    check_device(cfg.MODEL.DEVICE)
    results = evaluate(cfg, args.score_threshold, args.iou_threshold, args.max_age)
    if args.json:
        with replace_on_success(args.json) as partial:
            partial.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
