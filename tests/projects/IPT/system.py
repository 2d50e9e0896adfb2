"""IPT as tests of every system run it; see tests/helpers/systems.py."""

from pathlib import Path

import torch
from d2video.projects.ipt.tasks import parse_tasks
from detectron2.config import CfgNode

from d2video.synthetic import write_restoration_images
from tests.helpers.systems import GpuRun
from tests.projects.IPT.tiny import SIZES, make_patches, tiny_cfg

CONFIG = "configs/IPT/ipt_tiny_images.yaml"


def write_data(root: Path) -> None:
    write_restoration_images(root / "shapes_images", {"train": 5}, progress=False)


def training_cfg(*options) -> CfgNode:
    return tiny_cfg(
        *("DATASETS.TRAIN", ["shapes_images_train"], "INPUT.DATASET_MAPPER", "RestorationMapper"),
        *("INPUT.EPOCH_UNIT", "video", "DATALOADER.FILTER_EMPTY_ANNOTATIONS", False),
        *("DATALOADER.ASPECT_RATIO_GROUPING", False, "SOLVER.OPTIMIZER", "ADAMW", *options),
    )


def fuzzed_models() -> list[tuple[CfgNode, tuple[str, ...]]]:
    return [(tiny_cfg(), ("MODEL.IPT", "MODEL.PIXEL"))]


def gpu_runs() -> dict[str, GpuRun]:
    cfg = tiny_cfg("MODEL.IPT.TASK", "derain", "MODEL.IPT.CONTRASTIVE_WEIGHT", 0.1)
    generator = torch.Generator().manual_seed(0)
    image = torch.randint(0, 256, (3, 30, 25), generator=generator, dtype=torch.uint8)
    return {
        "base": GpuRun(cfg, make_patches("derain", 1), (30, 25), [image, image], [{"image": image}])
    }


ABLATION_SIZES = SIZES


def ablation_batch(cfg: CfgNode) -> list[dict]:
    task = parse_tasks(cfg.MODEL.IPT.TASKS)[0]
    return make_patches(task.name, task.scale)
