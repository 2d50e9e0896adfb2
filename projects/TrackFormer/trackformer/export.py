"""TrackFormer as graphs: ``features`` of a frame, ``detect`` with the track queries, ``masks`` of rows.

Shapes: H×W: a frame, L: levels, P: previous frames, n: track queries, Q: object queries, N = n + Q.
"""

from dataclasses import fields
from typing import Any

import torch
from d2video.projects.trackformer.network.base import FrameFeatures, Pyramid, TrackQueries
from d2video.projects.trackformer.network.detr_network import DETRTrackingNetwork
from d2video.projects.trackformer.tracker.official import OfficialTracker
from d2video.projects.trackformer.trackformer import TrackFormer
from detectron2.config import CfgNode
from torch import Tensor, nn

from d2video.export import Graphs, GraphSpec, export_graphs
from d2video.export.mask_graph import encoded_names, encoded_tensors, mask_graph
from d2video.utils.errors import UserError

# Sizes of frames that the graphs are traced and checked with.
_TRACED, _CHECKED = (1, 3, 96, 160), (1, 3, 131, 107)
# Numbers of tracks: the first is traced, the others are checked.
_TRACKS = (3, 0, 1, 5)


@export_graphs.register
def export_trackformer(model: TrackFormer, cfg: CfgNode) -> Graphs:
    """
    Raises:
        UserError: TRACK_LINKS or TRACK_ATTENTION is set, or the tracker wants public detections.
    """
    if model.track_links:
        raise UserError(f"{model.node}.TRACK_LINKS cannot be exported: train a model without it")
    if isinstance(model.network, DETRTrackingNetwork) and model.network.track_attention is not None:
        # ONNX's attention fails where it has no tracks.
        raise UserError(
            f"{model.node}.TRACK_ATTENTION cannot be exported: train a model without it"
        )
    settings = _settings(model)
    if settings["tracker"]["public_detections"]:
        raise UserError(
            f"{model.node}.TRACKER.PUBLIC_DETECTIONS cannot be exported, because only datasets have "
            "them: set it ''"
        )
    generator = torch.Generator().manual_seed(0)
    frames = [
        torch.randint(0, 256, size, generator=generator, dtype=torch.uint8)
        for size in (_TRACED, _CHECKED)
    ]
    features = _Features(model, flip=cfg.INPUT.FORMAT == "BGR")
    with torch.no_grad():
        found = [features(frame) for frame in frames]
    maps = [f"map_{index}" for index in range(features.num_maps)]
    levels = [f"level_{index}" for index in range(len(found[0]) - len(maps))]
    names = [*maps, *levels]
    graphs = {
        "features": GraphSpec(
            features,
            {"frame": frames[0]},
            {"frame": frames[1]},
            {"frame": {2: "height", 3: "width"}},
            names,
        )
    }

    detect = _Detect(model, len(maps), len(levels))
    width = model.network.transformer.width
    inputs = []
    for arrays, count in zip([found[0], *[found[1]] * 3], _TRACKS, strict=True):
        inputs.append(dict(zip(names, arrays, strict=True)))
        for step in range(model.network.num_previous):
            for name in levels:
                # Not the current frame's tensor itself: inputs are tensors of their own.
                inputs[-1][f"previous_{step}_{name}"] = inputs[-1][name].roll(step + 1, dims=-1)
        inputs[-1]["embeddings"] = torch.randn(count, width, generator=generator)
        inputs[-1]["boxes"] = torch.rand(count, 4, generator=generator)
    dynamic = {"embeddings": {0: "tracks"}, "boxes": {0: "tracks"}}
    for name in inputs[0].keys() - dynamic.keys():
        # All frames of a video have one size.
        grid = name.split("_", 2)[-1] if name.startswith("previous") else name
        dynamic[name] = {2: f"rows_{grid}", 3: f"columns_{grid}"}
    outputs = ["probabilities", "found_boxes", "found_embeddings"]
    branch = model.network.mask_branch
    if branch is not None:
        outputs += encoded_names(branch)
        with torch.no_grad():
            traced, checked = (detect(*each.values())[3:] for each in inputs[:2])
        two = [torch.cat([each, each]) for each in traced]
        graphs["masks"] = mask_graph(branch, two, checked)
    graphs["detect"] = GraphSpec(detect, inputs[0], inputs[1], dynamic, outputs, inputs[2:])
    return Graphs("d2video.projects.trackformer.deployed:Tracking", graphs, settings)


def _settings(model: TrackFormer) -> dict[str, Any]:
    tracker = model._tracker
    return {
        "official": isinstance(tracker, OfficialTracker),
        "tracker": {field.name: getattr(tracker, field.name) for field in fields(tracker)},
        "num_previous": model.network.num_previous,
    }


class _Features(nn.Module):
    """A frame (1, 3, H, W) uint8, RGB, to the maps that the mask branch reads and the L levels."""

    def __init__(self, model: TrackFormer, flip: bool):
        super().__init__()
        self.model = model
        self.flip = flip
        branch = model.network.mask_branch
        self.num_maps = 0 if branch is None else len(branch.mask_head.adapters)

    def forward(self, frame: Tensor) -> tuple[Tensor, ...]:
        network = self.model.network
        images = self.model.normalize(frame.flip(1) if self.flip else frame)
        features = network.features(images, None)
        return (*features.maps[: self.num_maps], *network.project(features).levels)


class _Detect(nn.Module):
    """What :class:`_Features` gives, the levels of P earlier frames, the nearest first, embeddings (n, C)
    and boxes (n, 4), to probabilities (N, K), boxes (N, 4), embeddings (N, C) and :class:`Encoded`."""

    def __init__(self, model: TrackFormer, num_maps: int, num_levels: int):
        super().__init__()
        self.model = model
        self.num_maps = num_maps
        self.num_levels = num_levels

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        *arrays, embeddings, boxes = inputs
        maps, levels = arrays[: self.num_maps], arrays[self.num_maps :]
        current, *previous = (
            Pyramid(levels[start : start + self.num_levels], None)
            for start in range(0, len(levels), self.num_levels)
        )
        # The network's mask branch reads the first maps, or all but the last; that one is not read.
        features = FrameFeatures([*maps, levels[0]], None)
        tracks = TrackQueries(embeddings[None], boxes[None])
        output = self.model.network(features, current, previous, tracks, all_layers=False)
        probabilities = self.model.criterion.class_loss.probabilities(output.logits[-1, 0])
        found = (probabilities, output.boxes[-1, 0], output.embeddings[0])
        branch = self.model.network.mask_branch
        if output.encoded is None or branch is None:
            return found
        return (*found, *encoded_tensors(branch, output.encoded))
