"""Read and register video datasets in the YouTube-VIS JSON format (formats/ytvis.py)."""

import logging
import os
from collections.abc import Iterable
from functools import partial
from typing import Any

from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.structures import BoxMode

from d2video.data.datasets.class_metadata import set_classes
from d2video.data.datasets.from_config import dataset_format
from d2video.data.records import Annotation, VideoRecord
from d2video.formats.faults import EntryError, Report, refuse, reporting
from d2video.formats.paths import leaves_folder
from d2video.formats.ytvis import TrackEntry, VideoEntry, YTVISFile

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

    An object is present in the frames where its mask covers a pixel. Masks are compressed RLE.

    Args:
        json_file: path, local or anything that detectron2's PathManager reads.
        image_root: folder that ``file_names`` are relative to.
        dataset_name: if given, ``thing_classes`` and ``thing_dataset_id_to_contiguous_id`` of this
            ``MetadataCatalog`` entry are set from the file.
        report: takes what :meth:`YTVISFile.from_dict` finds, and file names that are missing or leave
            ``image_root``.

    Returns:
        One dict a video, in the order of the file, as described in docs/extend/architecture.md. Category
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
        _add_annotations(records, file.tracks, contiguous_id)
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
    records: dict[int, VideoRecord], tracks: Iterable[TrackEntry], contiguous_id: dict[int, int]
) -> None:
    frames: dict[int, list[list[Annotation]]] = {}
    for video_id, record in records.items():
        record["annotations"] = frames[video_id] = [[] for _ in range(record["length"])]
    for track in tracks:
        if track.video_id not in records:
            continue
        visible = zip(frames[track.video_id], track.boxes, track.masks, strict=True)
        for frame, box, mask in visible:
            if box is None:
                continue
            frame.append(
                {
                    "id": track.track_id,
                    "category_id": contiguous_id[track.category_id],
                    "iscrowd": int(track.is_crowd),
                    "bbox": box,
                    "bbox_mode": BoxMode.XYWH_ABS,
                    "segmentation": mask,
                }
            )
