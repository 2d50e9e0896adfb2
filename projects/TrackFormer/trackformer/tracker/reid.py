"""Which detection is which inactive track, by place or by look.

Shapes: n: inactive tracks, D: detections, C: channels of an embedding.
"""

import numpy as np

from d2video.utils.assignment import assign
from d2video.utils.box_arrays import xyxy_to_cxcywh


def match_by_place(tracks: np.ndarray, detections: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each track, in order, takes the detection with the nearest centre, of those left.

    The squared distance may exceed neither the track's area nor the detection's.

    Args:
        tracks: (n, 4) xyxy.
        detections: (D, 4) xyxy.

    Returns:
        the matched tracks and their detections, both (m,) int64, tracks ascending.
    """
    old, new = xyxy_to_cxcywh(tracks), xyxy_to_cxcywh(detections)
    distance = np.square(old[:, None, :2] - new[None, :, :2]).sum(-1)
    area = np.minimum(old[:, 2:].prod(-1)[:, None], new[:, 2:].prod(-1)[None])
    distance[distance > area] = np.inf
    pairs = []
    for track in range(len(tracks) if len(detections) else 0):
        detection = int(distance[track].argmin())
        if distance[track, detection] < np.inf:
            distance[:, detection] = np.inf
            pairs.append((track, detection))
    matched = np.array(pairs, np.int64).reshape(-1, 2)
    return matched[:, 0], matched[:, 1]


def match_by_look(
    tracks: np.ndarray, detections: np.ndarray, threshold: float
) -> tuple[np.ndarray, np.ndarray]:
    """The assignment with the least sum of distances counts where they are small enough.

    Args:
        tracks: (n, C) embeddings.
        detections: (D, C) embeddings.
        threshold: greatest Euclidean distance. To each difference 1e-6 is added, as in the
            official code: even equal embeddings are further than 0 apart.

    Returns:
        as :func:`match_by_place`.
    """
    difference = tracks[:, None] - detections[None] + np.float32(1e-6)
    distance = np.sqrt(np.square(difference).sum(-1))
    track, detection = assign(np.nan_to_num(distance, nan=np.inf).clip(max=1e18))
    close = distance[track, detection] <= threshold
    return track[close], detection[close]
