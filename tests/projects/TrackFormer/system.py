"""TrackFormer as tests of every system run it; see tests/helpers/systems.py."""

from pathlib import Path

from detectron2.config import CfgNode

from d2video.synthetic import ShapesSpec, write_mot_shapes
from tests.projects.TrackFormer.tiny import NODE, tiny_cfg

CONFIG = "configs/TrackFormer/trackformer_tiny_shapes.yaml"


def write_data(root: Path) -> None:
    spec = ShapesSpec(height=48, width=64, num_frames=(4, 4))
    write_mot_shapes(root / "shapes_mot", {"train": 3}, spec, progress=False)


def training_cfg(*options) -> CfgNode:
    data = ("DATASETS.TRAIN", ["shapes_mot_train"], f"{NODE}.DROPOUT", 0.1)
    return tiny_cfg("multi_frame", *data, *options)


def fuzzed_models() -> list[tuple[CfgNode, tuple[str, ...]]]:
    return [(tiny_cfg(variant), (NODE,)) for variant in ("deformable", "detr")]
