"""Which labels are in a standard format, YouTube-VIS, COCO's or MOTChallenge's, and what belongs to them."""

import os
import re
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

from d2video.fetching import around
from d2video.formats.mot_rules import BENCHMARKS, MASK_BENCHMARKS
from d2video.formats.mot_sequence import is_cvat_export, is_labelled_sequence, sequence_of_gt
from d2video.formats.paths import portable
from d2video.formats.recognition import Seen, recogniser
from d2video.formats.text import read_lines
from d2video.utils.errors import UserError
from d2video.video.frame_names import file_of_frame

LOOKED_FOR = 10  # images


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
    inner = sorted(entry.path for entry in os.scandir(folder) if entry.is_dir())
    return [each for each in inner if is_labelled_sequence(each)]


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


def find_json_file(seen: Seen, path: str) -> str:
    """The JSON file of labels, which a folder may hold.

    Raises:
        UserError: the folder holds none, or several.
    """
    if seen.only_json is None:
        raise UserError(f"{path} holds no JSON file, or several: name the one with the labels")
    return seen.only_json.path


def find_image_root(seen: Seen, path: str, *, needs_images: bool = True) -> str:
    """The folder that the names of images in a JSON file of labels are relative to, see
    :func:`find_folder_of`."""
    content, file = _content(seen), find_json_file(seen, path)
    places = image_folders(file, content.get("image_root"))
    return find_folder_of(_image_names(content), file, path, places, needs_images=needs_images)


def find_folder_of(
    names: Iterable[str],
    file: str,
    path: str,
    places: Iterable[str] | None = None,
    *,
    needs_images: bool = True,
) -> str:
    """The folder below or beside a JSON file in which there is an image of these names.

    Args:
        names: of which only the first ones are looked for; some may be missing.
        path: what messages call the file.
        places: to look at; None: :func:`image_folders`.
        needs_images: False: if there is none, it is the file's own folder.

    Raises:
        UserError: there is none.
    """
    wanted, places = [*islice(names, LOOKED_FOR)], dict.fromkeys(places or image_folders(file))
    for name in wanted:
        for place in places:
            if os.path.isfile(file_of_frame(os.path.join(place, name))):
                return place
    if not needs_images:
        return os.path.dirname(file) or "."
    raise UserError(
        f"{path}: the folder of its images was not found ({wanted[0] if wanted else 'it names none'} is not "
        "beside it, nor in images or JPEGImages): name the folder as image_root"
    )


def _image_names(content: dict[str, Any]) -> Iterator[str]:
    """The names of images or frames."""
    for entry in content.get("images") or content.get("videos") or ():
        names = entry.get("file_names", [entry.get("file_name")]) if isinstance(entry, dict) else ()
        yield from (portable(name) for name in names or () if isinstance(name, str) and name)


def image_folders(file: str, stated: Any = None) -> Iterator[str]:
    """Where images of a file such as ``train.json`` or ``instances_train.json`` are, the likeliest first.

    Args:
        stated: the folder that the file names as ``image_root``, relative to its own, as files that d2video
            writes do; None: it names none.
    """
    if isinstance(stated, str):
        yield os.path.normpath(os.path.join(os.path.dirname(file), stated))
    folder, name = os.path.split(os.path.abspath(file))
    stem = os.path.splitext(name)[0]
    splits = (stem, *reversed(re.split("[_-]", stem)))
    places = [*around(folder), *around(os.path.dirname(folder))]
    for split in splits:
        for place in places:
            for parts in ((split, "JPEGImages"), (split, "images"), ("images", split), (split,)):
                yield os.path.join(place, *parts)
    for place in places:
        for part in ("", "images", "JPEGImages", "frames"):
            yield os.path.join(place, part)


def _content(seen: Seen) -> dict[str, Any]:
    """Of the JSON file, or of the only one in a folder; {} if it is another kind."""
    content = None if seen.only_json is None else seen.only_json.json
    return content if isinstance(content, dict) else {}


def _lists(key: str, content: dict[str, Any]) -> bool:
    return isinstance(content.get(key), list)


def _has_tracks(content: dict[str, Any]) -> bool:
    images = content.get("images")
    return _has("frame_id", images) or (_has("frame_index", images) and _has("video_id", images))


def _is_panoptic(content: dict[str, Any]) -> bool:
    return _has("segments_info", content.get("annotations"))


def _has_cvat_attributes(content: dict[str, Any]) -> bool:
    entries = content.get("annotations")
    objects = (
        [each for each in entries if isinstance(each, dict)] if isinstance(entries, list) else []
    )
    return _has("occluded", [each.get("attributes") for each in objects])


def _has(key: str, entries: Any) -> bool:
    """Whether any object of a list has a key."""
    return isinstance(entries, list) and any(
        key in each for each in entries if isinstance(each, dict)
    )
