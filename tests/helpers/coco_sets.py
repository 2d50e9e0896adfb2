"""Small datasets in COCO's instance and panoptic formats, written to disk and registered."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from detectron2.data.datasets import register_coco_instances
from detectron2.data.datasets.coco_panoptic import register_coco_panoptic
from PIL import Image

HEIGHT, WIDTH = 24, 32


def polygon(x: float, y: float, w: float, h: float) -> list[list[float]]:
    return [[x, y, x + w, y, x + w, y + h, x, y + h]]


def annotation(number: int, image_id: int, category: int, box: list[float], **fields) -> dict:
    x, y, w, h = box
    return {
        "id": number,
        "image_id": image_id,
        "category_id": category,
        "bbox": box,
        "area": w * h,
        "iscrowd": 0,
        "segmentation": polygon(x, y, w, h),
        **fields,
    }


def instance_content() -> dict[str, Any]:
    """Image 5: two objects and a crowd; image 2: none; image 9: one. The category ids have gaps."""
    crowd = {"size": [HEIGHT, WIDTH], "counts": [0, HEIGHT * WIDTH]}
    return {
        "images": [
            {"id": i, "file_name": f"{i}.jpg", "height": HEIGHT, "width": WIDTH} for i in (5, 2, 9)
        ],
        "categories": [{"id": 4, "name": "four"}, {"id": 9, "name": "nine"}],
        "annotations": [
            annotation(1, 5, 9, [2, 4, 8, 6]),
            annotation(2, 5, 4, [20, 10, 6, 9]),
            annotation(3, 5, 4, [0, 0, WIDTH, HEIGHT], iscrowd=1, segmentation=crowd),
            annotation(4, 9, 4, [1, 1, 10, 10]),
        ],
    }


def write_images(folder: Path) -> None:
    rng = np.random.default_rng(0)
    for i in (5, 2, 9):
        pixels = rng.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{i}.jpg")


def register_instances(name: str, folder: Path, content: Any) -> Path:
    """Write ``content`` (a str as it is) and register it; the images are not written."""
    path = folder / f"{name}.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    register_coco_instances(name, {}, str(path), str(folder))
    return path


# Contiguous classes as in detectron2's metadata: things, then stuff; both lists name all of them.
THING_IDS, STUFF_IDS = {4: 0, 9: 1}, {100: 2, 120: 3}
PANOPTIC_METADATA = {
    "thing_classes": ["four", "nine", "grass", "sky"],
    "stuff_classes": ["four", "nine", "grass", "sky"],
    "thing_dataset_id_to_contiguous_id": THING_IDS,
    "stuff_dataset_id_to_contiguous_id": STUFF_IDS,
}


def save_ids(path: Path, ids: np.ndarray) -> None:
    """int (H,W) as a COCO label image."""
    Image.fromarray(np.stack([ids % 256, ids // 256 % 256, ids // 65536], -1).astype("u1")).save(
        path
    )


def register_panoptic(
    name: str,
    folder: Path,
    labels: dict[int, tuple[np.ndarray, list[dict]]],
    instances_json: str | None = None,
) -> Path:
    """Write and register {image id: (int ids (H,W), segments_info)}; images are not written."""
    for image_id, (ids, _) in labels.items():
        save_ids(folder / f"{image_id}.png", ids)
    content = {
        "images": [{"id": i, "file_name": f"{i}.jpg"} for i in labels],
        "categories": [
            {"id": i, "name": PANOPTIC_METADATA["thing_classes"][c], "isthing": int(i in THING_IDS)}
            for i, c in {**THING_IDS, **STUFF_IDS}.items()
        ],
        "annotations": [
            {"image_id": i, "file_name": f"{i}.png", "segments_info": segments}
            for i, (_, segments) in labels.items()
        ],
    }
    path = folder / f"{name}.json"
    path.write_text(json.dumps(content))
    register_coco_panoptic(
        name, dict(PANOPTIC_METADATA), str(folder), str(folder), str(path), instances_json
    )
    return path
