"""Panoptic label images in COCO's format.

A PNG holds the id of each pixel's segment as red + 256 green + 256² blue; 0 is void. What a segment
is, the annotation file's ``segments_info`` says.
"""

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import pycocotools.mask as coco_mask
from detectron2.structures import BoxMode

from d2video.formats.geometry.rle import empty_mask, encode_labels
from d2video.utils.errors import BrokenFile


def segment_ids(image: np.ndarray) -> np.ndarray:
    """uint8 RGB label image (H,W,3) to the int32 segment ids (H,W) that it encodes."""
    channels = image.astype(np.int32)
    return channels[..., 0] + 256 * channels[..., 1] + 256**2 * channels[..., 2]


def check_segments(ids: np.ndarray, stated: Collection[int], path: str) -> None:
    """Refuse a label image that lacks segments of its annotation: it is probably another image's.

    Args:
        ids: int (H,W), the segment of each pixel. What is not among the ``stated`` is void.
        path: of the label image, for messages.

    Raises:
        BrokenFile: a segment has no pixels.
    """
    begins = np.ones(ids.shape, bool)  # of a run in a row, of which there are few
    begins[:, 1:] = ids[:, 1:] != ids[:, :-1]
    missing = {*stated} - {*ids[begins].tolist()}
    if missing:
        raise BrokenFile(
            f"label image {path}: segment {min(missing)} of the annotation file has no pixels: correct "
            "one of the two"
        )


def segment_annotations(
    ids: np.ndarray, segments_info: Sequence[dict[str, Any]]
) -> list[dict[str, Any]]:
    """Segments as annotations of objects in detectron2's format.

    Args:
        ids: int (H,W), the segment of each pixel.
        segments_info: dicts with ``id``, ``category_id`` and, where it is a crowd, ``iscrowd``.

    Returns:
        as many dicts: ``category_id``, ``iscrowd``, ``segmentation`` (compressed RLE), ``bbox``
        (tight around the mask; (0,0,0,0) for a segment without pixels) and ``bbox_mode``.
    """
    masks, empty = encode_labels(ids), empty_mask(*ids.shape)
    rles = [masks.get(segment["id"], empty) for segment in segments_info]
    return [
        {
            "category_id": segment["category_id"],
            "iscrowd": segment.get("iscrowd", 0),
            "segmentation": rle,
            "bbox": coco_mask.toBbox(rle).tolist(),
            "bbox_mode": BoxMode.XYWH_ABS,
        }
        for segment, rle in zip(segments_info, rles, strict=True)
    ]
