"""TrackFormer in `make demo`, beside the same model's detections linked by overlap."""

from typing import Any

from detectron2.config import CfgNode

from d2video.synthetic import ShapesSpec, write_mot_shapes
from demo.recipe import Comparison, Recipe, Run


def link_detections(cfg: CfgNode) -> dict[str, Any]:
    """The best result of the model's detections in single frames, linked by IoU."""
    from d2video.projects.trackformer.iou_baseline import evaluate

    (result,) = evaluate(cfg).values()
    return result


RECIPE = Recipe(
    runs=(
        Run(
            name="TrackFormer",
            config_file="configs/TrackFormer/trackformer_tiny_shapes.yaml",
            task="mot",
            metrics={
                "HOTA": "mean over IoU thresholds of the geometric mean of DetA and AssA",
                "DetA": "detection accuracy",
                "AssA": "association accuracy",
                "MOTA": "1 - (misses + false positives + identity switches) / objects",
                "IDF1": "F1 of boxes with the right identity",
                "IDSW": "identity switches",
                "MT": "tracks followed for 80 % of their time or more",
                "ML": "tracks followed for less than 20 %",
            },
            counts=("IDSW", "MT", "ML"),
            seeds={
                "mot/HOTA": (70.7, 67.5, 68.3),
                "mot/DetA": (73.5, 70.4, 68.9),
                "mot/AssA": (68.2, 65.0, 67.8),
                "mot/IDSW": (60, 70, 55),
            },
            class_metric=None,
            evaluations={"linked": link_detections},
            processes=2,
        ),
    ),
    write_data=write_mot_shapes,
    folder="shapes_mot",
    splits={"train": 400, "val": 30},
    # Three small, fast objects of one class: their boxes in neighbouring frames hardly overlap.
    spec=ShapesSpec(
        num_frames=(20, 24),
        max_objects=3,
        min_objects=3,
        size=(0.18, 0.25),
        speed=(0.7, 1.05),
        leaving=0.1,
        camera_motion=0.3,
        background_contrast=0.1,
        texture_contrast=0.25,
    ),
    summary=(
        "TrackFormer follows moving shapes of all kinds as one class: they cross, hide each other, "
        "leave and come back, and move by 0.7 to 1.05 of their size from frame to frame. Each clip "
        "shows a sequence of the validation split, which the model never saw: colours and numbers "
        "are track identities. The clips are the first ones of the split, not the best."
    ),
    comparisons=(
        Comparison(
            caption=(
                "What the track queries add: the same model's detections, linked by overlap with the "
                "thresholds that are best on these very sequences"
            ),
            task="mot",
            metrics=("HOTA", "DetA", "AssA", "MOTA", "IDF1", "IDSW"),
            rows={
                "track queries": "TrackFormer/metrics.json",
                "linked by IoU": "TrackFormer/linked.json",
            },
            counts=("IDSW",),
        ),
    ),
)
