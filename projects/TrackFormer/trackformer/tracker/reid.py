"""Which detection is which inactive track, by place or by look.

Shapes: n: inactive tracks, D: detections, C: channels of an embedding.
"""

import torch
import torch.nn.functional as F
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from d2video.structures.boxes import box_xyxy_to_cxcywh


def match_by_place(tracks: Tensor, detections: Tensor) -> tuple[Tensor, Tensor]:
    """Each track, in order, takes the detection with the nearest centre, of those left.

    The squared distance may exceed neither the track's area nor the detection's.

    Args:
        tracks: (n, 4) xyxy.
        detections: (D, 4) xyxy.

    Returns:
        the matched tracks and their detections, both (m,) int64, tracks ascending.
    """
    old, new = box_xyxy_to_cxcywh(tracks), box_xyxy_to_cxcywh(detections)
    distance = (old[:, None, :2] - new[None, :, :2]).square().sum(-1)
    area = torch.minimum(old[:, 2:].prod(-1)[:, None], new[:, 2:].prod(-1)[None])
    distance[distance > area] = torch.inf
    pairs = []
    for track in range(len(tracks) if len(detections) else 0):
        detection = int(distance[track].argmin())
        if distance[track, detection] < torch.inf:
            distance[:, detection] = torch.inf
            pairs.append((track, detection))
    matched = torch.tensor(pairs, dtype=torch.int64).reshape(-1, 2)
    return matched[:, 0], matched[:, 1]


def match_by_look(tracks: Tensor, detections: Tensor, threshold: float) -> tuple[Tensor, Tensor]:
    """The assignment with the least sum of distances counts where they are small enough.

    Args:
        tracks: (n, C) embeddings.
        detections: (D, C) embeddings.
        threshold: greatest Euclidean distance. To each difference 1e-6 is added, as in the
            official code: even equal embeddings are further than 0 apart.

    Returns:
        as :func:`match_by_place`, on the CPU.
    """
    distance = F.pairwise_distance(tracks[:, None].float(), detections[None].float()).cpu()
    rows, columns = linear_sum_assignment(distance.nan_to_num(torch.inf).clamp(max=1e18).numpy())
    track, detection = torch.from_numpy(rows), torch.from_numpy(columns)
    close = distance[track, detection] <= threshold
    return track[close], detection[close]
