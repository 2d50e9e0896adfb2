"""What evaluators need of a dataset's metadata."""

from typing import Any

from detectron2.data import DatasetCatalog, MetadataCatalog

from d2video.data.loading import load_records
from d2video.utils.errors import UserError


def required_metadata(dataset_name: str, key: str, registered_with: str) -> Any:
    """An entry of a dataset's metadata. Some loaders set it when they first read the dataset.

    Raises:
        UserError: there is none, or an empty list; the message says how to register the dataset.
    """
    metadata = MetadataCatalog.get(dataset_name)
    if metadata.get(key) is None and dataset_name in DatasetCatalog:
        load_records(dataset_name)
    if metadata.get(key) == []:
        raise UserError(f"dataset {dataset_name}: its labels name no class; label an object")
    if metadata.get(key) is None:
        raise UserError(
            f"dataset {dataset_name} has no {key} in its metadata: register it with "
            f"{registered_with}"
        )
    return metadata.get(key)
