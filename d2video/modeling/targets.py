"""Ground truth as tensors.

Shapes: n: objects, T: frames, H×W: the size of an image or of a clip's frames.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from detectron2.structures import Instances
from torch import Tensor

from d2video.structures.boxes import box_xyxy_to_cxcywh
from d2video.utils.transfer import to_device


@dataclass
class ImageTargets:
    """Objects of one image.

    Attributes:
        classes: (n,) int64, class logits in [0, K).
        boxes: (n, 4) float32, cxcywh divided by the image's size; may overflow the image.
        masks: (n, H, W) bool, or None for a model without masks.
        ids: (n,) int64 >= 0, each once, for a tracker: an object has the same one in all frames.
    """

    classes: Tensor
    boxes: Tensor
    masks: Tensor | None = None
    ids: Tensor | None = None

    def __len__(self) -> int:
        return len(self.classes)

    @classmethod
    def from_instances(
        cls, instances: Instances, classes: Tensor, *, with_masks: bool
    ) -> "ImageTargets":
        """From a mapper's ``Instances`` (docs/extend/architecture.md).

        Args:
            classes: (n,) int64, class logits, on the device that the targets go to.
            with_masks: take ``gt_masks`` over.
        """
        device = classes.device
        boxes = _relative(instances.gt_boxes.tensor, instances.image_size)
        return cls(
            classes,
            to_device(boxes, device),
            to_device(instances.gt_masks.tensor, device) if with_masks else None,
            to_device(instances.gt_ids, device) if instances.has("gt_ids") else None,
        )


@dataclass
class ClipTargets:
    """Objects of one clip through time.

    Attributes:
        classes: (n,) int64, class logits in [0, K).
        boxes: (n, T, 4) float32, cxcywh divided by the frame's size; meaningless where not present.
        present: (n, T) bool, whether the object is visible in the frame.
        masks: (n, T, H, W) bool.
    """

    classes: Tensor
    boxes: Tensor
    present: Tensor
    masks: Tensor

    def __len__(self) -> int:
        return len(self.classes)

    @property
    def frame_classes(self) -> Tensor:
        """(n, T) int64, the official per-frame labels: the object's class, 0 where absent."""
        return self.classes[:, None] * self.present

    def by_frame(self) -> ImageTargets:
        """Each object in each frame as a target of its own: object i in frame t is row i·T + t."""
        classes, boxes, masks = self.frame_classes, self.boxes, self.masks
        return ImageTargets(classes.flatten(), boxes.flatten(0, 1), masks.flatten(0, 1))

    @classmethod
    def from_instances(cls, frames: list[Instances], classes: Tensor) -> "ClipTargets":
        """From a mapper's T ``Instances`` (docs/extend/architecture.md): row i is the same object in all
        of them, ``gt_ids`` is -1 where it is absent.

        Args:
            classes: (n,) int64, class logits, on the device that the targets go to.
        """
        device = classes.device
        boxes = torch.stack([frame.gt_boxes.tensor for frame in frames], dim=1)
        present = torch.stack([frame.gt_ids >= 0 for frame in frames], dim=1)
        masks = torch.stack([frame.gt_masks.tensor for frame in frames], dim=1)
        relative = _relative(boxes, frames[0].image_size)
        return cls(classes, *(to_device(each, device) for each in (relative, present, masks)))


def _relative(boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """(..., 4) XYXY in pixels to cxcywh divided by the size (height, width)."""
    height, width = size
    return box_xyxy_to_cxcywh(boxes / torch.tensor([width, height] * 2, dtype=torch.float32))


def stack_masks(targets: list[ImageTargets]) -> Tensor:
    """The masks of a batch on one canvas, as large as the largest image; False where padded.

    Returns:
        (G, H, W) bool, of the G objects of the batch.
    """
    masks = [target.masks for target in targets if target.masks is not None]
    assert len(masks) == len(targets), "a model with masks needs masks of every image"
    height = max(mask.shape[-2] for mask in masks)
    width = max(mask.shape[-1] for mask in masks)
    return torch.cat(
        [F.pad(mask, (0, width - mask.shape[-1], 0, height - mask.shape[-2])) for mask in masks]
    )


def shares_of_cells(masks: Tensor, grid: Tensor) -> Tensor:
    """How much of each cell of a coarse grid lies in a mask.

    Args:
        masks: (G, H, W) bool.
        grid: (..., h, w), a tensor of the grid's size.

    Returns:
        (G, h, w) float32 in [0, 1].
    """
    size = (grid.shape[-2], grid.shape[-1])
    return F.interpolate(masks[:, None].float(), size=size, mode="area")[:, 0]
