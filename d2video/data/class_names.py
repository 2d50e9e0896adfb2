"""The names of registered datasets' classes, also of one that sets them only when it is read."""

import logging
from collections.abc import Sequence
from typing import Any

from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.utils.file_io import PathManager

from d2video.data.datasets.coco_panoptic import panoptic_metadata
from d2video.data.loading import load_records
from d2video.formats.coco_panoptic import PanopticFile
from d2video.utils.errors import UserError

logger = logging.getLogger(__name__)


def class_names(*datasets: str) -> list[str] | None:
    """Names by contiguous class index, of the first of the datasets whose names can be found; of a
    panoptic dataset those of things, then of stuff.

    Where the metadata have no ``thing_classes``, the annotation file (``panoptic_json``, else
    ``json_file``, ``list_file``, ``labels_root`` or, of folders of videos, ``video_root``) is read; where
    that is not there, the metadata's ``usual_classes`` (a function) names them. Images need not be there,
    nor the file: a checkpoint runs without data. None if no names can be found; the log says why.

    Raises:
        UserError: no names can be found, and the reader of an annotation file refuses it.
    """
    faults, refused = [], []
    for name in datasets:
        try:
            names, fault = _find(name)
        except UserError as error:
            refused.append(error)
            continue
        if names is not None:
            return names
        faults.append(f"The class names of dataset {name} are unknown ({fault})")
    if refused:
        raise refused[0]
    if faults:
        logger.warning("%s: classes go by number", "; ".join(faults))
    return None


def known_categories(names: Sequence[str], *datasets: str) -> list[dict[str, Any]] | None:
    """The classes of the first dataset that has these names, as categories of a COCO file.

    No file is read: of a dataset whose metadata get their ids from its file, they are known once it
    has been read.

    Args:
        names: by contiguous class index, things first; "" for a class without one.

    Returns:
        [{"id": int, "name": text}, ...] of the things; ``None`` if no dataset is known to have them.
    """
    for dataset in datasets:
        metadata = MetadataCatalog.get(dataset)
        ids = metadata.get("thing_dataset_id_to_contiguous_id")
        if ids and [*metadata.get("thing_classes", ())] == [name for name in names if name]:
            return [{"id": each, "name": names[index]} for each, index in ids.items()]
    return None


def class_kinds(dataset: str) -> dict[str, bool]:
    """Which classes of a panoptic dataset are things (and the others stuff), by name; of any other set,
    or one whose file is not there, none.

    Raises:
        UserError: the reader of the annotation file refuses it.
    """
    metadata = MetadataCatalog.get(dataset)
    path = metadata.get("panoptic_json")
    ids = metadata.get("thing_dataset_id_to_contiguous_id")
    names = metadata.get("thing_classes")
    if path is None:
        return {}
    if ids is None or names is None:
        if not PathManager.exists(path):
            return {}
        found = panoptic_metadata(PanopticFile.read(path))
        ids, names = found["thing_dataset_id_to_contiguous_id"], found["thing_classes"]
    things = {*ids.values()}
    return {str(name): index in things for index, name in enumerate(names)}


def _find(name: str) -> tuple[list[str] | None, str]:
    """The names of a dataset's classes, or why they are not known."""
    metadata = MetadataCatalog.get(name)
    known = metadata.get("thing_classes")
    if known is not None:
        return list(map(str, known)), ""
    panoptic_json = metadata.get("panoptic_json")
    keys = ("json_file", "list_file", "video_root", "labels_root")
    others = (metadata.get(key) for key in keys)
    path = panoptic_json or next(filter(None, others), None)
    if name not in DatasetCatalog:
        return None, "it is not registered"
    if path is None:
        return None, "its metadata have neither thing_classes nor the path of a file"
    if not PathManager.exists(path):
        usual = metadata.get("usual_classes")
        return (usual() if usual else None), f"{path} does not exist"
    if panoptic_json is not None:
        # The loader would ask for the images as well.
        return panoptic_metadata(PanopticFile.read(panoptic_json))["thing_classes"], ""
    load_records(name)  # sets them
    known = metadata.get("thing_classes")
    if known is not None:
        return list(map(str, known)), ""
    return None, f"reading {path} sets no thing_classes"
