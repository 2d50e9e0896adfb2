"""What a frame's predictions are compared with.

Shapes: G: objects of the frame, h×w: the frame's size.
"""

from dataclasses import dataclass

from torch import Tensor


@dataclass
class FrameTargets:
    """Ground truth of one frame.

    Attributes:
        classes: (G,) int64, class logits in [0, K).
        boxes: (G, 4) float32, cxcywh divided by the frame's size; may overflow the frame.
        ids: (G,) int64 >= 0, each once; the same object has the same id in other frames.
        masks: (G, h, w) bool, or None for a model without masks.
    """

    classes: Tensor
    boxes: Tensor
    ids: Tensor
    masks: Tensor | None = None

    def __len__(self) -> int:
        return len(self.classes)
