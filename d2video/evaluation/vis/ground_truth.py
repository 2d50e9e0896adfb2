"""The labels that YouTube-VIS predictions are compared with.

Kept apart from the training records: the protocol counts tracks that are never visible, takes areas
from the file where it has them, and orders tracks as the file does. Their ids play no part: the
official code never counts annotation 0 as found.
"""

from dataclasses import dataclass
from typing import Any

from d2video.formats.ytvis import YTVISFile

RLE = dict[str, Any]  # {"size": [H, W], "counts": compressed code, bytes or str}


@dataclass(frozen=True)
class TrackTruth:
    """One labelled object.

    Attributes:
        track_id: the annotation's id.
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
        """Take the labels of a checked file."""
        tracks: dict[int, list[TrackTruth]] = {video_id: [] for video_id in file.videos}
        for entry in file.tracks or ():
            tracks[entry.video_id].append(
                TrackTruth(
                    *(entry.track_id, entry.category_id, entry.is_crowd, entry.area),
                    masks=tuple(entry.masks),
                )
            )
        return cls(
            source=file.source,
            categories=file.categories,
            videos={
                i: VideoTruth(i, v.height, v.width, v.num_frames, tuple(tracks[i]))
                for i, v in sorted(file.videos.items())
            },
            has_labels=file.tracks is not None,
        )
