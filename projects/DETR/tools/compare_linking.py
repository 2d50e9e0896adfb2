#!/usr/bin/env python3
"""Compare MODEL.DETR.LINK with detections linked by overlap, on generated videos::

    make demo PROJECT=DETR
    projects/DETR/tools/compare_linking.py --config-file configs/DETR/detr_tiny_shapes.yaml \\
        --opts MODEL.WEIGHTS output/demo/DETR/model_final.pth

There are scenes with slow objects, with fast ones and with crossings. Every method sees the same answers
of the model, computed once. Its settings are the best of a grid on the split "tune" of a scene; reported
is the split "test". "linked" has the settings of the config on all scenes. ByteTrack is that of the
package trackers (pip install trackers), which this environment need not have.

With --parts the linking is scored without each of its parts, too. A model with masks is scored by the AP
of its tracks of masks (YouTube-VIS), too.
"""

import argparse
import itertools
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from d2video.cli.arguments import add_config, add_json, command_parser, model_cfg
from d2video.synthetic import ShapesSpec, write_mot_shapes, write_ytvis_shapes
from d2video.utils.errors import UserError, exit_on_user_error
from d2video.utils.files import write_json

# As the demo's images, but with two or three objects that move.
_SPEC = ShapesSpec(
    num_frames=(24, 32),
    classes=("circle", "triangle", "square"),
    min_objects=2,
    size=(0.35, 0.55),
    leaving=0.2,
    class_textures=True,
    class_colours=True,
    background_contrast=0.3,
    stuff=("grass", "water", "brick", "sand"),
)
SCENES = {
    "slow": replace(_SPEC, speed=(0.1, 0.3)),
    "fast": replace(_SPEC, speed=(0.5, 1.0)),
    "crossing": replace(_SPEC, speed=(0.2, 0.6), crossings=1.0),
}
_GRIDS: dict[str, dict[str, Sequence[Any]]] = {
    "linked": {},
    "linked, best settings": {
        "new_score": (0.7, 0.8, 0.9),
        "box_weight": (0.2, 0.5),
        "duplicate": (0.5, 0.6),
    },
    "IoU": {
        "score": (0.5, 0.7, 0.8, 0.9),
        "nms": (0.5, 1.0),
        "iou": (0.05, 0.2),
        "max_age": (1, 10),
    },
    "ByteTrack": {
        "score": (0.5, 0.7, 0.9),
        "nms": (0.5, 1.0),
        "low_score": (0.1, 0.4),
        "iou": (0.05, 0.2),
        "max_age": (3, 10),
    },
}

# What QueryLinker.step takes, frame by frame.
Video = list[tuple[Any, ...]]


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = command_parser(__doc__)
    add_config(parser)
    add_json(parser)
    parser.add_argument("--videos", type=int, default=20, help="in each split of each scene")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--data", type=Path, default=Path("output/linking"), help="for the videos")
    parser.add_argument("--parts", action="store_true", help="leave out each part in turn, too")
    return parser.parse_args(argv)


class Playback:
    """Stands in for a model's linker: gives out links that were made before."""

    def __init__(self, videos: list[list[Any]]) -> None:
        self._videos = iter(videos)

    def new(self) -> "Playback":
        self._links = iter(next(self._videos))
        return self

    def step(self, *_: Any) -> Any:
        return next(self._links)


class Scene:
    """One split of one kind of videos, and the model's answers to it."""

    def __init__(self, cfg: Any, model: Any, name: str, split: str, data: Path) -> None:
        from d2video.data.datasets.mot import register_mot
        from d2video.data.datasets.ytvis import register_ytvis_instances

        self.cfg, self.model = cfg, model
        self.boxes, self.masks = f"linking_{name}_{split}", f"linking_{name}_masks_{split}"
        register_mot(self.boxes, str(data / name / split), benchmark="MOT17", class_name="shape")
        masks = data / f"{name}_masks"
        images = str(masks / split / "JPEGImages")
        register_ytvis_instances(self.masks, {}, str(masks / f"{split}.json"), images)
        self.items, self.videos = self._answers(self.boxes)

    def _answers(self, dataset: str) -> tuple[list[dict], list[Video]]:
        from d2video.data import build_test_loader

        items, videos = [], []
        for (item,) in build_test_loader(self.cfg, dataset):
            video = []
            for frame in item.pop("image"):
                canvas, padding = self.model.batch([frame[None]])
                predictions = self.model.predict(canvas[:, 0], padding, all_layers=False)
                video.append(self.model.followed(predictions.last_on_host()))
            items.append(item)
            videos.append(video)
        return items, videos

    def tracking(self, link: Callable[[Video], list[Any]]) -> dict[str, float]:
        """The tracking metrics of the boxes, whatever the class."""
        from d2video.evaluation import build_evaluator

        evaluator = build_evaluator(self.boxes, f"{self.cfg.OUTPUT_DIR}/{self.boxes}")
        for item, video in zip(self.items, self.videos, strict=True):
            size = (item["height"], item["width"])
            frames = [_instances(*each, size) for each in zip(video, link(video), strict=True)]
            evaluator.process([item], [{"image_size": size, "frames": frames}])
        return evaluator.evaluate()["mot"]

    def mask_ap(self, link: Callable[[Video], list[Any]]) -> float:
        """The AP of the tracks of masks."""
        from d2video.data import build_test_loader
        from d2video.evaluation import build_evaluator, match_test_sets

        cfg = self.cfg.clone()
        cfg.DATASETS.TEST = (self.masks,)
        (classes,) = match_test_sets(cfg, self.model)
        evaluator = build_evaluator(self.masks, f"{self.cfg.OUTPUT_DIR}/{self.masks}", classes)
        _, videos = self._answers(self.masks)
        linker, self.model.linker = self.model.linker, Playback([link(video) for video in videos])
        for inputs in build_test_loader(cfg, self.masks):
            evaluator.process(inputs, self.model(inputs))
        self.model.linker = linker
        return evaluator.evaluate()["segm"]["AP"]


def _instances(answer: tuple[Any, ...], links: Any, size: tuple[int, int]) -> Any:
    import torch
    from detectron2.structures import Boxes, Instances

    from d2video.structures.boxes import box_cxcywh_to_xyxy

    scores, _, boxes, _ = (each[links.queries] for each in answer)
    scale = torch.tensor([size[1], size[0]] * 2)
    return Instances(
        size,
        pred_boxes=Boxes(box_cxcywh_to_xyxy(boxes) * scale),
        scores=scores,
        pred_classes=torch.zeros_like(links.track_ids),
        track_ids=links.track_ids,
    )


def _detections(answer: tuple[Any, ...], score: float, nms: float) -> Any:
    """Instances of one size, with the numbers of their ``queries``."""
    import torch
    from d2video.projects.detr.linking import Links
    from torchvision.ops import nms as suppress

    scores, probabilities = answer[:2]
    queries = (scores > score).nonzero()[:, 0]
    found = _instances(answer, Links(queries, queries, queries), (1000, 1000))
    found.pred_classes, found.queries = probabilities[queries].argmax(1), queries
    kept = suppress(found.pred_boxes.tensor, found.scores, nms)
    return found[torch.sort(kept).values]


def link_iou(video: Video, score: float, nms: float, iou: float, max_age: int) -> list[Any]:
    from d2video.projects.detr.linking import Links

    from d2video.evaluation.mot.iou_tracker import link_by_iou

    frames = link_by_iou([_detections(answer, score, nms) for answer in video], iou, max_age)
    return [Links(frame.queries, frame.track_ids, frame.pred_classes) for frame in frames]


def link_bytetrack(
    video: Video, score: float, nms: float, low_score: float, iou: float, max_age: int
) -> list[Any]:
    import supervision
    import torch
    from d2video.projects.detr.linking import Links
    from trackers import ByteTrackTracker

    tracker = ByteTrackTracker(
        lost_track_buffer=max_age,
        frame_rate=30,
        track_activation_threshold=score,
        high_conf_det_threshold=score,
        minimum_consecutive_frames=1,
        minimum_iou_threshold=iou,
    )
    links = []
    for answer in video:
        found = _detections(answer, low_score, nms)
        tracked = tracker.update(
            supervision.Detections(
                xyxy=found.pred_boxes.tensor.double().numpy(),
                confidence=found.scores.numpy(),
                class_id=found.pred_classes.numpy(),
                data={"query": found.queries.numpy()},
            )
        )
        tracked = tracked[tracked.tracker_id >= 0]
        queries = torch.from_numpy(tracked.data.get("query", tracked.tracker_id)).long()
        ids = torch.from_numpy(tracked.tracker_id).long()
        links.append(Links(queries, ids, torch.from_numpy(tracked.class_id).long()))
    return links


def link_queries(video: Video, **settings: Any) -> list[Any]:
    from d2video.projects.detr.linking import QueryLinker

    linker = QueryLinker(**settings)
    return [linker.step(*answer) for answer in video]


def _methods(settings: dict[str, Any]) -> Iterator[tuple[str, list[partial[list[Any]]]]]:
    """Each method with all settings of its grid."""
    functions: dict[str, Callable[..., list[Any]]] = {
        "IoU": link_iou,
        "ByteTrack": link_bytetrack,
    }
    for name, grid in _GRIDS.items():
        link = functions.get(name, partial(link_queries, **settings))
        values = [dict(zip(grid, each, strict=True)) for each in itertools.product(*grid.values())]
        yield name, [partial(link, **each) for each in values]


def _row(name: str, scene: str, result: dict[str, float], settings: dict[str, Any]) -> None:
    columns = ("HOTA", "DetA", "AssA", "MOTA", "IDF1", "AP")
    figures = "  ".join(f"{key} {result[key]:5.1f}" for key in columns if key in result)
    print(f"{scene:9} {name:28} {figures}  {settings or ''}", flush=True)


def compare(cfg: Any, args: argparse.Namespace) -> dict[str, Any]:
    """{scene: {method: its metrics and settings}}."""
    import importlib.util

    import torch
    from detectron2.modeling import build_model

    from d2video.checkpoint import VideoCheckpointer

    cfg.MODEL.DETR.LINK = True
    model = build_model(cfg).eval()
    VideoCheckpointer(model, strict=True).load(cfg.MODEL.WEIGHTS)
    settings = {key.lower(): value for key, value in cfg.MODEL.DETR.LINKING.items()}
    logging.getLogger("d2video.evaluation").setLevel(logging.WARNING)
    results: dict[str, Any] = {}
    for name, spec in SCENES.items():
        splits = {"tune": args.videos, "test": args.videos}
        write_mot_shapes(args.data / name, splits, spec, args.seed, progress=False)
        write_ytvis_shapes(args.data / f"{name}_masks", splits, spec, args.seed, progress=False)
        with torch.no_grad():
            tune, test = (Scene(cfg, model, name, split, args.data) for split in splits)
            results[name] = {}
            for method, links in _methods(settings):
                if method == "ByteTrack" and importlib.util.find_spec("trackers") is None:
                    print(f"{name:9} {method}: left out, pip install trackers")
                    continue
                best = links[0]
                if len(links) > 1:
                    best = max(links, key=lambda link: tune.tracking(link)["HOTA"])
                found = test.tracking(best)
                if model.network.mask_branch is not None:
                    found = {**found, "AP": test.mask_ap(best)}
                chosen = {key: best.keywords[key] for key in _GRIDS[method]}
                results[name][method] = {**found, "settings": chosen}
                _row(method, name, found, chosen)
            for part, changed in _parts(settings) if args.parts else ():
                found = test.tracking(partial(link_queries, **changed))
                results[name][part] = found
                _row(part, name, found, {})
    return results


def _parts(settings: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The settings without one part of the linking each."""
    least = settings["least_similarity"]
    for name, without in {
        "without embeddings": {"embedding_weight": 0.0, "least_similarity": least - 0.5},
        "without classes": {
            "class_weight": 0.0,
            "least_similarity": least - settings["class_weight"],
        },
        "without boxes": {"box_weight": 0.0},
        "without low scores": {"low_score": settings["new_score"]},
        "without patience": {"patience": 0},
        "with duplicates": {"duplicate": 1.0},
    }.items():
        yield name, settings | without


def run(args: argparse.Namespace) -> None:
    cfg = model_cfg(args)
    if cfg.MODEL.META_ARCHITECTURE != "DETR":
        raise UserError(f"MODEL.META_ARCHITECTURE is {cfg.MODEL.META_ARCHITECTURE}: set DETR")
    results = compare(cfg, args)
    if args.json:
        write_json(args.json, results)


@exit_on_user_error
def main(argv: Sequence[str] | None = None) -> None:
    run(parse_args(argv))


if __name__ == "__main__":
    main()
