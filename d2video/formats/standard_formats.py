"""Which labels are in a standard format, YouTube-VIS, COCO's or MOTChallenge's, and what belongs to them."""

import os
from collections.abc import Iterator
from typing import Any

from d2video.formats.image_folders import find_folder_of, image_folders
from d2video.formats.labels.recognition import Seen, only_json_file, recogniser
from d2video.formats.mot_rules import BENCHMARKS, MASK_BENCHMARKS
from d2video.formats.mot_sequence import is_cvat_export, is_labelled_sequence, sequence_of_gt
from d2video.formats.paths import portable
from d2video.formats.text import read_lines
from d2video.video.image_io import visible_folders


@recogniser("ytvis")
def is_ytvis(seen: Seen) -> bool:
    content = _content(seen)
    return _lists("videos", content) and content.get("images") is None


@recogniser("coco")
def is_coco(seen: Seen) -> bool:
    content = _content(seen)
    others = (_has_tracks, _is_panoptic, _has_cvat_attributes)
    return _lists("images", content) and not any(each(content) for each in others)


def is_coco_of_cvat(seen: Seen) -> bool:
    """Whether annotations have the attributes that CVAT gives all of them."""
    content = _content(seen)
    others = _has_tracks(content) or _is_panoptic(content)
    return _lists("images", content) and _has_cvat_attributes(content) and not others


def is_coco_of_videos(seen: Seen) -> bool:
    """Whether images belong to videos."""
    return _has_tracks(_content(seen))


@recogniser("coco_panoptic")
def is_coco_panoptic(seen: Seen) -> bool:
    return _is_panoptic(_content(seen))


@recogniser("mot")
def is_mot(seen: Seen) -> bool:
    return not all(map(is_cvat_export, mot_sequences(seen.path)))


def mot_sequences(path: str) -> list[str]:
    """The folders of sequences in MOTChallenge's layout, by name: the path, the one whose gt/gt.txt it is, or
    those in it."""
    folder = sequence_of_gt(path)
    if folder is None:
        return []
    if is_labelled_sequence(folder):
        return [folder]
    return [str(each) for each in visible_folders(folder) if is_labelled_sequence(each)]


def mot_benchmark(sequences: list[str]) -> str:
    """The benchmark whose rules fit: by the form of the first labels, or else by the sequences' names.

    MOT17's, unless anything speaks for another one.
    """
    for path in (os.path.join(folder, "gt", "gt.txt") for folder in sequences):
        first = next(filter(str.strip, read_lines(path)), "") if os.path.isfile(path) else ""
        if len(first.split(",")) == 10:
            return "MOT15"
        if len(first.split()) == 6 and "," not in first:
            return "MOTS20"
        if first:
            possible = [each for each in BENCHMARKS if each not in MASK_BENCHMARKS]
            break
    else:
        possible = [*BENCHMARKS]
    names = [os.path.basename(folder).lower() for folder in sequences]
    return next((b for b in possible for n in names if n.startswith(b.lower())), "MOT17")


def find_image_root(seen: Seen, path: str, *, needs_images: bool = True) -> str:
    """The folder that the names of images in a JSON file of labels are relative to, see
    :func:`find_folder_of`."""
    content, file = _content(seen), only_json_file(seen.path)
    places = image_folders(file, content.get("image_root"))
    return find_folder_of(_image_names(content), file, path, places, needs_images=needs_images)


def _image_names(content: dict[str, Any]) -> Iterator[str]:
    """The names of images or frames."""
    for entry in content.get("images") or content.get("videos") or ():
        names = entry.get("file_names", [entry.get("file_name")]) if isinstance(entry, dict) else ()
        yield from (portable(name) for name in names or () if isinstance(name, str) and name)


def _content(seen: Seen) -> dict[str, Any]:
    """Of the JSON file, or of the only one in a folder; {} if it is another kind."""
    return seen.content if isinstance(seen.content, dict) else {}


def _lists(key: str, content: dict[str, Any]) -> bool:
    return isinstance(content.get(key), list)


def _has_tracks(content: dict[str, Any]) -> bool:
    images = content.get("images")
    return _has("frame_id", images) or (_has("frame_index", images) and _has("video_id", images))


def _is_panoptic(content: dict[str, Any]) -> bool:
    return _has("segments_info", content.get("annotations"))


def _has_cvat_attributes(content: dict[str, Any]) -> bool:
    objects = _objects(content.get("annotations"))
    return _has("occluded", [each.get("attributes") for each in objects])


def _has(key: str, entries: Any) -> bool:
    """Whether any object of a list has a key."""
    return any(key in each for each in _objects(entries))


def _objects(entries: Any) -> Iterator[dict[str, Any]]:
    """The objects of a list; nothing of anything else."""
    if isinstance(entries, list):
        yield from (each for each in entries if isinstance(each, dict))
