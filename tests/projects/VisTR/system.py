"""VisTR as tests of every system run it; see tests/helpers/systems.py."""

from pathlib import Path

from detectron2.config import CfgNode

from d2video.synthetic import ShapesSpec, write_ytvis_shapes
from tests.helpers.systems import GpuRun
from tests.projects.VisTR.tiny import CONFIG as CONFIG
from tests.projects.VisTR.tiny import SIZES, make_clip, tiny_cfg


def write_data(root: Path) -> None:
    spec = ShapesSpec(height=48, width=64, num_frames=(4, 4))
    write_ytvis_shapes(root / "shapes", {"train": 4}, spec, progress=False)


def training_cfg(*options) -> CfgNode:
    return tiny_cfg("MODEL.VISTR.DROPOUT", 0.1, *options)


def fuzzed_models() -> list[tuple[CfgNode, tuple[str, ...]]]:
    return [(tiny_cfg(), ("MODEL.VISTR", "INPUT.CLIP", "TEST.VIDEO"))]


def gpu_runs() -> dict[str, GpuRun]:
    """Windows of four frames, of which three are new: the waits of a window are shared by them."""
    shown = ("MODEL.VISTR.SCORE_THRESH_TEST", 0.0, "MODEL.VISTR.FRAME_SCORE_THRESH_TEST", 0.0)
    cfg = tiny_cfg("INPUT.CLIP.NUM_FRAMES", 4, *shown)
    batch = [make_clip(num_frames=4), make_clip(32, 64, 1, num_frames=4, seed=1)]
    video = make_clip(num_frames=7, seed=2)["image"]
    item = {"image": video, "height": 80, "width": 112}
    rescored = tiny_cfg(
        *("INPUT.CLIP.NUM_FRAMES", 4, "MODEL.VISTR.MATCHING", "frame"),
        *("MODEL.VISTR.MASK_SCORES", 1.0, "MODEL.VISTR.SOFT_NMS", True),
        *("MODEL.VISTR.QUERY_MASKS", True, *shown),
    )
    return {
        "sequences": GpuRun(cfg, batch, (80, 112), video, [item, {**item, "image": video[0]}]),
        "rescored": GpuRun(rescored, batch, (80, 112), video),
    }


ABLATION_SIZES = SIZES


def ablation_batch(cfg: CfgNode) -> list[dict]:
    return [make_clip(32, 40, num_frames=cfg.INPUT.CLIP.NUM_FRAMES)]
