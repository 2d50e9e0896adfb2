"""The network, its config keys and its data, which register themselves."""

import os
from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from detectron2.config import CfgNode, configurable
from detectron2.modeling import META_ARCH_REGISTRY
from torch import Tensor, nn

from d2video.config import register_config
from d2video.config.checks import check_counts
from d2video.data import register_video_folders
from d2video.inference.tasks import ClassificationTask
from d2video.structures import ClassHead
from d2video.utils.errors import UserError


@register_config
def add_toy_config(cfg: CfgNode) -> None:
    cfg.MODEL.TOY = CfgNode()
    cfg.MODEL.TOY.NUM_CLASSES = 3
    cfg.MODEL.TOY.DROPOUT = 0.0


for _split in ("train", "val"):
    _root = os.path.expanduser(os.getenv("DETECTRON2_DATASETS", "datasets"))
    register_video_folders(f"toy_{_split}", os.path.join(_root, "toy", _split))


@META_ARCH_REGISTRY.register()
class Toy(nn.Module):
    """A linear layer on the average colour of a clip."""

    task = ClassificationTask()

    @configurable
    def __init__(self, *, num_classes: int, dropout: float = 0.0):
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(3, num_classes)
        self.class_head = ClassHead(("head.",), range(num_classes), "MODEL.TOY.NUM_CLASSES")

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict[str, Any]:
        node = cfg.MODEL.TOY
        check_counts(node, "MODEL.TOY", ("NUM_CLASSES",))
        if not 0 <= node.DROPOUT < 1:
            raise UserError(f"MODEL.TOY.DROPOUT is {node.DROPOUT}: set 0 or more, below 1")
        return {"num_classes": node.NUM_CLASSES, "dropout": node.DROPOUT}

    def forward(self, batched_inputs: list[dict]) -> dict[str, Tensor] | list[dict]:
        if not self.training:
            return [self._answer(item) for item in batched_inputs]
        logits = torch.stack([self._logits(item["image"]) for item in batched_inputs])
        labels = torch.tensor([item["label"] for item in batched_inputs], device=logits.device)
        return {"loss_cls": F.cross_entropy(logits, labels)}

    def stream_video(
        self, frames: Iterator[Tensor], output_size: tuple[int, int]
    ) -> Iterator[dict[str, Tensor]]:
        for frame in frames:
            yield {"class_scores": self._logits(frame[None]).softmax(-1).cpu()}

    @torch.no_grad()
    def _answer(self, item: dict) -> dict[str, Any]:
        scores = [self._logits(view["image"]).softmax(-1) for view in item["views"]]
        return {"scores": torch.stack(scores).mean(0).cpu(), "video_id": item["video_id"]}

    def _logits(self, clip: Tensor) -> Tensor:
        """From frames (T,3,h,w) to (K,)."""
        colour = clip.to(self.head.weight.device).float().mean((0, 2, 3)) / 128 - 1
        return self.head(self.dropout(colour))
