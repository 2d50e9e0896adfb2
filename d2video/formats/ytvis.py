"""Annotation files in the YouTube-VIS JSON format, read under one set of rules.

The format (YouTube-VIS 2019/2021/2022, OVIS): ``videos`` with ``id, width, height, file_names``;
``categories`` with ``id, name``; ``annotations``, one a track, with ``id, video_id, category_id,
iscrowd`` and ``segmentations`` (polygons, RLE or null, one entry a frame). Unlabelled splits lack
``annotations`` or hold null there. What only training (``bboxes``) or only evaluation (``areas``)
needs is checked there.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from d2video.formats.faults import EntryError, Report, Tally, refuse
from d2video.formats.rle import to_rle
from d2video.formats.rle_checks import find_runs_fault
from d2video.formats.segmentation import find_segmentation_faults, without_short_polygons
from d2video.formats.text import (
    NOT_AS_EXPECTED,
    ids_without,
    json_entries,
    read_categories,
    read_json,
)
from d2video.utils.errors import UserError
from d2video.utils.limits import size_fault


@dataclass(frozen=True)
class VideoEntry:
    """One video: its frame size in pixels, its number of frames and, where given, their files."""

    video_id: int
    height: int
    width: int
    num_frames: int
    file_names: list[str] | None


@dataclass(frozen=True)
class TrackEntry:
    """One annotation.

    Attributes:
        track_id: above 0.
        video_id: of a video of the file.
        category_id: of a category of the file.
        is_crowd: a missing ``iscrowd`` is False.
        segmentations: one a frame: polygons, compressed RLE, or None.
        fields: the annotation as it stands in the file.
    """

    track_id: int
    video_id: int
    category_id: int
    is_crowd: bool
    segmentations: list[Any]
    fields: dict[str, Any]


@dataclass(frozen=True)
class YTVISFile:
    """The checked content of a file.

    Attributes:
        source: where it came from, for messages.
        categories: id → name, ids ascending.
        videos: id → video, in the order of the file.
        tracks: in the order of the file; None where there are no labels.
    """

    source: str
    categories: dict[int, str]
    videos: dict[int, VideoEntry]
    tracks: list[TrackEntry] | None

    @classmethod
    def read(cls, path: str, report: Report = refuse) -> "YTVISFile":
        """Read a file, local or anything that detectron2's PathManager reads.

        Raises:
            UserError: missing, empty or no JSON, or as :meth:`from_dict`.
        """
        # All runs of YouTube-VIS 2019 at once would take gigabytes of Python integers.
        return cls.from_dict(read_json(path, object_hook=_compress_rle), path, report)

    @classmethod
    def from_dict(cls, content: Any, source: str, report: Report = refuse) -> "YTVISFile":
        """Check the content of a file, which stays as it is.

        Args:
            content: of the file.
            source: its name, for faults.
            report: takes the faults of single videos and annotations: sizes that cannot be, ids
                that are repeated or refer to nothing, annotation ids below 1 (the official
                evaluation never counts id 0 as found), lists that are not one entry a frame,
                damaged masks, or masks of another size than the video's.

        Raises:
            UserError: another format, no videos or categories, or categories that are repeated.
        """
        if not isinstance(content, dict) or not isinstance(content.get("videos"), list):
            raise UserError(
                f"{source} is not in YouTube-VIS format: {_what_it_is(content)}; give an "
                "annotation file"
            )
        categories = read_categories(content, source)
        if len(set(categories.values())) < len(categories):
            raise UserError(f"{source}: 'categories' repeats a name; correct the file")
        videos: dict[int, VideoEntry] = {}
        for entry, fields in json_entries(content, "videos", source, report):
            with entry:
                video = _read_video(fields)
                if video.video_id in videos:
                    raise EntryError("it is there twice; give every video its own id")
                videos[video.video_id] = video
        if not content["videos"]:
            raise UserError(f"{source} lists no videos; fetch or write it again")
        if content.get("annotations") is None:
            return cls(source, categories, videos, None)
        faulty = ids_without(content["videos"], videos)
        polygons = Tally(source, "polygons")
        tracks: dict[int, TrackEntry] = {}
        for entry, fields in json_entries(content, "annotations", source, report):
            if fields.get("video_id") in faulty:
                continue
            with entry:
                track = _read_track(fields, videos, categories, polygons)
                if track.track_id < 1 or track.track_id in tracks:
                    raise EntryError("annotation ids must be unique and start at 1; correct them")
                tracks[track.track_id] = track
        polygons.tell(report)
        return cls(source, categories, videos, [*tracks.values()])


def frame_list(fields: Mapping[str, Any], key: str, video: VideoEntry) -> list[Any]:
    """``fields[key]``, which must be a list with one entry a frame, or an EntryError."""
    values = fields.get(key)
    if not isinstance(values, list) or len(values) != video.num_frames:
        got = len(values) if isinstance(values, list) else values
        raise EntryError(
            f"{key} must have one entry for each of the {video.num_frames} frames of video "
            f"{video.video_id}, got {got}; correct the file"
        )
    return values


def _compress_rle(parsed: dict[str, Any]) -> dict[str, Any]:
    """Compress an uncompressed RLE; anything else, faulty RLE too, is returned as it is."""
    counts, size = parsed.get("counts"), parsed.get("size")
    if not isinstance(counts, list) or not isinstance(size, list) or len(size) != 2:
        return parsed
    height, width = size
    if type(height) is not int or type(width) is not int or size_fault(height, width):
        return parsed
    if find_runs_fault(parsed, height, width):
        return parsed  # reported where the annotation's id is known
    return to_rle(parsed, height, width)


def _what_it_is(content: Any) -> str:
    if isinstance(content, dict) and "images" in content:
        return "it holds 'images', as COCO image files do"
    if isinstance(content, list):
        return "it is a list, as result files are"
    return "it has no list 'videos'"


def _read_video(fields: dict[str, Any]) -> VideoEntry:
    try:
        video_id, height, width = (int(fields[key]) for key in ("id", "height", "width"))
        names = fields.get("file_names")
        length = int(fields["length"]) if names is None else fields.get("length")
    except NOT_AS_EXPECTED:
        raise EntryError(
            "it needs id, height, width (numbers) and file_names; correct the file"
        ) from None
    if names is not None:
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise EntryError("file_names must be a list of paths; correct the file")
        if names and length not in (None, len(names)):
            raise EntryError(
                f"length is {length} but there are {len(names)} file_names; make them agree"
            )
        length = len(names)
    if not length or length < 1:
        raise EntryError("it has no frames; remove it from the file")
    fault = size_fault(height, width)
    if fault:
        raise EntryError(f"{fault}; correct it")
    return VideoEntry(video_id, height, width, length, names)


def _read_track(
    fields: dict[str, Any],
    videos: Mapping[int, VideoEntry],
    categories: Mapping[int, str],
    polygons: Tally,
) -> TrackEntry:
    try:
        track_id, video_id, category_id = (
            int(fields[key]) for key in ("id", "video_id", "category_id")
        )
        is_crowd = bool(fields.get("iscrowd", 0))
    except NOT_AS_EXPECTED:
        raise EntryError(
            "it needs id, video_id, category_id and segmentations; correct the file"
        ) from None
    if video_id not in videos:
        raise EntryError(f"its video {video_id} is not in the file; correct it")
    if category_id not in categories:
        raise EntryError(f"its category {category_id} is not in the file; correct it")
    segmentations = _read_segmentations(fields, videos[video_id], polygons)
    return TrackEntry(track_id, video_id, category_id, is_crowd, segmentations, fields)


def _read_segmentations(fields: dict[str, Any], video: VideoEntry, polygons: Tally) -> list[Any]:
    """Polygons, compressed RLE or None, one a frame, all sound; short polygons are left out."""
    size = video.height, video.width
    given = frame_list(fields, "segmentations", video)
    for frame, fault in find_segmentation_faults(given, *size):
        raise EntryError(f"segmentations, frame {frame}: {fault}; correct the file")
    sound = (without_short_polygons(s, polygons) for s in given)
    return [_compress_rle(s) if isinstance(s, dict) else s for s in sound]
