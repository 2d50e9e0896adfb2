"""DETR's answers in numpy: boxes, masks and panoptic maps.

Shapes: Q: queries, N: detections kept, K: classes, h×w: the network's input, H×W: the image.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from d2video.deploy.answers import Found
from d2video.deploy.graphs import Graph
from d2video.deploy.manifest import Manifest
from d2video.deploy.masks import mask_logits, masks_of
from d2video.deploy.panoptic import Segments, panoptic_map
from d2video.deploy.rle import encode_mask
from d2video.deploy.task import DeployedTask
from d2video.utils.box_arrays import cxcywh_to_xyxy


@dataclass(frozen=True, eq=False)
class Objects(Found):
    """Objects in a frame, in pixels of the frame.

    Attributes:
        boxes: float32 (N, 4) XYXY.
        scores: float32 (N,).
        classes: int64 (N,).
        masks: bool (N, H, W); None from a model without masks.
        track_ids: int64 (N,); None where nothing is followed.
        panoptic: of a panoptic model.
    """

    boxes: np.ndarray
    scores: np.ndarray
    classes: np.ndarray
    masks: np.ndarray | None = None
    track_ids: np.ndarray | None = None
    panoptic: Segments | None = None

    def record(self, topk: int) -> dict[str, Any]:
        columns: dict[str, list[Any]] = {}
        if self.track_ids is not None:
            columns["track_id"] = self.track_ids.tolist()
        corners = self.boxes[:, :2]
        columns["category_id"] = self.classes.tolist()
        columns["score"] = self.scores.tolist()
        columns["bbox"] = np.concatenate([corners, self.boxes[:, 2:] - corners], 1).tolist()
        if self.masks is not None:
            columns["segmentation"] = [*map(encode_mask, self.masks)]
        rows = zip(*columns.values(), strict=True)
        record: dict[str, Any] = {"instances": [dict(zip(columns, row)) for row in rows]}
        if self.panoptic is not None:
            record["segments"] = self.panoptic.records()
        return record


class Detection(DeployedTask):
    """Find objects by the graphs ``detect`` and, with masks, ``masks``.

    ``detect``: frames uint8 (B, 3, h, w), RGB, to ``probabilities`` (B, Q, K), ``boxes`` (B, Q, 4) cxcywh
    in [0, 1], and what ``masks`` reads (see ``masks.py``).

    Args:
        score_threshold: detections with a lower score are dropped before the masks.
        panoptic: ``num_things``, ``score_threshold`` and ``official_merge`` of a panoptic model.
    """

    def __init__(
        self,
        graphs: Mapping[str, Graph],
        manifest: Manifest,
        *,
        score_threshold: float,
        panoptic: dict[str, Any] | None = None,
    ):
        super().__init__(graphs, manifest)
        self.score_threshold = np.float32(score_threshold)
        self.panoptic = panoptic

    def stream(self, images: Iterable[np.ndarray]) -> Iterator[Found]:
        return map(self.answer_image, images)

    def answer_image(self, image: np.ndarray) -> Objects:
        frame = self.prepared(image)
        encoded = self.graphs["detect"](frames=frame[None])
        probabilities, boxes = encoded.pop("probabilities")[0], encoded.pop("boxes")[0]
        scores, classes = probabilities.max(-1), probabilities.argmax(-1)
        wanted = scores >= self.score_threshold
        if self.panoptic:
            wanted |= scores > np.float32(self.panoptic["score_threshold"])
        rows = np.flatnonzero(wanted)
        scores, classes = scores[rows], classes[rows]
        detected = scores >= self.score_threshold
        if self.panoptic:
            detected &= classes < self.panoptic["num_things"]
        masks = logits = panoptic = None
        size = (frame.shape[1], frame.shape[2])
        if "masks" in self.graphs:
            logits = mask_logits(self.graphs["masks"], encoded, rows, size)
            masks = masks_of(logits[detected], (image.shape[0], image.shape[1]))
        if self.panoptic:
            assert logits is not None
            sure = scores > np.float32(self.panoptic["score_threshold"])
            panoptic = panoptic_map(
                logits[sure],
                classes[sure],
                self.panoptic["num_things"],
                (image.shape[0], image.shape[1]),
                official_merge=self.panoptic["official_merge"],
            )
        xyxy = _pixels(boxes[rows[detected]], image)
        return Objects(xyxy, scores[detected], classes[detected], masks, panoptic=panoptic)


def _pixels(boxes: np.ndarray, image: np.ndarray) -> np.ndarray:
    """(N, 4) cxcywh in [0, 1] to XYXY in pixels of the image."""
    height, width = image.shape[:2]
    return cxcywh_to_xyxy(boxes) * np.array([width, height, width, height], np.float32)
