"""What the files of every generated dataset have in common: images, masks, categories."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from pycocotools import mask as coco_mask

from d2video.formats.geometry.rle import mask_areas
from d2video.synthetic.spec import ShapesSpec
from d2video.utils.errors import UserError


def write_image(path: Path, image: np.ndarray, jpeg_quality: int = 95) -> None:
    """Write uint8 (H, W, 3), RGB, in the format that the suffix names.

    Raises:
        UserError: it cannot be written.
    """
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    quality = [cv2.IMWRITE_JPEG_QUALITY, jpeg_quality] if path.suffix == ".jpg" else []
    if not cv2.imwrite(str(path), bgr, quality):
        raise UserError(f"cannot write {path}: is the disk full?")


def encode_masks(masks: np.ndarray) -> tuple[list[dict[str, Any]], list[int], list[list[float]]]:
    """Masks bool (N, H, W) as COCO has them.

    Returns:
        N compressed RLE with ``counts`` as a string, N areas in pixels, and N boxes, XYWH in pixels.
    """
    rles = coco_mask.encode(np.asfortranarray(masks.transpose(1, 2, 0), dtype=np.uint8))
    areas, boxes = mask_areas(rles).tolist(), coco_mask.toBbox(rles).tolist()
    size = list(masks.shape[1:])
    return [{"size": size, "counts": rle["counts"].decode()} for rle in rles], areas, boxes


def thing_categories(spec: ShapesSpec) -> list[dict[str, Any]]:
    """The categories of the shape classes: ids 1..K in the order of ``ShapesSpec.classes``."""
    return [
        {"id": index + 1, "name": name, "supercategory": "shape"}
        for index, name in enumerate(spec.classes)
    ]
