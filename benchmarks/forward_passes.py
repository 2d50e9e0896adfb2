"""A forward pass of each system on zeros of a given size, for counts and times."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Size:
    """The sizes of a forward pass; a system uses some of them.

    Attributes:
        frames: of a clip (VisTR, VTN).
        height: of the network's input, in pixels; for VTN both sides.
        width: of the network's input, in pixels.
        slots: of VisTR.
        kept: slots or queries that run through the mask head; in training those with an object.
        tracks: TrackFormer's track queries.
        patches: of IPT; their number grows as the pixels of an image do.
    """

    frames: int = 36
    height: int = 300
    width: int = 540
    slots: int = 10
    kept: int = 10
    tracks: int = 20
    patches: int = 1


def _vistr(model: Any, size: Size) -> object:
    frames = _zeros(model, 1, size.frames, 3, size.height, size.width)
    found = model.network(frames, None, all_layers=model.training)
    slots = torch.arange(size.kept, device=model.device)
    return found, model.network.masks(found.encoded, torch.zeros_like(slots), slots)


def _detr(model: Any, size: Size) -> object:
    images = _zeros(model, 1, 3, size.height, size.width)
    found = model.network(images, None, all_layers=model.training)
    if found.masks is None:
        return found
    queries = torch.arange(size.kept, device=model.device)
    return found, found.masks(torch.zeros_like(queries), queries)


def _trackformer(model: Any, size: Size) -> object:
    """A frame, after one whose projected features are at hand."""
    from d2video.projects.trackformer.network.base import Pyramid, TrackQueries

    network = model.network
    features = network.features(_zeros(model, 1, 3, size.height, size.width), None)
    current = network.project(features)
    previous = Pyramid([torch.zeros_like(level) for level in current.levels], None)
    embeddings = _zeros(model, 1, size.tracks, network.transformer.width)
    tracks = TrackQueries(embeddings, _zeros(model, 1, size.tracks, 4))
    return network(features, current, [previous], tracks, all_layers=model.training)


def _vtn(model: Any, size: Size) -> object:
    features = model.frame_encoder(_zeros(model, size.frames, 3, size.height, size.height))
    return model.classify(features[None], torch.arange(size.frames, device=model.device)[None])


def _ipt(model: Any, size: Size) -> object:
    side = model.network.patch_size
    return model.network(_zeros(model, size.patches, 3, side, side), 0)


def _zeros(model: Any, *shape: int) -> Tensor:
    return torch.zeros(shape, device=model.device)


# By meta-architecture.
PASSES: dict[str, Callable[[Any, Size], object]] = {
    "DETR": _detr,
    "IPT": _ipt,
    "TrackFormer": _trackformer,
    "VisTR": _vistr,
    "VTN": _vtn,
}
# Config keys of sizes that weights are made for.
SIZE_KEYS = {
    "VisTR": {"INPUT.CLIP.NUM_FRAMES": "frames", "MODEL.VISTR.NUM_SLOTS": "slots"},
}
