"""DETR as tests of every system run it; see tests/helpers/systems.py."""

from pathlib import Path

from detectron2.config import CfgNode

from d2video.synthetic import ShapesSpec, write_coco_shapes
from tests.helpers.systems import GpuRun
from tests.projects.DETR.tiny import SIZES, make_image, tiny_cfg

CONFIG = "configs/DETR/detr_tiny_shapes.yaml"


def write_data(root: Path) -> None:
    spec = ShapesSpec(height=48, width=64, num_frames=(4, 4))
    write_coco_shapes(root / "shapes_coco", {"train": 9}, spec, progress=False)


# What the loss curve rests on stays as it is when the demo's recipe changes.
PAPER = [
    *("MODEL.DETR.ANCHOR_QUERIES", False),
    *("MODEL.DETR.LOOK_FORWARD_TWICE", False),
    *("MODEL.DETR.QUERY_GROUPS", 1),
    *("SOLVER.BASE_LR", 0.0008),
]


def training_cfg(*options) -> CfgNode:
    data = ("DATASETS.TRAIN", ["shapes_coco_train"], "MODEL.DETR.DROPOUT", 0.1)
    return tiny_cfg(
        *PAPER, *data, "DATALOADER.ASPECT_RATIO_GROUPING", True, *options, config=CONFIG
    )


def fuzzed_models() -> list[tuple[CfgNode, tuple[str, ...]]]:
    return [(tiny_cfg(), ("MODEL.DETR", "MODEL.RESNETS", "MODEL.BACKBONE"))]


def gpu_runs() -> dict[str, GpuRun]:
    """Panoptic; and the demo's recipe, in groups of queries, which follows objects."""
    panoptic = tiny_cfg(
        *("MODEL.MASK_ON", True, "MODEL.DETR.PANOPTIC.ENABLED", True),
        *("MODEL.DETR.PANOPTIC.NUM_THINGS", 2, "MODEL.DETR.PANOPTIC.SCORE_THRESH", 0.0),
        *("MODEL.DETR.SCORE_THRESH_TEST", 0.0),
    )
    linked = tiny_cfg(
        *("MODEL.DETR.LINK", True, "MODEL.DETR.LINKING.LOW_SCORE", 0.0),
        *("MODEL.DETR.LINKING.NEW_SCORE", 0.0, "MODEL.DETR.SCORE_THRESH_TEST", 0.0),
        config=CONFIG,
    )
    batch = [make_image(), make_image(32, 64, objects=1, seed=1)]
    video = [make_image(seed=seed)["image"] for seed in range(4)]
    item = {"image": video[0], "height": 80, "width": 112}
    return {
        "panoptic": GpuRun(panoptic, batch, (80, 112), video, [item]),
        "linked": GpuRun(linked, batch, (80, 112), video, [item, {**item, "image": video}]),
    }


# The row's numbers of layers are those of its config.
ABLATION_SIZES = SIZES


def ablation_batch(cfg: CfgNode) -> list[dict]:
    return [make_image(), make_image(32, 64, objects=1, seed=1)]
