"""VisTR as one graph, ``clip``: the frames of a window to class probabilities and masks of all slots."""

import torch
from d2video.projects.vistr.vistr import VisTR
from detectron2.config import CfgNode
from torch import Tensor, nn

from d2video.export import Graphs, GraphSpec, export_graphs
from d2video.utils.errors import UserError

# Sizes of frames that the graph is traced and checked with.
_TRACED, _CHECKED = (96, 160), (131, 107)


@export_graphs.register
def export_vistr(model: VisTR, cfg: CfgNode) -> Graphs:
    """
    Raises:
        UserError: the model is of a derived class, which may choose its slots in another way.
    """
    if type(model) is not VisTR:
        raise UserError(f"{type(model).__name__} cannot be exported; VisTR can")
    num_frames = model.network.num_frames
    generator = torch.Generator().manual_seed(0)
    traced, checked = (
        torch.randint(0, 256, (num_frames, 3, *size), generator=generator, dtype=torch.uint8)
        for size in (_TRACED, _CHECKED)
    )
    clip = GraphSpec(
        _Clip(model, flip=cfg.INPUT.FORMAT == "BGR"),
        {"frames": traced},
        {"frames": checked},
        {"frames": {2: "height", 3: "width"}},
        ["probabilities", "mask_logits"],
    )
    settings = {
        "num_frames": num_frames,
        "overlap": model.window_overlap,
        "link_iou": model.link_iou,
        "score_threshold": model.score_threshold,
        "frame_threshold": model.frame_threshold,
        "label_offset": model.label_offset,
    }
    return Graphs("d2video.projects.vistr.deployed:Segmentation", {"clip": clip}, settings)


class _Clip(nn.Module):
    """Frames (T, 3, H, W), RGB, to probabilities (T, S, K), rescored, and mask logits (S, T, h, w).

    The rescoring is that of all slots; those that the score threshold drops have lower scores, and so
    change nothing of the others'.
    """

    def __init__(self, model: VisTR, flip: bool):
        super().__init__()
        self.model = model
        self.flip = flip

    def forward(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        model, network = self.model, self.model.network
        images = model.normalize(frames.flip(1) if self.flip else frames)
        predictions = network(images[None], None, all_layers=False)
        probabilities = model.criterion.class_loss.probabilities(predictions.logits[-1, 0])
        probabilities = probabilities.unflatten(0, (network.num_frames, network.num_slots))
        assert predictions.encoded is not None
        slots = torch.arange(network.num_slots)
        masks = network.masks(predictions.encoded, torch.zeros_like(slots), slots)
        if model.rescoring:
            factors = model.rescoring_factors(probabilities, masks)
            probabilities = probabilities * factors[:, None]
        return probabilities, masks
