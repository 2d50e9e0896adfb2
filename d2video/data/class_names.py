"""The names of a registered data set's classes, also of one that sets them only when it is read."""

import logging

from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.utils.file_io import PathManager

from d2video.data.build import load_records
from d2video.data.datasets.coco_panoptic import panoptic_metadata
from d2video.formats.coco_panoptic import PanopticFile

logger = logging.getLogger(__name__)


def class_names(name: str) -> list[str] | None:
    """Names by contiguous class index; of a panoptic data set those of things, then of stuff.

    Where the metadata have no ``thing_classes``, the annotation file (``panoptic_json``, else
    ``json_file``, ``list_file`` or, of folders of videos, ``video_root``) is read. Images need not
    be there, nor the file: a checkpoint runs without data. None if no names can be found; the log
    says why.

    Raises:
        UserError: the reader of the annotation file refuses it.
    """
    metadata = MetadataCatalog.get(name)
    known = metadata.get("thing_classes")
    if known is not None:
        return list(known)
    panoptic_json = metadata.get("panoptic_json")
    others = (metadata.get(key) for key in ("json_file", "list_file", "video_root"))
    path = panoptic_json or next(filter(None, others), None)
    if name not in DatasetCatalog:
        fault = "it is not registered"
    elif path is None:
        fault = "its metadata have neither thing_classes nor the path of a file"
    elif not PathManager.exists(path):
        fault = f"{path} does not exist"
    elif panoptic_json is not None:
        # The loader would ask for the images as well.
        return panoptic_metadata(PanopticFile.read(panoptic_json))["thing_classes"]
    else:
        load_records(name)  # sets them
        known = metadata.get("thing_classes")
        if known is not None:
            return list(known)
        fault = f"reading {path} sets no thing_classes"
    logger.warning(
        "The class names of data set %s are unknown (%s): classes go by number", name, fault
    )
    return None
