"""Masks as COCO run-length codes.

Shapes: N: masks, H×W: image.
"""

import numpy as np
from pycocotools import mask as coco_mask
from torch import Tensor


def encode_masks(masks: Tensor) -> list[dict]:
    """(N, H, W) bool to N compressed RLE dicts ``{"size": [H, W], "counts": bytes}``.

    COCO counts run down the columns. The transposition happens on the masks' own device; the copy
    to the host is then already in the order that pycocotools reads.
    """
    columns = masks.transpose(1, 2).contiguous().cpu().numpy().astype(np.uint8, copy=False)
    return coco_mask.encode(columns.transpose(2, 1, 0))
