"""TrackFormer as tests of every system run it; see tests/helpers/systems.py."""

from pathlib import Path
from typing import Any

from detectron2.config import CfgNode

from d2video.synthetic import ShapesSpec, write_mot_shapes
from tests.helpers.systems import GpuRun
from tests.projects.TrackFormer.tiny import NODE, make_pair, tiny_cfg

CONFIG = "configs/TrackFormer/trackformer_tiny_shapes.yaml"


def write_data(root: Path) -> None:
    spec = ShapesSpec(height=48, width=64, num_frames=(4, 4))
    write_mot_shapes(root / "shapes_mot", {"train": 3}, spec, progress=False)


def training_cfg(*options) -> CfgNode:
    data = ("DATASETS.TRAIN", ["shapes_mot_train"], f"{NODE}.DROPOUT", 0.1)
    return tiny_cfg("multi_frame", *data, *options)


def fuzzed_models() -> list[tuple[CfgNode, tuple[str, ...]]]:
    return [(tiny_cfg(variant), (NODE,)) for variant in ("deformable", "detr")]


def gpu_runs() -> dict[str, GpuRun]:
    """The models of MOT17 and MOTS20; with two stages, which have a matching of their own; and the demo's,
    whose suppression of proposals, torchvision's, waits twice a frame, and whose links of tracks once."""
    batch = [make_pair(), make_pair((0, 2), (), height=32, seed=1)]
    video = [make_pair(seed=seed)["image"] for seed in range(4)]
    item = {"image": video[0], "height": 80, "width": 112}

    def run(variant: str, **options: Any) -> GpuRun:
        inputs = [item, {**item, "image": video}]
        return GpuRun(tiny_cfg(variant), batch, (80, 112), video, inputs, **options)

    return {
        "multi_frame": run("multi_frame"),
        "detr_masks": run("detr_masks"),
        "two_stage": run("two_stage"),
        "track_links": run("track_links", step_waits=12, frame_waits=4),
    }


# For rows with and without deformable attention, of one and of two frames.
ABLATION_SIZES = [
    *("MODEL.RESNETS.STEM_OUT_CHANNELS", 8),
    *("MODEL.RESNETS.RES2_OUT_CHANNELS", 16),
    *("MODEL.RESNETS.WIDTH_PER_GROUP", 4),
    *(f"{NODE}.NUM_QUERIES", 7),
    *(f"{NODE}.HIDDEN_DIM", 96),
    *(f"{NODE}.NUM_HEADS", 4),
    *(f"{NODE}.ENC_LAYERS", 1),
    *(f"{NODE}.DEC_LAYERS", 2),
    *(f"{NODE}.DIM_FEEDFORWARD", 32),
]


def ablation_batch(cfg: CfgNode) -> list[dict]:
    return [make_pair(), make_pair((0, 2), (), height=32, seed=1)]
