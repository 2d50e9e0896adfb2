"""Register tracking data in COCO's JSON with track ids (formats/cocovid.py)."""

import logging
from functools import partial

from detectron2.data import DatasetCatalog, MetadataCatalog

from d2video.data.datasets.class_metadata import set_classes
from d2video.data.datasets.from_config import dataset_format
from d2video.data.datasets.label_sets import records_of
from d2video.data.records import Record
from d2video.formats.cocovid import read_cocovid
from d2video.formats.faults import Report, refuse
from d2video.utils.collection import paused_collection

logger = logging.getLogger(__name__)


@dataset_format("coco_tracks")
def register_coco_tracks(
    name: str, json_file: str, image_root: str, *, masks: bool = False
) -> None:
    """Register videos in COCO's JSON with track ids under ``name``; the file is read on first use.

    Tracks are scored by class, boxes by the rules of BDD100K: crowds and objects with ``ignore`` are
    regions to ignore. With ``masks`` they are scored by the rules of MOTS20; each object needs one.

    The metadata get ``evaluator_type`` ("mot", or "mots" with ``masks``) and ``benchmark``.

    ``image_root`` is the folder that the file's ``file_name`` are relative to, or holds the folders of the
    videos that they are relative to.
    """
    DatasetCatalog.register(name, partial(load_coco_tracks, json_file, image_root, name))
    MetadataCatalog.get(name).set(
        json_file=json_file,
        image_root=image_root,
        evaluator_type="mots" if masks else "mot",
        benchmark="MOTS20" if masks else "MOT17",
    )


@paused_collection()
def load_coco_tracks(
    json_file: str,
    image_root: str,
    dataset_name: str | None = None,
    report: Report = refuse,
) -> list[Record]:
    """Read one file, see :func:`~d2video.formats.cocovid.read_cocovid`.

    Args:
        json_file: path, local or anything that detectron2's PathManager reads.
        image_root: see :func:`register_coco_tracks`.
        dataset_name: if given, ``thing_classes`` and ``thing_dataset_id_to_contiguous_id`` of this
            ``MetadataCatalog`` entry are set from the file.
        report: takes what the reader finds.

    Returns:
        one dict a video as docs/extend/architecture.md describes those of tracking data
    """
    labels = read_cocovid(json_file, report, image_root=image_root)
    if dataset_name is not None:
        set_classes(dataset_name, labels.classes, labels.contiguous_ids(labels.classes), json_file)
    records = records_of(labels, labels.videos)
    logger.info("Read %d videos from %s", len(records), json_file)
    return records
