"""VTN as tests of every system run it; see tests/helpers/systems.py."""

from pathlib import Path

from detectron2.config import CfgNode

from d2video.synthetic import MotionSpec, write_motion_videos
from tests.helpers.systems import GpuRun
from tests.projects.VTN.tiny import NODE, SIZES, make_clip, tiny_cfg

CONFIG = "configs/VTN/vtn_tiny_motion.yaml"


def write_data(root: Path) -> None:
    spec = MotionSpec(height=32, width=32, num_frames=(9, 9))
    write_motion_videos(root / "motion", {"train": 8}, spec, progress=False)


def training_cfg(*options) -> CfgNode:
    return tiny_cfg(
        "resnet",
        *("DATASETS.TRAIN", ["motion_train"], "INPUT.DATASET_MAPPER", "VideoClipMapper"),
        *("INPUT.CLASSIFICATION.NUM_FRAMES", 4, "INPUT.CLASSIFICATION.CLIP_SECONDS", 0.4),
        *("MODEL.VTN.NUM_CLASSES", 8, "MODEL.VTN.DROPOUT", 0.1),
        *("INPUT.EPOCH_UNIT", "video", "DATALOADER.FILTER_EMPTY_ANNOTATIONS", False),
        *("DATALOADER.ASPECT_RATIO_GROUPING", False, "INPUT.FORMAT", "RGB"),
        *("SOLVER.OPTIMIZER", "ADAMW", "SOLVER.BACKBONE_MULTIPLIER", 0.1, *options),
    )


def fuzzed_models() -> list[tuple[CfgNode, tuple[str, ...]]]:
    return [
        (tiny_cfg(), ("MODEL.VTN", "MODEL.RESNETS")),
        (tiny_cfg("vit"), ("MODEL.VTN",)),
    ]


def gpu_runs() -> dict[str, GpuRun]:
    """With reversed clips."""
    cfg = tiny_cfg("resnet", f"{NODE}REVERSED_CLASSES", [-1, 2, 1, -1, -1])
    batch = [make_clip(), make_clip(4, label=2, seed=1)]
    clip = make_clip(8)
    return {"resnet": GpuRun(cfg, batch, (32, 32), [*clip["image"]], [clip])}


ABLATION_SIZES = [*SIZES, "MODEL.TIMM.NAME", "vit_with_weights"]


def ablation_batch(cfg: CfgNode) -> list[dict]:
    return [make_clip(), make_clip(4, label=2, seed=1)]
