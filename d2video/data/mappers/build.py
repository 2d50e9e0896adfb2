"""The dataset mapper that a config names."""

from collections.abc import Sequence
from typing import Any

from detectron2.config import CfgNode

from d2video.data.mappers.clip import DATASET_MAPPER_REGISTRY
from d2video.data.mappers.detectron2_image import DatasetMapper
from d2video.data.records import Record
from d2video.utils.errors import UserError
from d2video.utils.registry import lookup


def build_mapper(cfg: CfgNode, is_train: bool) -> Any:
    """The dataset mapper that INPUT.DATASET_MAPPER names.

    Raises:
        UserError: no mapper has that name.
    """
    return mapper_class(cfg)(cfg, is_train)


def check_mapper(mapper: Any, records: Sequence[Record], dataset_name: str) -> None:
    """Let a mapper refuse records before anything is trained or tested.

    Raises:
        UserError: it does.
    """
    if isinstance(mapper, DatasetMapper) and any("file_name" not in r for r in records):
        raise UserError(
            f"dataset {dataset_name} holds videos, and INPUT.DATASET_MAPPER DatasetMapper takes "
            "images: choose ClipDatasetMapper"
        )
    if hasattr(mapper, "check_records"):
        try:
            mapper.check_records(records)
        except UserError as error:
            raise UserError(f"dataset {dataset_name}: {error}") from error


def mapper_class(cfg: CfgNode) -> Any:
    return lookup(DATASET_MAPPER_REGISTRY, cfg.INPUT.DATASET_MAPPER, "INPUT.DATASET_MAPPER")


def needs_labels(cfg: CfgNode) -> bool:
    """Whether the mapper trains on labels; one with ``needs_labels = False`` makes its own targets."""
    return getattr(mapper_class(cfg), "needs_labels", True)
