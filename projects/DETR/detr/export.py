"""DETR as two graphs: ``detect`` for the frames, ``masks`` for the queries that are kept."""

from typing import Any

import torch
from d2video.projects.detr.detr import DETR
from detectron2.config import CfgNode
from torch import Tensor, nn

from d2video.export import Graphs, GraphSpec, export_graphs
from d2video.modeling.predictions import Encoded
from d2video.utils.errors import UserError

# Sizes of frames that the graphs are traced and checked with: two feature cells or more a side.
_TRACED, _CHECKED = (2, 3, 96, 160), (1, 3, 131, 107)
_FRAMES = {0: "batch", 2: "height", 3: "width"}


@export_graphs.register
def export_detr(model: DETR, cfg: CfgNode) -> Graphs:
    """
    Raises:
        UserError: MODEL.DETR.LINK, MASK_SCORES or SOFT_NMS is set, or the model is of a derived class,
            which may choose its detections in another way.
    """
    if type(model) is not DETR:
        raise UserError(f"{type(model).__name__} cannot be exported; DETR can")
    if model.linker is not None:
        raise UserError(f"{model.node}.LINK cannot be exported: set it False")
    if model.rescoring:
        raise UserError(
            f"{model.node}.MASK_SCORES and SOFT_NMS cannot be exported: set them 0 and False"
        )
    generator = torch.Generator().manual_seed(0)
    traced, checked = (
        torch.randint(0, 256, size, generator=generator, dtype=torch.uint8)
        for size in (_TRACED, _CHECKED)
    )
    detect = _Detect(model, flip=cfg.INPUT.FORMAT == "BGR")
    outputs = ["probabilities", "boxes"]
    if model.network.mask_branch is not None:
        outputs += _encoded_names(model)
    graphs = {
        "detect": GraphSpec(
            detect, {"frames": traced}, {"frames": checked}, {"frames": _FRAMES}, outputs
        )
    }
    if model.network.mask_branch is not None:
        graphs["masks"] = _masks(model, detect, traced, checked)
    panoptic = None
    if model.panoptic is not None:
        panoptic = {
            "num_things": model.panoptic.num_things,
            "score_threshold": model.panoptic.score_threshold,
            "official_merge": model.panoptic.official_merge,
        }
    settings = {"score_threshold": model.score_threshold, "panoptic": panoptic}
    return Graphs("d2video.deploy.detections:Detection", graphs, settings)


class _Detect(nn.Module):
    """Frames (B, 3, H, W), RGB, to probabilities (B, Q, K), boxes (B, Q, 4) and :class:`Encoded`."""

    def __init__(self, model: DETR, flip: bool):
        super().__init__()
        self.model = model
        self.flip = flip

    def forward(self, frames: Tensor) -> tuple[Tensor, ...]:
        images = self.model.normalize(frames.flip(1) if self.flip else frames)
        predictions = self.model.predict(images, None, all_layers=False)
        logits = predictions.logits[-1]
        probabilities = self.model.class_probabilities(logits.flatten(0, 1))
        found = (probabilities.unflatten(0, logits.shape[:2]), predictions.boxes[-1])
        if predictions.encoded is None or self.model.network.mask_branch is None:
            return found
        return (*found, *_flat(predictions.encoded))


class _Masks(nn.Module):
    """What :func:`_flat` gives, with images and queries (n,), to mask logits (n, h, w)."""

    def __init__(self, model: DETR):
        super().__init__()
        self.branch = model.network.mask_branch

    def forward(self, *inputs: Tensor) -> tuple[Tensor]:
        *parts, images, queries = inputs
        assert self.branch is not None
        return (self.branch.at_once(_unflat(parts), images, queries),)


def _flat(encoded: Encoded) -> tuple[Tensor, ...]:
    assert encoded.positions is not None
    own = (encoded.queries, encoded.memory, encoded.source, encoded.positions)
    return (*own, *encoded.laterals)


def _unflat(parts: list[Tensor]) -> Encoded:
    queries, memory, source, positions, *laterals = parts
    return Encoded(queries, memory, source, None, laterals, positions)


def _encoded_names(model: DETR) -> list[str]:
    assert model.network.mask_branch is not None
    count = len(model.network.mask_branch.mask_head.adapters)
    return ["queries_of", "memory", "source", "positions", *(f"lateral_{i}" for i in range(count))]


def _masks(model: DETR, detect: nn.Module, traced: Tensor, checked: Tensor) -> GraphSpec:
    names = _encoded_names(model)
    dynamic: dict[str, Any] = {"images": {0: "n"}, "queries": {0: "n"}}
    for name in names:
        dynamic[name] = {0: "batch"}
        if name in ("memory", "positions"):
            dynamic[name] |= {1: "rows", 2: "columns"}
        elif name == "source":
            dynamic[name] |= {2: "rows", 3: "columns"}
        elif name != "queries_of":
            dynamic[name] |= {2: f"rows_{name}", 3: f"columns_{name}"}
    with torch.no_grad():
        inputs = [dict(zip(names, detect(frames)[2:], strict=True)) for frames in (traced, checked)]
    inputs[0] |= {"images": torch.tensor([0, 1, 1]), "queries": torch.tensor([1, 0, 2])}
    inputs[1] |= {"images": torch.tensor([0]), "queries": torch.tensor([1])}
    return GraphSpec(_Masks(model), inputs[0], inputs[1], dynamic, ["mask_logits"])
