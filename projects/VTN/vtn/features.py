"""Datasets of features that were extracted beforehand, and their mapper."""

import os
from pathlib import Path
from typing import Any

from d2video.projects.vtn.feature_files import INDEX, read_features, read_index
from detectron2.config import CfgNode, configurable
from detectron2.data import DatasetCatalog, MetadataCatalog

from d2video.data import DATASET_MAPPER_REGISTRY
from d2video.utils.errors import UserError


def register_features(name: str, folder: str | Path) -> None:
    """Register a folder as a dataset of video classification, read when it is first used.

    A record has ``feature_file`` in place of ``file_name``; INPUT.DATASET_MAPPER is "FeatureMapper".
    """
    folder = Path(folder)

    def load() -> list[dict[str, Any]]:
        content = read_index(folder)
        if not content["videos"]:
            raise UserError(
                f"{folder / INDEX} lists no video yet: run projects/VTN/tools/extract_features.py to its end"
            )
        if content["classes"]:
            MetadataCatalog.get(name).set(thing_classes=content["classes"])
        records = []
        for video in content["videos"]:
            record = {"video_id": video["video_id"], "feature_file": str(folder / video["file"])}
            if "backbone" in content["source"]:
                record["backbone"] = content["source"]["backbone"]
            records.append(record | {"label": video["label"]} if "label" in video else record)
        return records

    DatasetCatalog.register(name, load)
    MetadataCatalog.get(name).set(evaluator_type="video_classification")


def default_folder(dataset_name: str) -> Path:
    """Where the features of a dataset lie whose name is registered on import."""
    root = Path(os.getenv("DETECTRON2_DATASETS", "datasets")).expanduser()
    return root / "vtn_features" / dataset_name


def register_default_folders() -> None:
    """Register each folder that ``projects/VTN/tools/extract_features.py`` has filled in its usual place, as
    ``<dataset>_features``."""
    for index in sorted(default_folder("x").parent.glob(f"*/{INDEX}")):
        name = f"{index.parent.name}_features"
        if name not in DatasetCatalog:
            register_features(name, index.parent)


@DATASET_MAPPER_REGISTRY.register()
class FeatureMapper:
    """From the record of a video whose features have been extracted to a model's input, for training
    and testing alike: all frames of the video."""

    @configurable
    def __init__(self, is_train: bool):
        self.is_train = is_train

    @classmethod
    def from_config(cls, cfg: CfgNode, is_train: bool = True) -> dict[str, Any]:
        return {"is_train": is_train}

    def __call__(self, record: dict[str, Any]) -> dict[str, Any]:
        """
        Returns:
            ``features`` (F, C) float32 or float16, ``frame_index`` (F,) int64 and what the record
            holds: ``feature_file``, ``video_id`` and, where known, ``label`` and ``backbone``
            (the fingerprint of the frame encoder that made the features).

        Raises:
            UserError: the record is of another kind, the file cannot be read, or, in training, there
                is no label.
        """
        if "feature_file" not in record:
            raise UserError(
                "INPUT.DATASET_MAPPER FeatureMapper takes features, and this dataset holds videos or "
                "images: run projects/VTN/tools/extract_features.py and name the set that it writes"
            )
        if self.is_train and "label" not in record:
            raise UserError(
                f"features {record['feature_file']} have no label: name a labelled set in "
                "DATASETS.TRAIN"
            )
        features, index = read_features(record["feature_file"])
        return {**record, "features": features, "frame_index": index}
