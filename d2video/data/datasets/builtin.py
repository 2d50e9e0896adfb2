"""Register YouTube-VIS 2019, 2021, 2022 and OVIS under ``$DETECTRON2_DATASETS``.

Layout (the default root is ``./datasets``, as in detectron2)::

    ytvis_2019/  ytvis_2021/  ytvis_2022/
        {train,valid,test}.json
        {train,valid,test}/JPEGImages/<video>/<frame>.jpg
    ovis/
        annotations/annotations_{train,valid,test}.json
        {train,valid,test}/<video>/<frame>.jpg

    shapes/                            (tools/make_shapes_dataset.py)
        {train,val}.json
        {train,val}/JPEGImages/<video>/<frame>.jpg

Registered names end in ``_train``, ``_val`` and ``_test``. Labels of val and test are not public:
tools/split_ytvis.py makes a held-out split from train.
"""

import os

from d2video.data.datasets.ytvis import register_ytvis_instances
from d2video.data.datasets.ytvis_categories import (
    OVIS_CLASSES,
    YTVIS_2019_CLASSES,
    YTVIS_2021_CLASSES,
    ytvis_metadata,
)

# name -> (classes, annotation file, image folder); {split} is the name of the files.
_DATASETS = {
    "ytvis_2019": (
        YTVIS_2019_CLASSES,
        "ytvis_2019/{split}.json",
        "ytvis_2019/{split}/JPEGImages",
    ),
    "ytvis_2021": (
        YTVIS_2021_CLASSES,
        "ytvis_2021/{split}.json",
        "ytvis_2021/{split}/JPEGImages",
    ),
    "ytvis_2022": (
        YTVIS_2021_CLASSES,
        "ytvis_2022/{split}.json",
        "ytvis_2022/{split}/JPEGImages",
    ),
    "ovis": (OVIS_CLASSES, "ovis/annotations/annotations_{split}.json", "ovis/{split}"),
}
_SPLITS = {"train": "train", "val": "valid", "test": "test"}


def register_all_ytvis(root: str) -> None:
    """Register every dataset of this module below the folder ``root``; no file is touched."""
    for dataset, (class_names, json_file, image_root) in _DATASETS.items():
        for split, file_split in _SPLITS.items():
            register_ytvis_instances(
                f"{dataset}_{split}",
                ytvis_metadata(class_names),
                os.path.join(root, json_file.format(split=file_split)),
                os.path.join(root, image_root.format(split=file_split)),
            )


def register_shapes(root: str) -> None:
    """Register ``shapes_train`` and ``shapes_val``, made by tools/make_shapes_dataset.py."""
    for split in ("train", "val"):
        folder = os.path.join(root, "shapes", split)
        register_ytvis_instances(f"shapes_{split}", {}, f"{folder}.json", f"{folder}/JPEGImages")


_ROOT = os.path.expanduser(os.getenv("DETECTRON2_DATASETS", "datasets"))
register_all_ytvis(_ROOT)
register_shapes(_ROOT)
