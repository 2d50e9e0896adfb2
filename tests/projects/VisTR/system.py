"""VisTR as tests of every system run it; see tests/helpers/systems.py."""

from pathlib import Path

from detectron2.config import CfgNode

from d2video.synthetic import ShapesSpec, write_ytvis_shapes
from tests.projects.VisTR.tiny import CONFIG as CONFIG
from tests.projects.VisTR.tiny import SIZES, make_clip, tiny_cfg


def write_data(root: Path) -> None:
    spec = ShapesSpec(height=48, width=64, num_frames=(4, 4))
    write_ytvis_shapes(root / "shapes", {"train": 4}, spec, progress=False)


def training_cfg(*options) -> CfgNode:
    return tiny_cfg("MODEL.VISTR.DROPOUT", 0.1, *options)


def fuzzed_models() -> list[tuple[CfgNode, tuple[str, ...]]]:
    return [(tiny_cfg(), ("MODEL.VISTR", "INPUT.CLIP", "TEST.VIDEO"))]


ABLATION_SIZES = SIZES


def ablation_batch(cfg: CfgNode) -> list[dict]:
    return [make_clip(32, 40, num_frames=cfg.INPUT.CLIP.NUM_FRAMES)]
