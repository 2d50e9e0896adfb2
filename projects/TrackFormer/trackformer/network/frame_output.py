"""What the tracker reads of the network's output for one frame.

Shapes: n: track queries, Q: object queries, C: channels, H×W: the answer's size in pixels.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from d2video.structures.boxes import box_cxcywh_to_xyxy


@dataclass
class FrameOutput:
    """One row a query: the n track queries in the order given, then the Q object queries.

    Attributes:
        scores: (n + Q,) of the best class, 0 to 1.
        classes: (n + Q,) int64, the best class.
        boxes: (n + Q, 4) cxcywh divided by the image size.
        embeddings: (n + Q, C), what makes a row a track query of the next frame.
        masks: of a model with masks: rows (m,) int64, on the device of ``scores``, to their mask
            probabilities (m, H, W). Called once a frame at most, with the rows that are answered.
    """

    scores: Tensor
    classes: Tensor
    boxes: Tensor
    embeddings: Tensor
    masks: Callable[[Tensor], Tensor] | None = None


@dataclass
class Candidates:
    """The rows as the tracker's rules want them; all but the embeddings on the CPU.

    Attributes:
        scores: (n + Q,) float32, -1 where the class is not tracked: no threshold lets it pass.
        classes: (n + Q,) int64.
        boxes: (n + Q, 4) float32 xyxy, pixels.
        embeddings: (n + Q, C), on the network's device.
    """

    scores: Tensor
    classes: Tensor
    boxes: Tensor
    embeddings: Tensor

    @classmethod
    def of(
        cls,
        output: FrameOutput,
        size: tuple[int, int],
        clip_boxes: bool,
        tracked_classes: tuple[int, ...] | None,
    ) -> "Candidates":
        """Bring the small tensors to the CPU, in one transfer.

        Args:
            size: (H, W).
            clip_boxes: cut the boxes at the image's border.
            tracked_classes: the classes that count; None: all.
        """
        numbers = torch.stack([output.scores.float(), output.classes.float()], dim=1)
        numbers = torch.cat([numbers, output.boxes.float()], dim=1).cpu()
        scores, classes = numbers[:, 0].clone(), numbers[:, 1].long()
        height, width = size
        boxes = box_cxcywh_to_xyxy(numbers[:, 2:]) * torch.tensor([width, height] * 2)
        if clip_boxes:
            boxes[:, 0::2] = boxes[:, 0::2].clamp(0, width)
            boxes[:, 1::2] = boxes[:, 1::2].clamp(0, height)
        if tracked_classes is not None:
            scores[~torch.isin(classes, torch.tensor(tracked_classes))] = -1.0
        return cls(scores, classes, boxes, output.embeddings)
