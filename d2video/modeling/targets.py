"""Ground truth of one clip as tensors.

Shapes: n: instances, T: frames, H×W: the clip's frame size.
"""

from dataclasses import dataclass

import torch
from detectron2.structures import Instances
from torch import Tensor

from d2video.structures.boxes import box_xyxy_to_cxcywh


@dataclass
class ClipTargets:
    """Instances of one clip through time.

    Attributes:
        classes: (n,) int64, one class per instance.
        boxes: (n, T, 4) float32, cxcywh divided by the frame size; meaningless where not present.
        present: (n, T) bool, whether the instance is visible in the frame.
        masks: (n, T, H, W) bool, or None for a model without masks.
    """

    classes: Tensor
    boxes: Tensor
    present: Tensor
    masks: Tensor | None

    def __len__(self) -> int:
        return len(self.classes)

    @property
    def frame_classes(self) -> Tensor:
        """(n, T) int64, the official per-frame labels: the instance's class, 0 where absent."""
        return self.classes[:, None] * self.present

    @classmethod
    def from_instances(cls, frames: list[Instances], device: torch.device) -> "ClipTargets":
        """From the mapper's T ``Instances`` (docs/architecture.md): row i is the same object in all
        of them, ``gt_ids`` is -1 where it is absent."""
        height, width = frames[0].image_size
        scale = torch.tensor([width, height, width, height], dtype=torch.float32)
        boxes = torch.stack([frame.gt_boxes.tensor for frame in frames], dim=1)
        masks = None
        if frames[0].has("gt_masks"):
            masks = torch.stack([frame.gt_masks.tensor for frame in frames], dim=1).to(device)
        return cls(
            classes=frames[0].gt_classes.to(device),
            boxes=box_xyxy_to_cxcywh(boxes / scale).to(device),
            present=torch.stack([frame.gt_ids >= 0 for frame in frames], dim=1).to(device),
            masks=masks,
        )
