"""The content of a small file in YouTube-VIS format, and the parts to bend it with."""

from typing import Any

import numpy as np
import pycocotools.mask as mask_util

HEIGHT, WIDTH, LENGTH = 24, 32, 5


def rectangle_mask(x: int, y: int, w: int, h: int) -> np.ndarray:
    """uint8 (HEIGHT,WIDTH) with ones in the rectangle."""
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[y : y + h, x : x + w] = 1
    return mask


def uncompressed_rle(mask: np.ndarray) -> dict[str, Any]:
    """COCO RLE with a list of runs, computed without pycocotools."""
    pixels = mask.T.ravel()
    ends = np.flatnonzero(np.diff(np.concatenate([[0], pixels, [1 - pixels[-1]]])))
    return {"size": list(mask.shape), "counts": np.diff(ends, prepend=0).tolist()}


def compressed_rle(mask: np.ndarray) -> dict[str, Any]:
    rle = mask_util.encode(np.asfortranarray(mask))
    return {"size": list(mask.shape), "counts": rle["counts"].decode()}


def polygon(x: int, y: int, w: int, h: int) -> list[list[float]]:
    return [[x, y, x + w, y, x + w, y + h, x, y + h]]


def content() -> dict[str, Any]:
    """Two videos. Video 7: a moving track in all frames, one that leaves, one crowd. Video 3: none.

    Category ids are neither contiguous nor sorted.
    """
    moving = [[2 + 3 * t, 4, 8, 6] for t in range(LENGTH)]
    leaving = [[20, 10, 6, 9], [21, 10, 6, 9], None, None, None]
    tracks = [
        (11, 9, 0, moving, [uncompressed_rle(rectangle_mask(*b)) for b in moving]),
        (12, 4, 0, leaving, [b and compressed_rle(rectangle_mask(*b)) for b in leaving]),
        (13, 4, 1, moving, [polygon(*b) for b in moving]),
    ]
    return {
        "videos": [
            {
                "id": video_id,
                "width": WIDTH,
                "height": HEIGHT,
                "length": LENGTH,
                "file_names": [f"{folder}/{t:05d}.png" for t in range(LENGTH)],
            }
            for video_id, folder in ((7, "first"), (3, "second"))
        ],
        "categories": [{"id": 9, "name": "nine"}, {"id": 4, "name": "four"}],
        "annotations": [
            {
                "id": track_id,
                "video_id": 7,
                "category_id": category,
                "iscrowd": iscrowd,
                "bboxes": list(boxes),
                "segmentations": segmentations,
            }
            for track_id, category, iscrowd, boxes, segmentations in tracks
        ],
    }
