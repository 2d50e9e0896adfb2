"""The labels that YouTube-VIS predictions are compared with.

Read separately from the training records: the protocol counts tracks that are never visible, takes
areas from the file rather than from the masks, and orders tracks as the file does.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pycocotools.mask as coco_mask
from detectron2.utils.file_io import PathManager

from d2video.structures.rle_codec import find_mask_fault
from d2video.utils.errors import UserError

RLE = dict[str, Any]  # {"size": [H, W], "counts": compressed code, bytes or str}


@dataclass(frozen=True)
class TrackTruth:
    """One labelled object.

    Attributes:
        track_id: the annotation's id, not 0.
        category_id: as in the file.
        is_crowd: may be matched any number of times and is never missed.
        area: mean over the frames whose area is neither null nor 0, pixels; 0 if there is none.
        masks: L compressed RLEs, None in frames without the object.
    """

    track_id: int
    category_id: int
    is_crowd: bool
    area: float
    masks: tuple[RLE | None, ...]


@dataclass(frozen=True)
class VideoTruth:
    """One video: its frame size in pixels, its L frames and its tracks in the file's order."""

    video_id: int
    height: int
    width: int
    num_frames: int
    tracks: tuple[TrackTruth, ...]


@dataclass(frozen=True)
class YTVISGroundTruth:
    """A file in YouTube-VIS format, read for evaluation.

    Attributes:
        source: where it came from, for messages.
        categories: id → name, ids ascending.
        videos: id → video, ids ascending.
        has_labels: False for splits whose ``annotations`` are missing or null.
    """

    source: str
    categories: dict[int, str]
    videos: dict[int, VideoTruth]
    has_labels: bool

    @classmethod
    def from_json(cls, path: str) -> "YTVISGroundTruth":
        """Read an annotation file.

        Raises:
            UserError: there is no such file, it is not JSON, or as :meth:`from_dict`.
        """
        if not PathManager.isfile(path):
            raise UserError(f"annotation file {path} does not exist: mend the path")
        try:
            with PathManager.open(path, "rb") as file:
                content = json.loads(file.read())
        except ValueError as error:
            raise UserError(f"{path} is not JSON ({error}): fetch or write it again") from error
        return cls.from_dict(content, source=path)

    @classmethod
    def from_dict(cls, content: Any, source: str = "ground truth") -> "YTVISGroundTruth":
        """Read the content of an annotation file, which stays as it is.

        The number of frames is that of ``file_names`` (of ``length`` where there are none); a
        ``length`` that contradicts the file names is not read, as in the official code. What the
        official code fails on is defined here: a missing ``iscrowd`` is 0, missing ``areas`` are
        counted from the masks. The field ``ignore`` has no effect.

        Raises:
            UserError: another format, ids that are repeated or refer to nothing, lists that are
                not one entry a frame, masks of another size than the video's, or annotation id 0,
                which the official code silently scores as missed even when it was found.
        """
        if not isinstance(content, dict) or not isinstance(content.get("videos"), list):
            raise UserError(
                f"{source} is not in YouTube-VIS format (no list 'videos'): give an annotation file"
            )
        categories = _read_categories(content.get("categories"), source)
        videos = _read_videos(content["videos"], source)
        annotations = content.get("annotations")
        if annotations is not None and not isinstance(annotations, list):
            raise UserError(f"{source}: 'annotations' must be a list or null; mend the file")

        tracks: dict[int, list[TrackTruth]] = {video_id: [] for video_id in videos}
        seen: set[int] = set()
        for annotation in annotations or ():
            video_id, track = _read_track(annotation, videos, categories, source)
            if track.track_id in seen:
                raise UserError(f"{source}: annotation id {track.track_id} is there twice; mend it")
            seen.add(track.track_id)
            tracks[video_id].append(track)
        return cls(
            source=source,
            categories=categories,
            videos={
                i: VideoTruth(i, *shape, tracks=tuple(tracks[i])) for i, shape in videos.items()
            },
            has_labels=annotations is not None,
        )


def _read_categories(categories: Any, source: str) -> dict[int, str]:
    try:
        names = {int(c["id"]): str(c["name"]) for c in categories}
    except (KeyError, TypeError, ValueError):
        raise UserError(f"{source}: 'categories' must be a list of {{id, name}}") from None
    if len(names) < len(categories) or len(set(names.values())) < len(categories):
        raise UserError(f"{source}: 'categories' repeats an id or a name; mend the file")
    return dict(sorted(names.items()))


def _read_videos(videos: list, source: str) -> dict[int, tuple[int, int, int]]:
    """id → (height, width, number of frames), ids ascending."""
    shapes: dict[int, tuple[int, int, int]] = {}
    for index, video in enumerate(videos):
        try:
            names = video.get("file_names")
            num_frames = len(names) if names is not None else int(video["length"])
            video_id, height, width = int(video["id"]), int(video["height"]), int(video["width"])
        except (AttributeError, KeyError, TypeError, ValueError):
            raise UserError(
                f"{source}: videos[{index}] needs id, height, width and file_names (or length)"
            ) from None
        if video_id in shapes:
            raise UserError(f"{source}: video id {video_id} is there twice; mend the file")
        if min(height, width, num_frames) <= 0 or height * width >= 2**32:
            raise UserError(
                f"{source}: video {video_id} has {num_frames} frames of {width}x{height}, which "
                "cannot be; mend the file"
            )
        shapes[video_id] = height, width, num_frames
    return dict(sorted(shapes.items()))


def _read_track(
    annotation: Any,
    videos: Mapping[int, tuple[int, int, int]],
    categories: Mapping[int, str],
    source: str,
) -> tuple[int, TrackTruth]:
    try:
        track_id, video_id = int(annotation["id"]), int(annotation["video_id"])
        category_id, segmentations = int(annotation["category_id"]), annotation["segmentations"]
        is_crowd = bool(annotation.get("iscrowd", 0))
        areas = annotation.get("areas")
    except (AttributeError, KeyError, TypeError, ValueError):
        which = annotation.get("id", "?") if isinstance(annotation, dict) else annotation
        raise UserError(
            f"{source}: annotation {which} needs id, video_id, category_id and segmentations"
        ) from None
    where = f"{source}: annotation {track_id}"
    if track_id == 0:
        raise UserError(
            f"{where}: the official evaluation never counts id 0 as found; number from 1"
        )
    if video_id not in videos:
        raise UserError(f"{where} is of video {video_id}, which is not in the file; mend it")
    if category_id not in categories:
        raise UserError(f"{where} is of category {category_id}, which is not in the file; mend it")
    height, width, num_frames = videos[video_id]
    for field, values in (("segmentations", segmentations), ("areas", areas)):
        if values is None and field == "areas":
            continue
        if not isinstance(values, list) or len(values) != num_frames:
            got = len(values) if isinstance(values, list) else values
            raise UserError(
                f"{where}: {field} must have one entry for each of the {num_frames} frames of "
                f"video {video_id}, got {got}; mend the file"
            )
    masks = tuple(
        _to_rle(segmentation, height, width, f"{where}, segmentations, frame {frame}")
        for frame, segmentation in enumerate(segmentations)
    )
    fault = find_mask_fault(masks, height, width)
    if fault is not None:
        raise UserError(f"{where}, segmentations, frame {fault[0]}: {fault[1]}; mend the file")
    if areas is None:
        areas = [None if mask is None else int(coco_mask.area(mask)) for mask in masks]
    visible = [area for area in areas if area]
    try:
        area = float(np.mean(visible)) if visible else 0.0
    except TypeError:
        raise UserError(f"{where}: areas must be numbers or null; mend the file") from None
    return video_id, TrackTruth(track_id, category_id, is_crowd, area, masks)


def _to_rle(segmentation: Any, height: int, width: int, where: str) -> RLE | None:
    """Polygons, uncompressed or compressed RLE to compressed RLE; null and empty lists to None."""
    if segmentation is None or segmentation == []:
        return None
    if isinstance(segmentation, list):
        for polygon in segmentation:
            if not isinstance(polygon, list) or len(polygon) < 6 or len(polygon) % 2:
                raise UserError(
                    f"{where}: a polygon is a list of three or more x, y; mend the file"
                )
        return coco_mask.merge(coco_mask.frPyObjects(segmentation, height, width))
    if isinstance(segmentation, dict) and isinstance(segmentation.get("counts"), list):
        size, counts = segmentation.get("size"), segmentation["counts"]
        if size != [height, width] or sum(counts) != height * width or min(counts) < 0:
            raise UserError(
                f"{where}: the mask's size {size} and its runs must be those of the video's frames "
                f"[{height}, {width}]; mend the file"
            )
        return coco_mask.frPyObjects(segmentation, height, width)
    return segmentation
