"""The labels that YouTube-VIS predictions are compared with.

Kept apart from the training records: the protocol counts tracks that are never visible, takes areas
from the file where it has them, and orders tracks as the file does. Their ids play no part: the
official code never counts annotation 0 as found.
"""

from dataclasses import dataclass
from typing import Any

from d2video.formats.faults import Report, refuse
from d2video.formats.ytvis import TrackEntry, YTVISFile

RLE = dict[str, Any]  # {"size": [H, W], "counts": compressed code, bytes or str}


@dataclass(frozen=True)
class VideoTruth:
    """One video: its frame size in pixels, its L frames and its tracks in the file's order."""

    video_id: int
    height: int
    width: int
    num_frames: int
    tracks: tuple[TrackEntry, ...]


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
    def from_dict(
        cls, content: Any, source: str = "ground truth", report: Report = refuse
    ) -> "YTVISGroundTruth":
        """Read the content of an annotation file, see :meth:`YTVISFile.from_dict`."""
        return cls.from_file(YTVISFile.from_dict(content, source, report))

    @classmethod
    def from_file(cls, file: YTVISFile) -> "YTVISGroundTruth":
        """Take the labels of a checked file."""
        tracks: dict[int, list[TrackEntry]] = {video_id: [] for video_id in file.videos}
        for entry in file.tracks or ():
            tracks[entry.video_id].append(entry)
        return cls(
            source=file.source,
            categories=file.categories,
            videos={
                i: VideoTruth(i, v.height, v.width, v.num_frames, tuple(tracks[i]))
                for i, v in sorted(file.videos.items())
            },
            has_labels=file.tracks is not None,
        )
