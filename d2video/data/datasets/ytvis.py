"""Read and register video datasets in the YouTube-VIS JSON format.

The format (YouTube-VIS 2019/2021/2022, OVIS): ``videos`` with ``id, width, height, file_names``;
``categories`` with ``id, name``; ``annotations``, one a track, with ``id, video_id, category_id,
iscrowd`` and the lists ``bboxes`` ([x, y, w, h] or null) and ``segmentations`` (polygons, RLE or
null), one entry a frame. Unlabelled splits lack ``annotations`` or hold null there.
"""

import json
import logging
import os
from functools import partial
from typing import Any

import numpy as np
import pycocotools.mask as mask_util
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.structures import BoxMode
from detectron2.utils.file_io import PathManager

from d2video.utils.errors import UserError

logger = logging.getLogger(__name__)

Record = dict[str, Any]


def register_ytvis_instances(
    name: str, metadata: dict[str, Any], json_file: str, image_root: str
) -> None:
    """Register a dataset in YouTube-VIS format under ``name``; the file is read on first use.

    Args:
        name: as it will stand in ``DATASETS.TRAIN`` or ``DATASETS.TEST``.
        metadata: set on the dataset's ``MetadataCatalog`` entry, e.g. ``thing_classes`` (checked
            against the file when it is read) and ``thing_colors``; may be empty.
        json_file: the annotation file.
        image_root: the folder that the file's ``file_names`` are relative to.
    """
    DatasetCatalog.register(name, partial(load_ytvis_json, json_file, image_root, name))
    MetadataCatalog.get(name).set(
        json_file=json_file, image_root=image_root, evaluator_type="ytvis", **metadata
    )


def load_ytvis_json(
    json_file: str, image_root: str, dataset_name: str | None = None
) -> list[Record]:
    """Read one file of the YouTube-VIS format; no image is opened and no mask decoded.

    An object counts as present in a frame where both its box and its segmentation are given (the
    official reading). Uncompressed RLE is compressed, a tenth of the memory.

    Args:
        json_file: path of the JSON file, local or anything that detectron2's PathManager reads.
        image_root: folder that ``file_names`` are relative to.
        dataset_name: if given, ``thing_classes`` and ``thing_dataset_id_to_contiguous_id`` of this
            ``MetadataCatalog`` entry are set from the file.

    Returns:
        One dict a video, in the order of the file, as described in docs/architecture.md. Category
        ids are contiguous from 0 in the order of the file's ids; track ids are the file's.

    Raises:
        UserError: missing, empty or malformed file, another format, ids that refer to nothing,
            lists of the wrong length, boxes or masks outside the video's frame, file names that
            leave ``image_root``, or categories that differ from the registered ones.
    """
    content = _read_json(json_file)
    class_names, contiguous_id = _read_categories(content, json_file)
    if dataset_name is not None:
        _set_categories(dataset_name, class_names, contiguous_id, json_file)
    records = _read_videos(content, json_file, image_root)
    if content.get("annotations") is not None:
        _add_annotations(records, content["annotations"], contiguous_id, json_file)
    logger.info("Read %d videos from %s", len(records), json_file)
    return list(records.values())


def _read_json(json_file: str) -> dict[str, Any]:
    if not PathManager.isfile(json_file):
        raise UserError(
            f"dataset file {json_file} does not exist: set DETECTRON2_DATASETS or mend the path"
        )
    try:
        with PathManager.open(json_file, "r", encoding="utf-8") as file:
            text = file.read()
        if not text or text.isspace():
            raise UserError(f"dataset file {json_file} is empty: fetch or write it again")
        content = json.loads(text, object_hook=_compress_rle)
    except ValueError as error:  # JSONDecodeError, or UnicodeDecodeError for binary files
        raise UserError(f"dataset file {json_file} is not JSON ({error}): fetch it again") from None
    if isinstance(content, dict) and isinstance(content.get("videos"), list):
        return content
    if isinstance(content, dict) and "images" in content:
        found = "it holds 'images', as COCO image files do"
    elif isinstance(content, list):
        found = "it is a list, as result files are"
    else:
        found = "it has no list 'videos'"
    raise UserError(f"{json_file} is not in YouTube-VIS format: {found}; give an annotation file")


def _compress_rle(parsed: dict[str, Any]) -> dict[str, Any]:
    """Compress an uncompressed RLE; anything else, faulty RLE too, is returned as it is.

    Called by the parser on every object while it reads, because all runs of YouTube-VIS 2019 at
    once would take gigabytes of Python integers.
    """
    counts = parsed.get("counts")
    if isinstance(counts, list) and _is_size(parsed.get("size")):
        height, width = parsed["size"]
        try:
            if sum(counts) == height * width and min(counts) >= 0:
                return mask_util.frPyObjects(parsed, height, width)
        except TypeError:
            pass  # runs that are not numbers: reported where the annotation's id is known
    return parsed


def _is_size(size: Any) -> bool:
    return isinstance(size, list) and len(size) == 2 and all(type(n) is int for n in size)


def _read_categories(content: dict[str, Any], json_file: str) -> tuple[list[str], dict[int, int]]:
    try:
        names = {int(c["id"]): str(c["name"]) for c in content["categories"]}
    except (KeyError, TypeError, ValueError):
        raise UserError(
            f"{json_file}: 'categories' must be a list of {{id, name}}; add it to the file"
        ) from None
    if not names or len(names) < len(content["categories"]):
        raise UserError(f"{json_file}: 'categories' is empty or repeats an id; mend the file")
    ids = sorted(names)
    return [names[i] for i in ids], {i: k for k, i in enumerate(ids)}


def _set_categories(
    dataset_name: str, class_names: list[str], contiguous_id: dict[int, int], json_file: str
) -> None:
    meta = MetadataCatalog.get(dataset_name)
    registered = meta.get("thing_classes", class_names)
    if list(registered) != class_names:
        # Name one difference: whole lists of 40 classes do not fit on a line.
        position, expected, found = next(
            (k, *pair)
            for k, pair in enumerate(
                zip([*registered, "(none)"], [*class_names, "(none)"], strict=False)
            )
            if pair[0] != pair[1]
        )
        raise UserError(
            f"{json_file}: class {position} is '{found}', but dataset {dataset_name} is registered "
            f"with '{expected}'; use the file of that dataset or register this one by another name"
        )
    meta.set(thing_classes=registered, thing_dataset_id_to_contiguous_id=contiguous_id)


def _read_videos(content: dict[str, Any], json_file: str, root: str) -> dict[int, Record]:
    records: dict[int, Record] = {}
    for video in content["videos"]:
        where = f"{json_file}: video {video.get('id', '?') if isinstance(video, dict) else video}"
        try:
            video_id, height, width = (int(video[key]) for key in ("id", "height", "width"))
            names = video["file_names"]
        except (KeyError, TypeError, ValueError):
            raise UserError(
                f"{where} needs id, height, width (numbers) and file_names; mend the file"
            ) from None
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise UserError(f"{where}: file_names must be a list of paths; mend the file")
        if not names:
            raise UserError(f"{where} has no frames; remove it from the file")
        if video.get("length", len(names)) != len(names):
            raise UserError(
                f"{where}: length is {video['length']} but there are {len(names)} file_names; "
                "make them agree"
            )
        if height <= 0 or width <= 0:
            raise UserError(f"{where}: its size is {width}x{height}; it must be positive")
        if video_id in records:
            raise UserError(f"{where} is there twice; give every video its own id")
        for name in names:
            if os.path.isabs(name) or ".." in name.replace("\\", "/").split("/"):
                raise UserError(f"{where}: frame '{name}' lies outside the image root; mend it")
        records[video_id] = {
            "video_id": video_id,
            "file_names": [os.path.join(root, name) for name in names],
            "height": height,
            "width": width,
            "length": len(names),
        }
    if not records:
        raise UserError(f"{json_file} lists no videos; fetch or write it again")
    return records


def _add_annotations(
    records: dict[int, Record],
    annotations: Any,
    contiguous_id: dict[int, int],
    json_file: str,
) -> None:
    if not isinstance(annotations, list):
        raise UserError(f"{json_file}: 'annotations' must be a list or null; mend the file")
    for record in records.values():
        record["annotations"] = [[] for _ in range(record["length"])]

    seen: set[int] = set()
    half_absent = 0
    for track in annotations:
        try:
            track_id, video_id = int(track["id"]), int(track["video_id"])
            category_id = int(track["category_id"])
            boxes, segmentations = track["bboxes"], track["segmentations"]
            iscrowd = int(track.get("iscrowd", 0))
        except (KeyError, TypeError, ValueError):
            which = track.get("id", "?") if isinstance(track, dict) else track
            raise UserError(
                f"{json_file}: annotation {which} needs id, video_id, category_id, bboxes and "
                "segmentations; mend the file"
            ) from None
        where = f"{json_file}: annotation {track_id}"
        if track_id < 0 or track_id in seen:
            raise UserError(f"{where}: annotation ids must be unique and not negative; mend it")
        seen.add(track_id)
        if video_id not in records:
            raise UserError(f"{where} is of video {video_id}, which is not in the file; mend it")
        if category_id not in contiguous_id:
            raise UserError(f"{where} is of category {category_id}, which is not in the file")
        record = records[video_id]
        for key, values in (("bboxes", boxes), ("segmentations", segmentations)):
            if not isinstance(values, list) or len(values) != record["length"]:
                got = len(values) if isinstance(values, list) else values
                raise UserError(
                    f"{where}: {key} must have one entry for each of the {record['length']} frames "
                    f"of video {video_id}, got {got}; mend the file"
                )
        height, width = record["height"], record["width"]
        for t, (box, segmentation) in enumerate(zip(boxes, segmentations, strict=True)):
            # An empty list is how some exporters write null.
            if not box or not segmentation:
                half_absent += bool(box) != bool(segmentation)
                continue
            _check_box(box, height, width, where, t)
            _check_segmentation(segmentation, height, width, where, t)
            record["annotations"][t].append(
                {
                    "id": track_id,
                    "category_id": contiguous_id[category_id],
                    "iscrowd": iscrowd,
                    "bbox": box,
                    "bbox_mode": BoxMode.XYWH_ABS,
                    "segmentation": segmentation,
                }
            )
    if half_absent:
        logger.warning(
            "%s: %d times a track has a box without a segmentation or the reverse; "
            "it counts as absent there",
            json_file,
            half_absent,
        )


def _check_box(box: Any, height: int, width: int, where: str, t: int) -> None:
    try:
        x, y, w, h = box
        # Written so that NaN fails; boxes that stick out are legal and get clipped later.
        good = 0 <= w < np.inf and 0 <= h < np.inf
        good = good and -w <= x <= width and -h <= y <= height
    except (TypeError, ValueError):
        good = False
    if not good:
        raise UserError(
            f"{where}, frame {t}: box {box} is not an [x, y, w, h] inside the {width}x{height} "
            "frame; mend the file"
        )


def _check_segmentation(segmentation: Any, height: int, width: int, where: str, t: int) -> None:
    where = f"{where}, frame {t}"
    if isinstance(segmentation, dict):
        size = segmentation.get("size")
        if size != [height, width]:
            raise UserError(
                f"{where}: its RLE has size {size} but the video is [{height}, {width}] (h, w); "
                "make them agree"
            )
        counts = segmentation.get("counts")
        if not isinstance(counts, (str, bytes)) or not counts:
            raise UserError(
                f"{where}: the counts of its RLE must be a string, or runs that sum to the "
                f"{height * width} pixels of the frame; mend the file"
            )
        return
    if not isinstance(segmentation, list):
        raise UserError(f"{where}: a segmentation is polygons, RLE or null; mend the file")
    for polygon in segmentation:
        if not isinstance(polygon, list) or len(polygon) < 6 or len(polygon) % 2:
            raise UserError(f"{where}: a polygon is a list of at least 3 pairs x, y; mend it")
        xs, ys = polygon[0::2], polygon[1::2]
        try:
            # A polygon may stick out, as a box may.
            inside = max(xs) >= 0 and min(xs) <= width and max(ys) >= 0 and min(ys) <= height
        except TypeError:
            inside = False
        if not inside:
            raise UserError(f"{where}: a polygon lies outside the {width}x{height} frame; mend it")
