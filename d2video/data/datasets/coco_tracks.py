"""Register tracking data in COCO's JSON with track ids (formats/coco_tracks.py)."""

import logging
import os
from functools import partial
from typing import Any

import numpy as np
from detectron2.data import DatasetCatalog, MetadataCatalog

from d2video.data.datasets.from_config import dataset_format
from d2video.data.frame_annotations import FrameAnnotations
from d2video.data.records import TrackingRecord
from d2video.formats.coco_tracks import BoxEntry, COCOTracksFile, ImageEntry
from d2video.formats.faults import Report, refuse

logger = logging.getLogger(__name__)


@dataset_format("coco_tracks")
def register_coco_tracks(name: str, json_file: str, image_root: str) -> None:
    """Register videos in COCO's JSON with track ids under ``name``; the file is read on first use.

    The metadata get ``evaluator_type`` "mot" and ``benchmark`` "MOT17": boxes of class 0 are scored
    as pedestrians. What the records leave out (crowds, ``ignore``) is not in the ground truth.

    Args:
        name: as it will stand in ``DATASETS.TRAIN`` or ``DATASETS.TEST``.
        json_file: the annotation file.
        image_root: the folder that the file's ``file_name`` are relative to.
    """
    DatasetCatalog.register(name, partial(load_coco_tracks, json_file, image_root, name))
    MetadataCatalog.get(name).set(
        json_file=json_file, image_root=image_root, evaluator_type="mot", benchmark="MOT17"
    )


def load_coco_tracks(
    json_file: str,
    image_root: str,
    dataset_name: str | None = None,
    report: Report = refuse,
) -> list[TrackingRecord]:
    """Read one file; no image is opened.

    Boxes stay as they are, with corners from 0 on as in COCO. (The files that the official
    TrackFormer makes of MOT17 hold corners from 1 on: read MOT17 with
    :func:`~d2video.data.datasets.mot.register_mot` instead.)

    Args:
        json_file: path, local or anything that detectron2's PathManager reads.
        image_root: folder that ``file_name`` is relative to.
        dataset_name: if given, ``thing_classes`` and ``thing_dataset_id_to_contiguous_id`` of this
            ``MetadataCatalog`` entry are set from the file.
        report: takes the faults of entries, see :meth:`COCOTracksFile.read`.

    Returns:
        one dict a video as docs/architecture.md describes those of tracking data. ``sequence`` is
        the name in the file's ``videos``, else "video_1" and so on. ``annotations`` is a
        :class:`FrameAnnotations`, absent where the file has none. Crowds and objects with
        ``ignore`` are left out.

    Raises:
        UserError: as :meth:`COCOTracksFile.read`.
    """
    file = COCOTracksFile.read(json_file, report)
    contiguous_id = {category_id: k for k, category_id in enumerate(file.categories)}
    if dataset_name is not None:
        MetadataCatalog.get(dataset_name).set(
            thing_classes=[*file.categories.values()],
            thing_dataset_id_to_contiguous_id=contiguous_id,
        )
    records: list[TrackingRecord] = [
        {
            "video_id": video_id,
            "sequence": name,
            "file_names": [os.path.join(image_root, image.file_name) for image in frames],
            "height": frames[0].height,
            "width": frames[0].width,
            "length": len(frames),
            "first_frame": 1,
        }
        for video_id, (name, frames) in enumerate(zip(file.names, file.videos, strict=True), 1)
    ]
    if file.boxes is not None:
        per_image: dict[Any, list[BoxEntry]] = {}
        for box in file.boxes:
            per_image.setdefault(box.image_id, []).append(box)
        for record, frames in zip(records, file.videos, strict=True):
            record["annotations"] = _annotations(frames, per_image, contiguous_id)
    logger.info("Read %d videos from %s", len(records), json_file)
    return records


def _annotations(
    frames: list[ImageEntry], per_image: dict[Any, list[BoxEntry]], contiguous_id: dict[int, int]
) -> FrameAnnotations:
    placed = [
        (t, box) for t, image in enumerate(frames) for box in per_image.get(image.image_id, ())
    ]
    boxes = [box for _, box in placed]
    columns = {
        "id": np.array([box.track_id for box in boxes], dtype=np.int64),
        "category_id": np.array([contiguous_id[box.category_id] for box in boxes], dtype=np.int64),
        "bbox": np.array([box.box for box in boxes]).reshape(-1, 4),
        "visibility": np.array([box.visibility for box in boxes]),
    }
    if boxes and boxes[0].mask is not None:
        columns["segmentation"] = np.empty(len(boxes), dtype=object)
        columns["segmentation"][:] = [box.mask for box in boxes]
    return FrameAnnotations(len(frames), np.array([t for t, _ in placed], dtype=np.int64), columns)
