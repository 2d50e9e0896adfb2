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


@dataclass
class Detections:
    """The queries of one image that are looked at further.

    Attributes:
        queries: (N,) int64, their indices.
        scores: (N,) in [0, 1].
        classes: (N,) int64, contiguous.
    """

    queries: Tensor
    scores: Tensor
    classes: Tensor

    def __getitem__(self, keep: Tensor) -> "Detections":
        """Those that ``keep``, (N,) bool, says."""
        return Detections(self.queries[keep], self.scores[keep], self.classes[keep])


def best_classes(logits: Tensor, class_logits: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """The best class of each query and its probability.

    Args:
        logits: (Q, K + 1), the last one "no object".
        class_logits: (number of classes,) int64, the logit of each contiguous class; None where
            class c has logit c.

    Returns:
        scores (Q,) and contiguous classes (Q,).
    """
    probability = logits.float().softmax(-1)[:, :-1]
    if class_logits is not None:
        probability = probability[:, class_logits]
    scores, classes = probability.max(-1)
    return scores, classes


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
        with ``pred_boxes`` (XYXY, pixels), ``scores``, ``pred_classes`` and, if there are masks,
        ``pred_masks`` (N, H_o, W_o) bool: the sign of the logits at H×W, resized by nearest sampling.
    """
    height, width = output_size
    scale = torch.tensor([width, height, width, height], device=boxes.device)
    result = Instances(output_size)
    result.pred_boxes = Boxes(box_cxcywh_to_xyxy(boxes[detections.queries].float()) * scale)
    result.scores = detections.scores
    result.pred_classes = detections.classes
    if masks is not None:
        if len(masks):
            resized = F.interpolate((masks > 0)[None].float(), size=output_size, mode="nearest")
            result.pred_masks = resized[0] > 0.5
        else:
            result.pred_masks = torch.zeros(0, *output_size, dtype=torch.bool, device=boxes.device)
    return result
