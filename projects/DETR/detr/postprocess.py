"""From queries to detectron2's structures, for one image.

Shapes: Q: queries, N: detections kept, K: classes, H×W: size of the network's input without padding,
H_o×W_o: of the original image.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from detectron2.structures import Boxes, Instances
from torch import Tensor

from d2video.structures.boxes import box_cxcywh_to_xyxy
from d2video.utils.transfer import to_device


@dataclass
class Detections:
    """The queries of one image that are looked at further, on the CPU.

    Attributes:
        queries: (N,) int64, their indices.
        scores: (N,) in [0, 1].
        classes: (N,) int64, contiguous.
        track_ids: (N,) int64, -1 for a query without a track; None: nothing is followed.
    """

    queries: Tensor
    scores: Tensor
    classes: Tensor
    track_ids: Tensor | None = None

    def __getitem__(self, keep: Tensor) -> "Detections":
        """Those that ``keep``, (N,) bool, says."""
        ids = None if self.track_ids is None else self.track_ids[keep]
        return Detections(self.queries[keep], self.scores[keep], self.classes[keep], ids)


def rows_of(values: Tensor, keep: Tensor) -> Tensor:
    """Those rows of values on any device that ``keep``, bool on the CPU, says."""
    return values[to_device(keep.nonzero()[:, 0], values.device)]


def unpad_masks(mask_logits: Tensor, canvas: tuple[int, int], size: tuple[int, int]) -> Tensor:
    """Mask logits (N, h, w) of a padded canvas, upsampled bilinearly to it and cut to the image.

    Args:
        canvas: (height, width) that the network saw.
        size: (H, W) of the image in its upper left corner.

    Returns:
        (N, H, W).
    """
    masks = F.interpolate(mask_logits[:, None].float(), size=canvas, mode="bilinear")[:, 0]
    return masks[:, : size[0], : size[1]]


def without_overlap(masks: Tensor) -> Tensor:
    """Mask logits (N, H, W) in which each pixel is positive in the mask of its largest logit only."""
    if not len(masks):
        return masks
    owner = masks.argmax(0, keepdim=True)
    others = torch.arange(len(masks), device=masks.device)[:, None, None] != owner
    return masks.masked_fill(others, -torch.inf)


def instances_of(
    detections: Detections,
    boxes: Tensor,
    masks: Tensor | None,
    output_size: tuple[int, int],
) -> Instances:
    """detectron2's ``Instances``; boxes are not clipped to the image, as in the official code.

    Args:
        boxes: (Q, 4), cxcywh in [0, 1].
        masks: (N, H, W) logits without padding, or None.
        output_size: (H_o, W_o).

    Returns:
        on the device of the boxes, with ``pred_boxes`` (XYXY, pixels), ``scores``, ``pred_classes``,
        ``track_ids`` if objects are followed, and, if there are masks, ``pred_masks`` (N, H_o, W_o)
        bool: the sign of the logits at H×W, resized by nearest sampling.
    """
    height, width = output_size
    device = boxes.device
    scale = to_device(torch.tensor([width, height, width, height]), device)
    found = boxes[to_device(detections.queries, device)].float()
    result = Instances(output_size)
    result.pred_boxes = Boxes(box_cxcywh_to_xyxy(found) * scale)
    result.scores = to_device(detections.scores, device)
    result.pred_classes = to_device(detections.classes, device)
    if detections.track_ids is not None:
        result.track_ids = to_device(detections.track_ids, device)
    if masks is not None:
        positive = masks > 0
        if positive.shape[-2:] != output_size:
            # Nearest sampling of bytes: torch has none of bool, and floats are four times as large.
            pixels = positive.view(torch.uint8)[:, None]
            positive = F.interpolate(pixels, size=output_size, mode="nearest")[:, 0].view(
                torch.bool
            )
        result.pred_masks = positive
    return result
