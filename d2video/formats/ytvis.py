"""Annotation files in the YouTube-VIS JSON format, read under one set of rules.

The format (YouTube-VIS 2019/2021/2022, OVIS): ``videos`` with ``id, width, height, file_names``;
``categories`` with ``id, name``; ``annotations``, one a track, with ``id, video_id, category_id,
iscrowd`` and, one entry a frame each, ``segmentations`` (polygons, RLE or null), ``bboxes`` ([x, y,
width, height] or null) and ``areas``. Unlabelled splits lack ``annotations`` or hold null there.
Training, evaluation and d2video check read the files here; docs/formats/videos.md has the
rules.
"""

from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass
from os.path import normpath
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from d2video.formats.annotation_doubts import repeated
from d2video.formats.faults import Doubt, EntryError, Report, Tally, refuse
from d2video.formats.geometry.box_layout import layout_doubt
from d2video.formats.geometry.boxes import NO_BOX, is_area, is_box, unusable_box
from d2video.formats.geometry.rle import mask_areas, to_rle
from d2video.formats.geometry.rle_checks import find_runs_fault
from d2video.formats.geometry.segmentation import find_segmentation_faults, without_short_polygons
from d2video.formats.paths import portable
from d2video.formats.text import (
    as_json,
    check_size,
    ids_without,
    is_id,
    json_entries,
    read_categories,
    read_json,
)
from d2video.utils.collection import paused_collection
from d2video.utils.counted import counted
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
    """One annotation, an object in the L frames of its video.

    Attributes:
        track_id: from 0 on.
        video_id: of a video of the file.
        category_id: of a category of the file.
        is_crowd: not trained on, and never missed in evaluation.
        masks: L compressed RLEs of the video's size, None in frames without the object.
        boxes: L times x, y, width, height in pixels, in the frames whose mask covers a pixel, else None.
        area: mean over the frames whose area is neither null nor 0, pixels; 0 if there is none.
    """

    track_id: int
    video_id: int
    category_id: int
    is_crowd: bool
    masks: list[dict[str, Any] | None]
    boxes: list[list[float] | None]
    area: float


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
    @paused_collection()
    def read(cls, path: str, report: Report = refuse) -> "YTVISFile":
        """Read a file, local or anything that detectron2's PathManager reads.

        Raises:
            UserError: missing, empty or no JSON, or as :meth:`from_dict`.
        """
        # All runs of YouTube-VIS 2019 at once would take gigabytes of Python integers.
        content = read_json(path, object_hook=_compress_rle)
        return cls._from_content(content, _Labels(path, codes_are_sound=True), report)

    @classmethod
    def from_dict(cls, content: Any, source: str, report: Report = refuse) -> "YTVISFile":
        """Check the content of a file, which stays as it is.

        Args:
            content: of the file.
            source: its name, for faults.
            report: takes the faults of single videos and annotations (sizes that cannot be; ids that
                are not whole numbers, are repeated or refer to nothing; lists that are not one entry a
                frame; damaged masks, boxes or areas), doubts about the layout of the boxes, about
                tracks that are never visible or there twice and videos that share frames, and what
                is left out: crowds, boxes that cannot be.

        Raises:
            UserError: another format, no videos, faulty categories, or annotations of which none is
                used.
        """
        return cls._from_content(content, _Labels(source), report)

    @classmethod
    def _from_content(cls, content: Any, labels: "_Labels", report: Report) -> "YTVISFile":
        source = labels.source
        if not isinstance(content, dict) or not isinstance(content.get("videos"), list):
            raise UserError(
                f"{source} is not in YouTube-VIS format: {_what_it_is(content)}; give an "
                "annotation file"
            )
        categories = read_categories(content, source, report)
        videos: dict[int, VideoEntry] = {}
        for entry, fields in json_entries(content, "videos", source, report):
            with entry:
                video = _read_video(fields)
                if video.video_id in videos:
                    raise EntryError("it is there twice; give every video its own id")
                videos[video.video_id] = video
        if not content["videos"]:
            raise UserError(f"{source} lists no videos; fetch or write it again")
        _doubt_shared_frames(videos, source, report)
        if content.get("annotations") is None:
            return cls(source, categories, videos, None)
        faulty = ids_without(content["videos"], videos)
        tracks: dict[int, TrackEntry] = {}
        for entry, fields in json_entries(content, "annotations", source, report):
            if fields.get("video_id") in faulty:
                continue
            with entry:
                track = _read_track(fields, videos, categories, labels)
                if track.track_id in tracks:
                    raise EntryError("its id is there twice; give every annotation its own")
                tracks[track.track_id] = track
                labels.count(track)
                labels.ignored += bool(fields.get("ignore"))
        labels.tell(report)
        return cls(source, categories, videos, [*tracks.values()])


class _Labels:
    """What a file's annotations are, as a whole."""

    def __init__(self, source: str, codes_are_sound: bool = False) -> None:
        """``codes_are_sound``: RLE codes of bytes were made here, since JSON has no bytes."""
        self.source, self.codes_are_sound = source, codes_are_sound
        self.tracks, self.boxes, self.polygons = (
            Tally(source, noun) for noun in ("tracks", "boxes", "polygons")
        )
        self.invisible = self.ignored = 0
        self.seen: dict[Hashable, TrackEntry] = {}
        self.repeated: list[tuple[int, int]] = []  # ids of the first and of a later one
        # Of every box: itself, height and width of its frame, the box around its mask (NaN without).
        self.layout: list[tuple[list[float], tuple[int, int], list[float]]] = []

    def count(self, track: TrackEntry) -> None:
        if track.is_crowd:
            self.tracks.leave_out("with iscrowd 1")
            return
        self.tracks.used += 1
        self.invisible += not any(track.boxes)
        if any(track.boxes):
            boxes = tuple(box and tuple(box) for box in track.boxes)
            first = self.seen.setdefault((track.video_id, track.category_id, boxes), track)
            if first is not track and first.masks == track.masks:
                self.repeated.append((first.track_id, track.track_id))

    def tell(self, report: Report) -> None:
        if self.tracks.reasons and not self.tracks.used:
            raise UserError(f"{self.tracks.left_out()}: nothing is left; correct the file")
        for tally in (self.tracks, self.boxes, self.polygons):
            tally.tell(report)
        for doubt in filter(None, self._doubts()):
            report(doubt)

    def _doubts(self) -> Iterator[Doubt | None]:
        if self.invisible:
            yield Doubt(
                self.source,
                f"{self.invisible} of {self.tracks.used} tracks have no mask in any frame, so that "
                "evaluation counts them as missed by every model: remove them",
            )
        yield repeated(self.source, self.repeated)
        if self.ignored:
            yield Doubt(
                self.source,
                f"{self.ignored} annotations have 'ignore', which YouTube-VIS does not know: they are used "
                "as others are; give those that should not be iscrowd 1",
            )
        if self.layout:
            yield layout_doubt(self.source, *zip(*self.layout, strict=True))


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
    keys = ("id", "height", "width", "length", "file_names")
    given: tuple[Any, ...] = tuple(map(fields.get, keys))
    video_id, height, width, length, names = given
    for key, value in zip(keys[: 3 if names is not None else 4], given):
        if not is_id(value):
            raise EntryError(
                f"its {key}, {as_json(value)}, is not a whole number (it needs id, height, width and "
                "file_names); correct the file"
            )
    if names is not None:
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise EntryError("file_names must be a list of paths; correct the file")
        names = [*map(portable, names)]
        if names and length not in (None, len(names)):
            raise EntryError(
                f"length is {as_json(length)} but there are {len(names)} file_names; make them agree"
            )
        length = len(names)
    if length < 1:
        raise EntryError("it has no frames; remove it from the file")
    check_size(height, width)
    return VideoEntry(video_id, height, width, length, names)


def _doubt_shared_frames(videos: Mapping[int, VideoEntry], source: str, report: Report) -> None:
    frames = {each.video_id: [*map(normpath, each.file_names or ())] for each in videos.values()}
    twice = [video_id for video_id, names in frames.items() if len({*names}) < len(names)]
    if twice:
        text = (
            f"{counted(len(twice), 'video')} (the first is video {twice[0]}) with a frame file several "
            "times: list each once"
        )
        report(Doubt(source, text))
    first: dict[frozenset[str], int] = {}
    pairs = [(first.setdefault(frozenset(n), key), key) for key, n in frames.items() if n]
    same = [(one, other) for one, other in pairs if one != other]
    if same:
        text = (
            f"{counted(len(same), 'video')} with the frames of another one (such as videos {same[0][0]} and "
            f"{same[0][1]}), so that each has only a part of the labels: make one video of them"
        )
        report(Doubt(source, text))


def _read_track(
    fields: dict[str, Any],
    videos: Mapping[int, VideoEntry],
    categories: Mapping[int, str],
    labels: _Labels,
) -> TrackEntry:
    track_id, video_id, category_id = (
        _read_id(fields, key) for key in ("id", "video_id", "category_id")
    )
    if track_id < 0:
        raise EntryError("annotation ids start at 0; correct them")
    if video_id not in videos:
        raise EntryError(f"its video {video_id} is not in the file; correct it")
    if category_id not in categories:
        raise EntryError(f"its category {category_id} is not in the file; correct it")
    if fields.get("iscrowd") not in (None, 0, 1):
        raise EntryError(f"its iscrowd, {as_json(fields['iscrowd'])}, must be 0 or 1; correct it")
    video = videos[video_id]
    masks = _read_masks(fields, video, labels)
    return TrackEntry(
        *(track_id, video_id, category_id),
        is_crowd=bool(fields.get("iscrowd")),
        masks=masks,
        boxes=_read_boxes(fields, video, masks, labels),
        area=_read_area(fields, video, masks),
    )


def _read_id(fields: Mapping[str, Any], key: str) -> int:
    value: Any = fields.get(key)
    if not is_id(value):
        raise EntryError(f"its {key}, {as_json(value)}, is not a whole number; correct it")
    return int(value)


def _frame_list(fields: Mapping[str, Any], key: str, video: VideoEntry) -> list[Any]:
    """``fields[key]``, which must be a list with one entry a frame, or an EntryError."""
    values = fields.get(key)
    if not isinstance(values, list) or len(values) != video.num_frames:
        got = len(values) if isinstance(values, list) else as_json(values)
        raise EntryError(
            f"{key} must have one entry for each of the {video.num_frames} frames of video "
            f"{video.video_id}, got {got}; correct the file"
        )
    return values


def _read_masks(
    fields: dict[str, Any], video: VideoEntry, labels: _Labels
) -> list[dict[str, Any] | None]:
    size = video.height, video.width
    given = _frame_list(fields, "segmentations", video)
    unknown = given
    if labels.codes_are_sound:
        unknown = [None if _is_compressed(each, size) else each for each in given]
    for frame, fault in find_segmentation_faults(unknown, *size):
        raise EntryError(f"segmentations, frame {frame}: {fault}; correct the file")
    sound = (without_short_polygons(each, labels.polygons) for each in given)
    return [None if each is None else to_rle(each, *size) for each in sound]


def _is_compressed(segmentation: Any, size: tuple[int, int]) -> bool:
    """Whether it was compressed while the file was read, for frames of this size."""
    return (
        type(segmentation) is dict
        and type(segmentation.get("counts")) is bytes
        and segmentation["size"] == [*size]
    )


def _read_boxes(
    fields: dict[str, Any], video: VideoEntry, masks: list[dict[str, Any] | None], labels: _Labels
) -> list[list[float] | None]:
    """The file's boxes in the frames with a mask, and where they are missing or cannot be the mask's."""
    size = video.height, video.width
    given: list[Any] = [None] * len(masks)
    if fields.get("bboxes") is not None:
        given = _frame_list(fields, "bboxes", video)
    around = iter(coco_mask.toBbox([mask for mask in masks if mask is not None]).tolist())
    boxes: list[list[float] | None] = []
    for t, (box, mask) in enumerate(zip(given, masks, strict=True)):
        mask_box = None if mask is None else next(around)
        covered = mask_box if mask_box and mask_box[2] else None  # an empty mask covers nothing
        if box is None or box == []:
            boxes.append(covered)
            continue
        if not is_box(box):
            raise EntryError(
                f"bboxes, frame {t}: {as_json(box)} is not [x, y, width, height] in finite numbers; "
                "correct the file"
            )
        labels.layout.append((box, size, covered or NO_BOX))
        reason = unusable_box(box, *size)
        if reason is not None and covered:
            reason += " (the mask's is used)"
        if reason is None and not covered:
            reason = "without a mask" if mask is None else "whose mask is empty"
        if reason is None:
            labels.boxes.used += 1
            boxes.append(box)
        else:
            labels.boxes.leave_out(reason)
            boxes.append(covered)
    return boxes


def _read_area(
    fields: dict[str, Any], video: VideoEntry, masks: list[dict[str, Any] | None]
) -> float:
    if fields.get("areas") is None:
        areas = mask_areas([mask for mask in masks if mask is not None]).tolist()
    else:
        areas = [each for each in _frame_list(fields, "areas", video) if each is not None]
    if not all(map(is_area, areas)):
        raise EntryError("areas must be numbers of pixels or null; correct the file")
    visible = [area for area in areas if area]
    return float(np.mean(visible)) if visible else 0.0
