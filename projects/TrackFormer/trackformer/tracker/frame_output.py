"""What the tracker reads of the network's output for one frame.

Shapes: n: track queries, Q: object queries, C: channels, h×w: any size of masks.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from d2video.utils.box_arrays import cxcywh_to_xyxy

Owners = tuple[np.ndarray, np.ndarray]
"""(h, w) int64, which of the rows asked for is the most probable at each pixel (of equal ones the first),
and (h, w) float32, its probability."""


@dataclass
class FrameOutput:
    """One row a query: the n track queries in the order given, then the Q object queries.

    Attributes:
        scores: (n + Q,) float32 of the best class, 0 to 1.
        classes: (n + Q,) int64, the best class.
        boxes: (n + Q, 4) float32, cxcywh divided by the image size.
        embeddings: (n + Q, C) float32, what makes a row a track query of the next frame.
        masks: of a model with masks: rows (m,) int64, m > 0, to the :data:`Owners` of the pixels. Called
            once a frame at most, with the rows that are answered: masks stay where the network runs.
    """

    scores: np.ndarray
    classes: np.ndarray
    boxes: np.ndarray
    embeddings: np.ndarray
    masks: Callable[[np.ndarray], Owners] | None = None


@dataclass
class Candidates:
    """The rows as the tracker's rules want them.

    Attributes:
        scores: (n + Q,) float32, -1 where the class is not tracked: no threshold lets it pass.
        classes: (n + Q,) int64.
        boxes: (n + Q, 4) float32 xyxy, pixels.
        embeddings: (n + Q, C) float32.
    """

    scores: np.ndarray
    classes: np.ndarray
    boxes: np.ndarray
    embeddings: np.ndarray

    @classmethod
    def of(
        cls,
        output: FrameOutput,
        size: tuple[int, int],
        clip_boxes: bool,
        tracked_classes: tuple[int, ...] | None,
    ) -> "Candidates":
        """
        Args:
            size: (H, W).
            clip_boxes: cut the boxes at the image's border.
            tracked_classes: the classes that count; None: all.
        """
        height, width = size
        extent = np.array([width, height] * 2, np.float32)
        boxes = cxcywh_to_xyxy(output.boxes) * extent
        if clip_boxes:
            boxes = boxes.clip(0, extent)
        scores = output.scores
        if tracked_classes is not None:
            scores = np.where(np.isin(output.classes, tracked_classes), scores, np.float32(-1))
        return cls(scores, output.classes, boxes, output.embeddings)
