"""A very small training of every system on generated data."""

from pathlib import Path
from typing import Any

SYSTEMS = ("VisTR", "TrackFormer", "DETR", "VTN", "IPT")

# Random numbers are drawn in every model, so that a test sees whether they go on.
_COMMON = {
    "SEED": 3,
    "DATASETS.TEST": (),
    "DATALOADER.NUM_WORKERS": 2,
    "SOLVER.IMS_PER_BATCH": 4,
    "SOLVER.MAX_ITER": 10,
    "SOLVER.STEPS": (),
    "SOLVER.WARMUP_ITERS": 3,
    "SOLVER.LR_SCHEDULER_NAME": "WarmupCosineLR",
    "SOLVER.CHECKPOINT_PERIOD": 5,
}


def write_data(system: str, root: Path) -> None:
    """In the places under ``root`` (DETECTRON2_DATASETS) where the built-in data sets look."""
    from d2video import synthetic as shapes

    small: dict[str, Any] = {"height": 48, "width": 64, "num_frames": (4, 4)}
    if system == "VisTR":
        spec = shapes.ShapesSpec(**small)
        shapes.write_ytvis_shapes(root / "shapes", {"train": 4}, spec, progress=False)
    elif system == "TrackFormer":
        spec = shapes.ShapesSpec(**small)
        shapes.write_mot_shapes(root / "shapes_mot", {"train": 3}, spec, progress=False)
    elif system == "DETR":
        spec = shapes.ShapesSpec(**small)
        shapes.write_coco_shapes(root / "shapes_coco", {"train": 9}, spec, progress=False)
    elif system == "VTN":
        motion = shapes.MotionSpec(height=32, width=32, num_frames=(9, 9))
        shapes.write_motion_videos(root / "motion", {"train": 8}, motion, progress=False)
    else:
        shapes.write_restoration_images(root / "shapes_images", {"train": 5}, progress=False)


def system_cfg(system: str, **overrides: Any) -> Any:
    """Config of a training; in ``overrides`` two underscores are a dot."""
    values = {**_COMMON, **{key.replace("__", "."): value for key, value in overrides.items()}}
    options = [item for pair in values.items() for item in pair]
    no_boxes = (
        *("INPUT.CLIP.EPOCH_UNIT", "video", "DATALOADER.FILTER_EMPTY_ANNOTATIONS", False),
        *("DATALOADER.ASPECT_RATIO_GROUPING", False, "INPUT.FORMAT", "RGB"),
    )
    if system == "VisTR":
        from tests.projects.VisTR.tiny import tiny_cfg as vistr_cfg

        return vistr_cfg("MODEL.VISTR.DROPOUT", 0.1, *options)
    if system == "TrackFormer":
        from tests.projects.TrackFormer.tiny import tiny_cfg as trackformer_cfg

        data = ("DATASETS.TRAIN", ["shapes_mot_train"], "MODEL.TRACKFORMER.DROPOUT", 0.1)
        return trackformer_cfg("multi_frame", *data, *options)
    if system == "DETR":
        from tests.projects.DETR.tiny import tiny_cfg as detr_cfg

        data = ("DATASETS.TRAIN", ["shapes_coco_train"], "MODEL.DETR.DROPOUT", 0.1)
        config = "configs/DETR/detr_tiny_shapes.yaml"
        return detr_cfg(*data, "DATALOADER.ASPECT_RATIO_GROUPING", True, *options, config=config)
    if system == "VTN":
        from tests.projects.VTN.tiny import tiny_cfg as vtn_cfg

        return vtn_cfg(
            "resnet",
            *("DATASETS.TRAIN", ["motion_train"], "INPUT.DATASET_MAPPER", "VideoClipMapper"),
            *("INPUT.VIDEO.NUM_FRAMES", 4, "INPUT.VIDEO.CLIP_SECONDS", 0.4),
            *("MODEL.VTN.NUM_CLASSES", 8, "MODEL.VTN.DROPOUT", 0.1, *no_boxes, *options),
        )
    from tests.projects.IPT.tiny import tiny_cfg as ipt_cfg

    return ipt_cfg(
        *("DATASETS.TRAIN", ["shapes_images_train"], "INPUT.DATASET_MAPPER", "RestorationMapper"),
        *(*no_boxes, *options),
    )
