"""Generated training data that replace a config's datasets in benchmarks."""

import os
from pathlib import Path
from typing import Any

from detectron2.config import CfgNode

from d2video.data.datasets.from_config import register_dataset
from d2video.synthetic.folder import FORMATS
from d2video.synthetic.motion_videos import MotionSpec
from d2video.synthetic.restoration import RestorationSpec
from d2video.synthetic.spec import ShapesSpec
from d2video.synthetic.stuff import STUFF_NAMES
from d2video.utils.errors import UserError

# What make-shapes calls what a mapper trains on.
_FORMAT_OF_MAPPER = {
    "ClipDatasetMapper": "ytvis",
    "DatasetMapper": "coco",
    "FramePairMapper": "mot",
    "ImageDatasetMapper": "coco",
    "RestorationMapper": "restoration",
    "VideoClipMapper": "motion",
}


def with_stand_in(
    cfg: CfgNode, folder: str | os.PathLike[str], size: tuple[int, int], count: int = 2
) -> CfgNode:
    """Return a copy of a config that trains on generated data for its mapper.

    Args:
        folder: where the data are written, unless they exist already.
        size: height and width of frames or images, in pixels.
        count: videos or images, for classes of motion at least one each. Videos are as long as a clip.

    Raises:
        UserError: no such data are generated for INPUT.DATASET_MAPPER, or the folder holds something else.
    """
    kind = _FORMAT_OF_MAPPER.get(cfg.INPUT.DATASET_MAPPER)
    if kind is None:
        raise UserError(
            f"INPUT.DATASET_MAPPER {cfg.INPUT.DATASET_MAPPER} has no generated data: set DATASETS.TRAIN "
            "to a dataset of your own"
        )
    if kind == "coco" and any("panoptic" in name for name in cfg.DATASETS.TRAIN):
        kind = "panoptic"
    root = Path(folder)
    spec = _spec(cfg, kind, *size)
    if kind == "motion":
        count = max(count, len(spec.classes))
    FORMATS[kind].write(root, {"train": count}, spec, 0, **FORMATS[kind].fixed, progress=False)
    registered, arguments = _entry(kind, root)
    name = f"generated {kind} in {root}"
    register_dataset(name, registered, arguments)
    cfg = cfg.clone()
    cfg.defrost()
    cfg.DATASETS.TRAIN = (name,)
    return cfg


def _spec(cfg: CfgNode, kind: str, height: int, width: int) -> Any:
    if kind == "restoration":
        return RestorationSpec(height=(height, height), width=(width, width))
    length = (cfg.INPUT.CLIP if kind == "ytvis" else cfg.INPUT.CLASSIFICATION).NUM_FRAMES
    if kind == "motion":
        length = max(length, MotionSpec().num_frames[1])
        return MotionSpec(num_frames=(length, length), height=height, width=width)
    return ShapesSpec(
        num_frames=(length, length),
        height=height,
        width=width,
        min_objects=4,
        max_objects=6,
        size=(0.15, 0.35),
        stuff=STUFF_NAMES if kind == "panoptic" else (),
    )


def _entry(kind: str, root: Path) -> tuple[str, dict[str, Any]]:
    """Format and arguments, as in DATASETS.REGISTER."""
    train = str(root / "train")
    instances = str(root / "annotations/instances_train.json")
    if kind == "ytvis":
        return "ytvis", {"json_file": f"{train}.json", "image_root": f"{train}/JPEGImages"}
    if kind == "mot":
        return "mot", {"root": train, "benchmark": "MOT17"}
    if kind == "coco":
        return "coco", {"json_file": instances, "image_root": train}
    if kind == "panoptic":
        return "coco_panoptic", {
            "image_root": train,
            "panoptic_root": str(root / "panoptic_train"),
            "panoptic_json": str(root / "annotations/panoptic_train.json"),
            "instances_json": instances,
        }
    if kind == "motion":
        return "video_folders", {"video_root": train}
    return "image_folder", {"image_root": train}
