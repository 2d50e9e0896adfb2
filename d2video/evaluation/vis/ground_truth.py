"""The labels that YouTube-VIS predictions are compared with.

Read separately from the training records: the protocol counts tracks that are never visible, takes
areas from the file rather than from the masks, and orders tracks as the file does.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pycocotools.mask as coco_mask

from d2video.formats.faults import EntryError, refuse, reporting
from d2video.formats.rle import to_rle
from d2video.formats.ytvis import TrackEntry, VideoEntry, YTVISFile, frame_list

RLE = dict[str, Any]  # {"size": [H, W], "counts": compressed code, bytes or str}


@dataclass(frozen=True)
class TrackTruth:
    """One labelled object.

    Attributes:
        track_id: the annotation's id, above 0.
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
        """Read an annotation file, see :meth:`YTVISFile.read` and :meth:`from_file`."""
        return cls.from_file(YTVISFile.read(path))

    @classmethod
    def from_dict(cls, content: Any, source: str = "ground truth") -> "YTVISGroundTruth":
        """Read the content of an annotation file, see :meth:`YTVISFile.from_dict`."""
        return cls.from_file(YTVISFile.from_dict(content, source))

    @classmethod
    def from_file(cls, file: YTVISFile) -> "YTVISGroundTruth":
        """Take the labels of a checked file.

        Missing ``areas``, on which the official code fails, are counted from the masks. The field
        ``ignore`` has no effect.

        Raises:
            UserError: ``areas`` are not a number or null for each frame.
        """
        tracks: dict[int, list[TrackTruth]] = {video_id: [] for video_id in file.videos}
        for entry in file.tracks or ():
            video = file.videos[entry.video_id]
            with reporting(refuse, file.source, "annotation", entry.track_id):
                tracks[entry.video_id].append(_track_truth(entry, video))
        return cls(
            source=file.source,
            categories=file.categories,
            videos={
                i: VideoTruth(i, v.height, v.width, v.num_frames, tuple(tracks[i]))
                for i, v in sorted(file.videos.items())
            },
            has_labels=file.tracks is not None,
        )


def _track_truth(entry: TrackEntry, video: VideoEntry) -> TrackTruth:
    masks = tuple(
        None if segmentation is None else to_rle(segmentation, video.height, video.width)
        for segmentation in entry.segmentations
    )
    if entry.fields.get("areas") is None:
        areas = [None if mask is None else int(coco_mask.area(mask)) for mask in masks]
    else:
        areas = frame_list(entry.fields, "areas", video)
    visible = [area for area in areas if area]
    # Written so that NaN fails, and what is too large to be a float.
    if not all(type(area) in (int, float) and abs(area) < 2**53 for area in visible):
        raise EntryError("areas must be numbers or null; correct the file")
    area = float(np.mean(visible)) if visible else 0.0
    return TrackTruth(entry.track_id, entry.category_id, entry.is_crowd, area, masks)
