"""What ``d2video benchmark`` measures of a model at inference: a row of its table each.

A system whose models are not measured frame by frame registers its rows by the name of its
meta-architecture.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from detectron2.config import CfgNode
from torch import Tensor, nn

from d2video.utils.measuring import Run


@dataclass(frozen=True)
class Setting:
    """On what a model is measured.

    Attributes:
        size: (h, w) of the network's input, in pixels.
        video_size: (H, W) of the video and of the answers, in pixels.
        folder: for files, empty.
    """

    size: tuple[int, int]
    video_size: tuple[int, int]
    folder: Path

    def frames(self, count: int) -> list[Tensor]:
        """Random frames, uint8 (3, h, w), the same ones each time."""
        generator = torch.Generator().manual_seed(0)
        return [
            torch.randint(0, 256, (3, *self.size), dtype=torch.uint8, generator=generator)
            for _ in range(count)
        ]


@dataclass(frozen=True)
class Row:
    """A row of the table.

    Attributes:
        prepare: gives what is measured, of (config, model in evaluation mode, setting).
        num_frames: that it takes through the model.
    """

    prepare: Callable[[CfgNode, nn.Module, Setting], Run]
    num_frames: int


# By meta-architecture, where the model is not measured as a stream of frames: its rows by name, from a
# config.
BENCHMARK_REGISTRY: dict[str, Callable[[CfgNode], dict[str, Row]]] = {}


def rows_of(cfg: CfgNode) -> dict[str, Row]:
    """The rows of a config's model, by name."""
    rows = BENCHMARK_REGISTRY.get(cfg.MODEL.META_ARCHITECTURE)
    return rows(cfg) if rows else {"8 frames to answers": Row(partial(stream, num_frames=8), 8)}


def stream(cfg: CfgNode, model: nn.Module, setting: Setting, num_frames: int) -> Run:
    """Frames of a video, one after the other, to their answers."""
    frames = setting.frames(num_frames)
    return lambda: list(model.stream_video(iter(frames), setting.video_size))  # type: ignore[operator]
