"""Read and register video datasets in the YouTube-VIS JSON format (formats/ytvis.py).

For training, annotations have ``bboxes`` besides: [x, y, w, h] or null, one entry a frame.
"""

import logging
import os
from functools import partial
from typing import Any

import numpy as np
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.structures import BoxMode

from d2video.data.datasets.class_metadata import set_classes
from d2video.data.datasets.from_config import dataset_format
from d2video.data.records import Annotation, VideoRecord
from d2video.formats.faults import EntryError, Report, refuse, reporting
from d2video.formats.paths import leaves_folder
from d2video.formats.ytvis import TrackEntry, VideoEntry, YTVISFile, frame_list

logger = logging.getLogger(__name__)


@dataset_format("ytvis")
def register_ytvis_instances(
    name: str, metadata: dict[str, Any], json_file: str, image_root: str
) -> None:
    """Register a dataset in YouTube-VIS format under ``name``; the file is read on first use.

    Args:
        metadata: set on the dataset's ``MetadataCatalog`` entry, e.g. ``thing_classes`` (checked
            against the file when it is read) and ``thing_colors``; may be empty.
        image_root: the folder that the file's ``file_names`` are relative to.
    """
    DatasetCatalog.register(name, partial(load_ytvis_json, json_file, image_root, name))
    MetadataCatalog.get(name).set(
        json_file=json_file, image_root=image_root, evaluator_type="ytvis", **metadata
    )


def load_ytvis_json(
    json_file: str,
    image_root: str,
    dataset_name: str | None = None,
    report: Report = refuse,
) -> list[VideoRecord]:
    """Read one file of the YouTube-VIS format; no image is opened and no mask rasterised.

    An object counts as present in a frame where both its box and its segmentation are given (the
    official reading). Uncompressed RLE is compressed, a tenth of the memory.

    Args:
        json_file: path, local or anything that detectron2's PathManager reads.
        image_root: folder that ``file_names`` are relative to.
        dataset_name: if given, ``thing_classes`` and ``thing_dataset_id_to_contiguous_id`` of this
            ``MetadataCatalog`` entry are set from the file.
        report: takes the faults of :meth:`YTVISFile.from_dict`, and boxes that are not one a frame
            or lie outside it, missing file names, or ones that leave ``image_root``.

    Returns:
        One dict a video, in the order of the file, as described in docs/architecture.md. Category
        ids are contiguous from 0 in the order of the file's ids; track ids are the file's.

    Raises:
        UserError: as :meth:`YTVISFile.read`, or categories that differ from the registered ones.
    """
    file = YTVISFile.read(json_file, report)
    contiguous_id = {category_id: k for k, category_id in enumerate(file.categories)}
    if dataset_name is not None:
        set_classes(dataset_name, [*file.categories.values()], contiguous_id, json_file)
    records: dict[int, VideoRecord] = {}
    for video in file.videos.values():
        with reporting(report, json_file, "video", video.video_id):
            records[video.video_id] = {
                "video_id": video.video_id,
                "file_names": _paths(video, image_root),
                "height": video.height,
                "width": video.width,
                "length": video.num_frames,
            }
    if file.tracks is not None:
        _add_annotations(records, file, contiguous_id, report)
    logger.info("Read %d videos from %s", len(records), json_file)
    return list(records.values())


def _paths(video: VideoEntry, root: str) -> list[str]:
    if video.file_names is None:
        raise EntryError("it needs file_names; correct the file")
    for name in video.file_names:
        if leaves_folder(name):
            raise EntryError(f"frame '{name}' lies outside the image root; correct it")
    return [os.path.join(root, name) for name in video.file_names]


def _add_annotations(
    records: dict[int, VideoRecord],
    file: YTVISFile,
    contiguous_id: dict[int, int],
    report: Report,
) -> None:
    frames: dict[int, list[list[Annotation]]] = {}
    for video_id, record in records.items():
        record["annotations"] = frames[video_id] = [[] for _ in range(record["length"])]
    half_absent = 0
    for track in file.tracks or ():
        if track.video_id not in records:
            continue
        with reporting(report, file.source, "annotation", track.track_id):
            boxes = _boxes(track, file.videos[track.video_id])
            for t, (box, segmentation) in enumerate(zip(boxes, track.segmentations, strict=True)):
                # An empty list is how some exporters write null.
                if not box or segmentation is None:
                    half_absent += bool(box) != (segmentation is not None)
                    continue
                frames[track.video_id][t].append(
                    {
                        "id": track.track_id,
                        "category_id": contiguous_id[track.category_id],
                        "iscrowd": int(track.is_crowd),
                        "bbox": box,
                        "bbox_mode": BoxMode.XYWH_ABS,
                        "segmentation": segmentation,
                    }
                )
    if half_absent:
        logger.warning(
            "%s: %d times a track has a box without a segmentation or the reverse; it counts as "
            "absent there",
            *(file.source, half_absent),
        )


def _boxes(track: TrackEntry, video: VideoEntry) -> list[Any]:
    """One a frame, those that are used inside the frame."""
    height, width = video.height, video.width
    boxes = frame_list(track.fields, "bboxes", video)
    for t, (box, segmentation) in enumerate(zip(boxes, track.segmentations, strict=True)):
        if not box or segmentation is None:
            continue
        try:
            x, y, w, h = box
            # Written so that NaN fails; boxes that stick out are legal and get clipped later.
            good = 0 <= w < np.inf and 0 <= h < np.inf
            good = good and -w <= x <= width and -h <= y <= height
        except (TypeError, ValueError):
            good = False
        if not good:
            raise EntryError(
                f"frame {t}: box {box} is not an [x, y, w, h] inside the {width}x{height} frame; "
                "correct the file"
            )
    return boxes
