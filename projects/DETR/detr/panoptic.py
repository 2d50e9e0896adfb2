"""From queries to one panoptic map (DETR, sec. 4.2), with the two defects of the official code as options.

Shapes: N: queries kept, H×W: size of the network's input without padding, H_o×W_o: of the output.
"""

from dataclasses import dataclass

import torch
from d2video.projects.detr.postprocess import Detections, rows_of, unpad_masks
from torch import Tensor

from d2video.structures.answers import PanopticMap, Segment
from d2video.utils.nearest_sampling import nearest_in_pillow
from d2video.utils.transfer import to_device


@dataclass(frozen=True)
class PanopticRules:
    """How a panoptic map is made of an image's queries.

    Attributes:
        num_things: the first classes of the data, which are things; the rest is stuff.
        score_threshold: queries with a lower score take no part in the map.
        official_resize: defect of the official code: masks of the padded canvas are squeezed into the
            image.
        official_merge: defect of the official code, see :func:`panoptic_map`.
    """

    num_things: int
    score_threshold: float
    official_resize: bool = False
    official_merge: bool = False

    def make_map(
        self,
        detections: Detections,
        mask_logits: Tensor,
        canvas: tuple[int, int],
        size: tuple[int, int],
        output_size: tuple[int, int],
    ) -> PanopticMap:
        """:func:`panoptic_map` of N queries and their masks; for the sizes see :func:`unpad_masks`."""
        sure = detections.scores > self.score_threshold
        classes = detections.classes[sure]
        return panoptic_map(
            unpad_masks(rows_of(mask_logits, sure), size if self.official_resize else canvas, size),
            classes,
            classes < self.num_things,
            output_size,
            official_merge=self.official_merge,
            track_ids=None if detections.track_ids is None else detections.track_ids[sure],
        )


def _merged(classes: Tensor, is_thing: Tensor) -> Tensor:
    """(N,) int64, N > 0: the first query of the same stuff class; a thing stays itself."""
    same = (classes[:, None] == classes) & ~is_thing[:, None] & ~is_thing
    same.fill_diagonal_(True)
    return same.int().argmax(1)


def panoptic_map(
    masks: Tensor,
    classes: Tensor,
    is_thing: Tensor,
    output_size: tuple[int, int],
    *,
    min_area: int = 4,
    official_merge: bool = False,
    track_ids: Tensor | None = None,
) -> PanopticMap:
    """Give every pixel to one segment.

    Each pixel goes to the query with the largest mask logit; queries of one stuff class are one
    segment; segments of at most ``min_area`` pixels are dropped and their pixels go to the next.

    Args:
        masks: (N, H, W) logits.
        classes: (N,) int64, on the CPU, as are the others of the queries.
        is_thing: (N,) bool.
        output_size: (H_o, W_o); the map is resized to it by nearest sampling, before areas count.
        official_merge: reproduce the official code, in which merged queries have no pixels left,
            are dropped as too small, and the merging is not repeated: their pixels go to segments
            of other classes.
        track_ids: (N,) int64, -1 for a query without a track.

    Returns:
        int32 (H_o, W_o), ids from 1 on, 0 where there is no segment at all (no query), and for each
        id ``{"id", "isthing", "category_id", "area"}``; ``"track_id"`` too for a query with a track.
    """
    device = masks.device
    kept = torch.arange(len(masks))
    merging = True
    while True:
        if not len(kept):
            return torch.zeros(output_size, dtype=torch.int32, device=device), []
        owner = masks[to_device(kept, device)].argmax(0)
        group = _merged(classes[kept], is_thing[kept])
        if merging:
            owner = to_device(group, device)[owner]
        owner = _nearest(owner, output_size)
        area = _areas(owner, len(kept)).cpu()
        small = (area if official_merge else area[group]) <= min_area
        if not small.any():
            break
        kept = kept[~small]
        merging = not official_merge
    present = area > 0
    ids = torch.cumsum(present, 0) * present
    columns = (ids, is_thing[kept], classes[kept], area)
    segments: list[Segment] = [
        {"id": number, "isthing": thing, "category_id": category, "area": pixels}
        for number, thing, category, pixels in zip(*(c[present].tolist() for c in columns))
    ]
    if track_ids is not None:
        for segment, track in zip(segments, track_ids[kept][present].tolist(), strict=True):
            if track >= 0:
                segment["track_id"] = track
    return to_device(ids, device)[owner].int(), segments


def _areas(owner: Tensor, count: int) -> Tensor:
    """(count,) int64: the pixels of each owner, (H, W) int64; ``torch.bincount`` would wait for a GPU."""
    areas = torch.zeros(count, dtype=torch.int64, device=owner.device)
    return areas.scatter_add_(0, owner.flatten(), torch.ones_like(owner).flatten())


def _nearest(labels: Tensor, size: tuple[int, int]) -> Tensor:
    """(H, W) resized as Pillow does, by nearest sampling; ties between two pixels included."""
    for axis, (old, new) in enumerate(zip(labels.shape, size)):
        if old != new:
            index = torch.from_numpy(nearest_in_pillow(old, new))
            labels = labels.index_select(axis, to_device(index, labels.device))
    return labels
