"""VTN as two graphs: ``features`` for frames, ``temporal`` for the features of a video."""

import torch
from d2video.projects.vtn.vtn import VTN
from detectron2.config import CfgNode
from torch import Tensor, nn

from d2video.export import Graphs, GraphSpec, export_graphs


@export_graphs.register
def export_vtn(model: VTN, cfg: CfgNode) -> Graphs:
    """A model that crops takes frames of the crop's size; others of any size that the backbone takes."""
    crop = model.stream_options["crop"]
    generator = torch.Generator().manual_seed(0)

    def frames(count: int, height: int, width: int) -> dict[str, Tensor]:
        shape = (count, 3, crop or height, crop or width)
        return {"frames": torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)}

    def video(length: int) -> dict[str, Tensor]:
        features = torch.randn(1, length, model.frame_encoder.width, generator=generator)
        return {"features": features, "frame_index": 3 * torch.arange(length)[None]}

    sizes = {0: "n"} if crop else {0: "n", 2: "height", 3: "width"}
    of_frames = {1: "frames"}
    graphs = {
        "features": GraphSpec(
            _Features(model, flip=cfg.INPUT.FORMAT == "BGR"),
            frames(2, 96, 160),
            frames(1, 131, 107),
            {"frames": sizes},
            ["features"],
        ),
        "temporal": GraphSpec(
            _Temporal(model),
            video(7),
            video(12),
            {"features": of_frames, "frame_index": of_frames},
            ["logits"],
        ),
    }
    settings = {"stream": model.stream_options}
    return Graphs("d2video.projects.vtn.deployed:Classification", graphs, settings)


class _Features(nn.Module):
    """Frames (n, 3, h, w), RGB, to (n, C)."""

    def __init__(self, model: VTN, flip: bool):
        super().__init__()
        self.encoder = model.frame_encoder
        self.flip = flip

    def forward(self, frames: Tensor) -> tuple[Tensor]:
        return (self.encoder(frames.flip(1) if self.flip else frames),)


class _Temporal(nn.Module):
    """Features (1, F, C) and frame numbers (1, F) to logits (1, K)."""

    def __init__(self, model: VTN):
        super().__init__()
        self.model = model

    def forward(self, features: Tensor, frame_index: Tensor) -> tuple[Tensor]:
        return (self.model.classify(features, frame_index),)
