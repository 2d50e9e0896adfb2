"""COCO panoptic labels of a generated image (Kirillov et al., Panoptic Segmentation, CVPR 2019)."""

from typing import Any

import numpy as np

from d2video.synthetic.files import encode_masks, thing_categories
from d2video.synthetic.spec import ShapesSpec

# The n-th segment has n times this as its id, modulo 2^24: odd, so that all ids differ and none is
# 0 (unlabelled); large, so that the label images have distinct colours.
_ID_STEP = 0x9E3779


def panoptic_categories(spec: ShapesSpec) -> list[dict[str, Any]]:
    """Shape classes with ids 1..K and ``isthing`` 1, then stuff with ids K+1..K+S and 0."""
    things = [{**category, "isthing": 1} for category in thing_categories(spec)]
    stuff = [
        {"id": len(things) + index + 1, "name": name, "supercategory": "background", "isthing": 0}
        for index, name in enumerate(spec.stuff)
    ]
    return things + stuff


def panoptic_annotation(
    masks: np.ndarray, classes: np.ndarray, stuff: np.ndarray, num_things: int
) -> tuple[np.ndarray, list[dict[str, Any]]]:
    """The label image and the segments of one image.

    Args:
        masks: bool (N, H, W), visible parts, of which no two share a pixel and none is empty.
        classes: int (N,), 0..num_things-1.
        stuff: int (H, W), 0..S-1, the stuff class where no object is.
        num_things: number K of shape classes.

    Returns:
        uint8 (H, W, 3), RGB: R + 256 G + 65536 B is the id of the pixel's segment, and every pixel
        has one; and ``segments_info``: first the objects in order, then the stuff classes that show,
        each with ``id``, ``category_id``, ``area`` and ``bbox`` (XYWH), in pixels, ``iscrowd`` 0.
    """
    free = ~masks.any(axis=0)
    shown = np.unique(stuff[free])
    regions = np.concatenate([masks, (stuff == shown[:, None, None]) & free])
    categories = [*(classes + 1), *(shown.astype(int) + num_things + 1)]
    ids = np.arange(1, len(regions) + 1) * _ID_STEP % 2**24
    label = (regions * ids[:, None, None]).sum(axis=0)
    _, areas, boxes = encode_masks(regions)
    segments = [
        {
            "id": int(segment),
            "category_id": int(category),
            "area": area,
            "bbox": box,
            "iscrowd": 0,
        }
        for segment, category, area, box in zip(ids, categories, areas, boxes, strict=True)
    ]
    return np.stack([label >> shift & 255 for shift in (0, 8, 16)], -1).astype(np.uint8), segments
