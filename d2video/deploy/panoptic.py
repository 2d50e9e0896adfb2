"""From mask logits to one panoptic map (DETR, sec. 4.2), in numpy.

Shapes: N: queries kept, h×w: the network's input, H×W: the image.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from d2video.deploy.rle import encode_mask
from d2video.utils.nearest_sampling import nearest_in_pillow


@dataclass(frozen=True, eq=False)
class Segments:
    """A panoptic map.

    Attributes:
        ids: int32 (H, W), from 1 on; 0: no segment.
        segments: ``{"id", "isthing", "category_id", "area"}`` of each id.
    """

    ids: np.ndarray
    segments: list[dict[str, Any]]

    def records(self) -> list[dict[str, Any]]:
        """As in the results files of ``d2video predict``."""
        return [
            {
                "id": segment["id"],
                "category_id": segment["category_id"],
                "isthing": segment["isthing"],
                "segmentation": encode_mask(self.ids == segment["id"]),
            }
            for segment in self.segments
        ]


def panoptic_map(
    logits: np.ndarray,
    classes: np.ndarray,
    num_things: int,
    size: tuple[int, int],
    *,
    min_area: int = 4,
    official_merge: bool = False,
) -> Segments:
    """Give every pixel to one segment; :func:`d2video.projects.detr.panoptic.panoptic_map` in numpy.

    Each pixel goes to the query with the largest mask logit; queries of one stuff class are one
    segment; segments of at most ``min_area`` pixels are dropped and their pixels go to the next.

    Args:
        logits: (N, h, w).
        classes: (N,) int64; the first ``num_things`` are things.
        size: (H, W).
        official_merge: as there.
    """
    rows = nearest_in_pillow(logits.shape[1], size[0])
    columns = nearest_in_pillow(logits.shape[2], size[1])
    kept = np.arange(len(logits))
    merging = True
    while len(kept):
        own = classes[kept]
        thing = own < num_things
        owner = logits[kept].argmax(0)
        same = (own[:, None] == own) & ~thing[:, None] & ~thing
        np.fill_diagonal(same, True)
        group = same.argmax(1)
        if merging:
            owner = group[owner]
        owner = owner[rows[:, None], columns]
        area = np.bincount(owner.ravel(), minlength=len(kept))
        small = (area if official_merge else area[group]) <= min_area
        if not small.any():
            break
        kept = kept[~small]
        merging = not official_merge
    if not len(kept):
        return Segments(np.zeros(size, np.int32), [])
    present = area > 0
    ids = np.cumsum(present) * present
    columns_of = (ids, thing, own, area)
    segments = [
        {"id": number, "isthing": is_thing, "category_id": category, "area": pixels}
        for number, is_thing, category, pixels in zip(*(c[present].tolist() for c in columns_of))
    ]
    return Segments(ids[owner].astype(np.int32), segments)
