"""DETR as two graphs: ``detect`` for the frames, ``masks`` for the queries that are kept."""

import torch
from d2video.projects.detr.detr import DETR
from detectron2.config import CfgNode
from torch import Tensor, nn

from d2video.export import Graphs, GraphSpec, export_graphs
from d2video.export.mask_graph import encoded_names, encoded_tensors, mask_graph
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
    branch = model.network.mask_branch
    if branch is not None:
        outputs += encoded_names(branch)
    graphs = {
        "detect": GraphSpec(
            detect, {"frames": traced}, {"frames": checked}, {"frames": _FRAMES}, outputs
        )
    }
    if branch is not None:
        with torch.no_grad():
            encoded = [detect(frames)[2:] for frames in (traced, checked)]
        graphs["masks"] = mask_graph(branch, *encoded)
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
        branch = self.model.network.mask_branch
        if predictions.encoded is None or branch is None:
            return found
        return (*found, *encoded_tensors(branch, predictions.encoded))
