"""Bipartite matching of queries and objects (DETR, sec. 3.1, eq. 1).

Shapes: L: decoder layers, B: images, Q: queries, K: classes, n: objects of an image.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from d2video.modeling.criterion import Matches
from d2video.modeling.matcher import solve_assignments
from d2video.structures.boxes import box_cxcywh_to_xyxy, generalized_box_iou


@dataclass
class ImageTargets:
    """Ground truth of one image.

    Attributes:
        classes: (n,) int64, class logits in [0, K).
        boxes: (n, 4) float32, cxcywh divided by the image size.
        masks: (n, h, w) bool, or None for a model without masks.
    """

    classes: Tensor
    boxes: Tensor
    masks: Tensor | None = None

    def __len__(self) -> int:
        return len(self.classes)


class HungarianMatcher:
    """The cheapest assignment of queries to the objects of each image, in every decoder layer.

    The cost is the negative class probability, the L1 distance of the boxes (sum of the four
    coordinates) and their negative generalised IoU, weighted.

    Args:
        class_cost, box_cost, giou_cost: weights of the three terms.
    """

    def __init__(self, class_cost: float = 1.0, box_cost: float = 5.0, giou_cost: float = 2.0):
        self.class_cost = class_cost
        self.box_cost = box_cost
        self.giou_cost = giou_cost

    def cost(self, logits: Tensor, boxes: Tensor, target: ImageTargets) -> Tensor:
        """The cost matrices of one image, against its own objects only.

        Args:
            logits: (L, Q, K + 1).
            boxes: (L, Q, 4), cxcywh.

        Returns:
            (L, Q, n) float32.
        """
        probability = logits.float().softmax(-1)[..., target.classes]
        predicted, wanted = boxes.float()[:, :, None], target.boxes[None, None]
        distance = (predicted - wanted).abs().sum(-1)
        giou = generalized_box_iou(box_cxcywh_to_xyxy(predicted), box_cxcywh_to_xyxy(wanted))
        return self.box_cost * distance - self.class_cost * probability - self.giou_cost * giou

    @torch.no_grad()
    def __call__(self, logits: Tensor, boxes: Tensor, targets: list[ImageTargets]) -> Matches:
        """
        Args:
            logits: (L, B, Q, K + 1).
            boxes: (L, B, Q, 4), cxcywh.
            targets: B images.

        Returns:
            the matched (layer, image, query, target), targets numbered over the batch. Where there
            are more objects than queries, every query has one.
        """
        assignments = solve_assignments(
            [self.cost(logits[:, b], boxes[:, b], target) for b, target in enumerate(targets)]
        )
        rows = []
        for layer, images in enumerate(assignments):
            offset = 0
            for image, ((queries, objects), target) in enumerate(zip(images, targets)):
                at = torch.full_like(queries, layer), torch.full_like(queries, image)
                rows.append(torch.stack([*at, queries, offset + objects]))
                offset += len(target)
        return Matches(*torch.cat(rows, dim=1))
