"""Register YouTube-VIS 2019, 2021, 2022, OVIS and generated shapes under ``$DETECTRON2_DATASETS``.

Layout (the default root is ``./datasets``, as in detectron2)::

    ytvis_2019/  ytvis_2021/  ytvis_2022/
        {train,valid,test}.json
        {train,valid,test}/JPEGImages/<video>/<frame>.jpg
    ovis/
        annotations/annotations_{train,valid,test}.json
        {train,valid,test}/<video>/<frame>.jpg
    shapes/                            (made by tools/make_shapes_dataset.py)
        {train,val}.json
        {train,val}/JPEGImages/<video>/<frame>.jpg
    shapes_coco/                       (the same with --format panoptic, or coco for the first two)
        {train,val}/<image>.jpg
        annotations/instances_{train,val}.json
        annotations/panoptic_{train,val}.json
        panoptic_{train,val}/<image>.png

Registered names end in ``_train``, ``_val`` and ``_test`` (no test split of shapes; the
images are ``shapes_coco_*`` and, panoptic, ``shapes_panoptic_*``). Labels of the
official val and test splits are not public: tools/split_ytvis.py makes a held-out split from train.
"""

import os
from typing import Any

from detectron2.data.datasets import register_coco_instances

from d2video.data.datasets.coco_panoptic import register_coco_panoptic
from d2video.data.datasets.ytvis import register_ytvis_instances
from d2video.data.datasets.ytvis_categories import (
    OVIS_CLASSES,
    YTVIS_2019_CLASSES,
    YTVIS_2021_CLASSES,
    ytvis_metadata,
)

# Registered name of each split -> name of its files.
_OFFICIAL_SPLITS = {"train": "train", "val": "valid", "test": "test"}

# name -> (metadata, splits, annotation file, image folder); {split} is the name of the files.
_DATASETS: dict[str, tuple[dict[str, Any], dict[str, str], str, str]] = {
    "ytvis_2019": (
        ytvis_metadata(YTVIS_2019_CLASSES),
        _OFFICIAL_SPLITS,
        "ytvis_2019/{split}.json",
        "ytvis_2019/{split}/JPEGImages",
    ),
    "ytvis_2021": (
        ytvis_metadata(YTVIS_2021_CLASSES),
        _OFFICIAL_SPLITS,
        "ytvis_2021/{split}.json",
        "ytvis_2021/{split}/JPEGImages",
    ),
    "ytvis_2022": (
        ytvis_metadata(YTVIS_2021_CLASSES),
        _OFFICIAL_SPLITS,
        "ytvis_2022/{split}.json",
        "ytvis_2022/{split}/JPEGImages",
    ),
    "ovis": (
        ytvis_metadata(OVIS_CLASSES),
        _OFFICIAL_SPLITS,
        "ovis/annotations/annotations_{split}.json",
        "ovis/{split}",
    ),
    # The classes are those that the generator was asked for.
    "shapes": (
        {},
        {"train": "train", "val": "val"},
        "shapes/{split}.json",
        "shapes/{split}/JPEGImages",
    ),
}


def register_builtin(root: str) -> None:
    """Register every video dataset of this module below the folder ``root``; no file is touched."""
    for dataset, (metadata, splits, json_file, image_root) in _DATASETS.items():
        for split, file_split in splits.items():
            register_ytvis_instances(
                f"{dataset}_{split}",
                metadata,
                os.path.join(root, json_file.format(split=file_split)),
                os.path.join(root, image_root.format(split=file_split)),
            )


def register_shapes_images(root: str) -> None:
    """Register the images of ``<root>/shapes_coco``, with instances and panoptic; no file is touched."""
    root = os.path.join(root, "shapes_coco")
    for split in ("train", "val"):
        instances_json = os.path.join(root, "annotations", f"instances_{split}.json")
        image_root = os.path.join(root, split)
        register_coco_instances(f"shapes_coco_{split}", {}, instances_json, image_root)
        register_coco_panoptic(
            f"shapes_panoptic_{split}",
            {},
            image_root,
            os.path.join(root, f"panoptic_{split}"),
            os.path.join(root, "annotations", f"panoptic_{split}.json"),
            instances_json,
        )


_ROOT = os.path.expanduser(os.getenv("DETECTRON2_DATASETS", "datasets"))
register_builtin(_ROOT)
register_shapes_images(_ROOT)
