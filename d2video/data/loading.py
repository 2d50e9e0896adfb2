"""The records of a registered dataset, from its own loader."""

import inspect
import os

from detectron2.data import DatasetCatalog, MetadataCatalog

from d2video.data.datasets.coco import load_checked
from d2video.data.records import Record
from d2video.formats.faults import Report, refuse
from d2video.utils.errors import UserError
from d2video.utils.near_names import did_you_mean


def check_registered(dataset_name: str) -> None:
    """
    Raises:
        UserError: no dataset has this name (similar ones are listed), and it is not a path.
    """
    if dataset_name not in DatasetCatalog:
        if os.sep in dataset_name or os.extsep in dataset_name:
            raise UserError(
                f"'{dataset_name}' is neither a registered dataset nor a path that exists: correct it"
            )
        # detectron2's image datasets are registered too: the whole list would not help.
        hint = did_you_mean(dataset_name, DatasetCatalog, "correct the name or register it")
        raise UserError(f"dataset '{dataset_name}' is not registered: {hint}")


def load_records(dataset_name: str, report: Report = refuse) -> list[Record]:
    """The records of a registered dataset, from its own loader.

    Args:
        dataset_name: as in ``DATASETS.TRAIN``.
        report: takes the faults of single entries of its files, if the loader has a parameter of
            this name or is detectron2's.

    Raises:
        UserError: it is unknown, unreadable or empty.
    """
    check_registered(dataset_name)
    load, metadata = DatasetCatalog[dataset_name], MetadataCatalog.get(dataset_name)
    try:
        if "report" in inspect.signature(load).parameters:
            records = load(report=report)
        else:
            records = load_checked(dataset_name, load, report)
    except UserError as error:
        folder, command = metadata.get("generator", (".", ""))
        if os.path.isdir(folder):
            raise
        raise UserError(
            f"dataset {dataset_name} is generated, and {folder} is not there: make it with {command}"
        ) from error
    path = metadata.get("panoptic_json") or metadata.get("json_file")
    if path and not records and report is refuse:
        raise UserError(f"dataset {dataset_name} is empty: {path} names no image or video")
    return records
