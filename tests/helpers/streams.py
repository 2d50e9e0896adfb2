"""Tiny models of every system, with random weights, and frames for them."""

from typing import Any

import torch
from detectron2.config import CfgNode
from detectron2.modeling import build_model
from torch import Tensor

from tests.helpers.systems import SYSTEMS, declared

# What the fuzzer takes, by system and number: of TrackFormer and VTN there are two.
MODELS = [(name, index) for name in SYSTEMS for index in range(len(declared(name).fuzzed_models()))]


def model_cfg(system: str, index: int, *options: Any) -> CfgNode:
    cfg, _ = declared(system).fuzzed_models()[index]
    cfg.merge_from_list(["MODEL.IPT.TASK", "sr_x2", *options])  # IPT's has several tasks
    return cfg


def streaming_model(system: str, index: int, *options: Any) -> Any:
    """In evaluation mode; its weights are the same every time. They are larger than at the start of a
    training, where some are 0, so that everything makes a difference."""
    torch.manual_seed(0)
    model = build_model(model_cfg(system, index, *options)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape))
    return model


def frames_of(count: int, height: int = 32, width: int = 48) -> list[Tensor]:
    """Noise, uint8 (3, h, w) each, the same every time."""
    generator = torch.Generator().manual_seed(1)
    frames = torch.randint(
        0, 256, (count, 3, height, width), dtype=torch.uint8, generator=generator
    )
    return [*frames]


def tensors_of(answer: Any) -> dict[str, Tensor]:
    """The tensors in an answer to a frame, by name."""
    if hasattr(answer, "get_fields"):
        answer = answer.get_fields()
    if not isinstance(answer, dict):
        answer = getattr(answer, "tensor", answer)
        return {"": answer} if isinstance(answer, Tensor) else {}
    return {
        f"{name}.{below}".strip("."): tensor
        for name, value in answer.items()
        for below, tensor in tensors_of(value).items()
    }
