"""Videos in the YouTube-VIS JSON format (formats/ytvis.py)."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from d2video.data.export.objects import (
    box_of,
    categories_of,
    check_videos,
    frame_objects,
    json_rle,
    labelled,
    mask_of,
    relative_names,
    written,
)
from d2video.data.records import Record
from d2video.formats.faults import Report, Tally, refuse
from d2video.formats.geometry.rle import mask_areas
from d2video.utils.errors import UserError


def youtube_vis_content(
    records: Sequence[Record],
    class_names: Sequence[str],
    *,
    image_root: str | None = None,
    source: str = "the dataset",
    report: Report = refuse,
) -> dict[str, Any]:
    """The content of a file, of values that JSON has.

    What the format does not know is in keys of its own: ``name`` and ``frame_numbers`` of a video,
    ``track_id`` (the one of the records) and ``visibility`` (a list, where a part is hidden) of an
    annotation. What is to be ignored becomes one track of crowds for each id and class.

    Args:
        records: of videos, with labels or without.
        class_names: by category id.
        image_root: the folder that ``file_names`` are relative to; None: they stay as they are.
        source: what messages call the data.
        report: takes what is left out: boxes without a mask, which the format does not know.

    Raises:
        UserError: the records are images or none, no object has a mask, or a frame is not in
            ``image_root``.
    """
    check_videos(records, source, "youtube-vis")
    records = labelled(records, source, report)
    content: dict[str, Any] = {
        "videos": [_video(record, image_root) for record in records],
        "categories": categories_of(class_names),
    }
    if "annotations" not in records[0]:
        return content
    tally, regions = written(source, "objects in frames"), written(source, "regions to ignore")
    tracks = (track for record in records for track in _tracks(record, tally, regions))
    content["annotations"] = [{"id": k, **track} for k, track in enumerate(tracks, 1)]
    if tally.reasons and not tally.used:
        count = tally.reasons.total()
        raise UserError(
            f"{source}: none of {count} objects in frames has a mask, and youtube-vis holds masks only: take "
            "labels with masks, or another format"
        )
    tally.tell(report)
    regions.tell(report)
    return content


def _video(record: Record, image_root: str | None) -> dict[str, Any]:
    video = {
        "id": record["video_id"],
        "width": record["width"],
        "height": record["height"],
        "length": record["length"],
        "file_names": relative_names(record["file_names"], image_root),
    }
    if "sequence" in record:
        video["name"] = record["sequence"]
    if "frame_numbers" in record:
        video["frame_numbers"] = [*map(int, record["frame_numbers"])]
    return video


def _tracks(record: Record, tally: Tally, regions: Tally) -> Iterable[dict[str, Any]]:
    """The annotations of a video without their ids; those without any mask are left out."""
    size = record["height"], record["width"]
    tracks: dict[tuple[bool, int, int], dict[str, Any]] = {}
    for frame, each, ignored in frame_objects(record):
        mask, counts = mask_of(each, *size), regions if ignored else tally
        if mask is None:
            counts.leave_out("that have a box and no mask")
            continue
        counts.used += 1
        key = ignored, int(each.get("id", 0)), int(each["category_id"])
        if key not in tracks:
            tracks[key] = _empty_track(record, key)
        _put(tracks[key], frame, mask, box_of(each), float(each.get("visibility", 1)))
    for track in tracks.values():
        _finish(track)
    return tracks.values()


def _empty_track(record: Record, key: tuple[bool, int, int]) -> dict[str, Any]:
    ignored, track_id, category = key
    lists = ("segmentations", "bboxes", "areas", "visibility")
    return {
        "video_id": record["video_id"],
        "category_id": category + 1,
        "iscrowd": int(ignored),
        "track_id": track_id,
        "height": record["height"],
        "width": record["width"],
        "length": record["length"],
        **{name: [None] * record["length"] for name in lists},
    }


def _put(
    track: dict[str, Any], frame: int, mask: dict[str, Any], box: list[float], visibility: float
) -> None:
    before = track["segmentations"][frame]
    if before is not None:  # several regions to ignore
        mask = coco_mask.merge([before, mask])
        box = coco_mask.toBbox(mask).tolist()
    track["segmentations"][frame], track["bboxes"][frame] = mask, box
    track["visibility"][frame] = visibility


def _finish(track: dict[str, Any]) -> None:
    """Fill in what depends on the whole track, and make the masks JSON."""
    masks = track["segmentations"]
    present = [k for k, mask in enumerate(masks) if mask is not None]
    areas = mask_areas([masks[k] for k in present])
    for k, area in zip(present, areas.tolist(), strict=True):
        track["areas"][k] = area
        masks[k] = json_rle(masks[k])
    if np.all([track["visibility"][k] == 1 for k in present]):
        del track["visibility"]
