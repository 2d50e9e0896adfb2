"""YouTube-VOS: palette masks of every fifth frame, and a file with the objects' classes.

::

    train/
        Annotations/<video>/00000.png
        JPEGImages/<video>/00000.jpg
        meta.json       {"videos": {<video>: {"objects": {"1": {"category": "cat", "frames": ["00000"]}}}}}

``frames`` are those in which an object is. In the valid split it is marked only in the first one, where
objects that came before are not marked although they are there. Such frames are left out.
"""

import os
from collections.abc import Collection
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from d2video.formats.faults import EntryError, Report, Tally, refuse, reporting, reporting_video
from d2video.formats.labels.footage import find_footage
from d2video.formats.labels.label_formats import label_format
from d2video.formats.labels.label_png import MaskFrame, add_masks, mask_files, read_mask_frames
from d2video.formats.labels.label_set import LabelSet
from d2video.formats.labels.recognition import Seen
from d2video.formats.paths import leaves_folder
from d2video.formats.text import as_json, read_json
from d2video.utils.errors import UserError
from d2video.utils.whole_numbers import whole_number
from d2video.video.image_io import visible_folders


@dataclass(frozen=True)
class _Object:
    """An object of a video: its class, and the names of the frames in which it is."""

    category: str
    frames: frozenset[str]


def is_youtube_vos(seen: Seen) -> bool:
    """Whether a folder or a file has the meta.json of a split."""
    return _is_meta(seen.json_of("*/meta.json") if seen.is_folder else seen.json)


def _is_meta(content: Any) -> bool:
    videos = content.get("videos") if isinstance(content, dict) else None
    return isinstance(videos, dict) and any(
        isinstance(each, dict) and isinstance(each.get("objects"), dict) for each in videos.values()
    )


@label_format("youtube_vos", is_youtube_vos)
def read_youtube_vos(
    root: str,
    report: Report = refuse,
    *,
    image_root: str | None = None,
    videos: Collection[str] | None = None,
    class_name: str | None = None,
) -> LabelSet:
    """Read a split of YouTube-VOS.

    Args:
        root: the folder of the split, or around it, or the meta.json.
        image_root: the folder of the videos' frames, such as train_all_frames/JPEGImages; None:
            JPEGImages beside the meta.json. Frames without a mask are not labelled.
        class_name: of all objects; None: their categories in the meta.json.

    Raises:
        UserError: there is no meta.json, or there are several; frames are missing.
    """
    path = _find_meta(root)
    base = os.path.dirname(path)
    content = read_json(path)
    if not _is_meta(content):
        raise UserError(f"{path} has no videos with objects: give YouTube-VOS's meta.json")
    listed: dict[str, dict[int, _Object]] = {}
    for name, fields in content["videos"].items():
        with reporting(report, path, "video", name):
            if leaves_folder(name) or not os.path.isdir(os.path.join(base, "Annotations", name)):
                raise EntryError(f"there is no folder Annotations/{name} of its masks: fetch it")
            listed[name] = _read_objects(fields, class_name)
    classes = {each.category for objects in listed.values() for each in objects.values()}
    labels = LabelSet(root, report, classes=sorted(classes), wanted=videos)
    tally = Tally(root, "frames with a PNG")
    for name, objects in listed.items():
        if not labels.wants(name):
            continue
        folder = os.path.join(base, "Annotations", name)
        names = [os.path.join("JPEGImages", name), *([] if image_root is None else [name])]
        with reporting_video(report, folder):
            footage = find_footage(path, base, names, image_root, is_only=len(listed) == 1)
            frames = read_mask_frames(mask_files(folder), footage, report)
            complete = [each for each in frames if _is_complete(each, objects)]
            tally.used += len(complete)
            tally.leave_out(
                "that do not mark all objects which are there by the meta.json",
                len(frames) - len(complete),
            )
            add_masks(labels, name, complete, footage.size, partial(_meaning, objects=objects))
    tally.tell(report)
    _tell_unlisted(os.path.join(base, "Annotations"), len(listed), content["videos"], report)
    return labels.finished()


def _find_meta(root: str) -> str:
    if os.path.isfile(root):
        return root
    for folders in ("", "*/", "*/*/"):
        found = sorted(Path(root).glob(f"{folders}meta.json"))
        if found:
            break
    else:
        raise UserError(f"{root} has no meta.json: give the folder of a split of YouTube-VOS")
    if len(found) > 1:
        names = ", ".join(each.parent.name for each in found)
        raise UserError(f"{root} has several splits, {names}: give the path of one of them")
    return str(found[0])


def _read_objects(fields: Any, class_name: str | None) -> dict[int, _Object]:
    """The objects of a video in the meta.json, by number."""
    objects = fields.get("objects") if isinstance(fields, dict) else None
    if not isinstance(objects, dict):
        raise EntryError("it has no 'objects', by number; correct it")
    found = {}
    for number, each in objects.items():
        value = whole_number(number, 5)
        if value is None or not isinstance(each, dict):
            raise EntryError(
                f"object {as_json(number)} is not a number with its category; correct it"
            )
        category, frames = class_name or each.get("category"), each.get("frames") or []
        if not isinstance(category, str) or not category:
            raise EntryError(
                f"object {number} has no category: add it, or name one for all (class_name)"
            )
        if not isinstance(frames, list) or not all(isinstance(name, str) for name in frames):
            raise EntryError(f"the frames of object {number} are not a list of names; correct it")
        found[value] = _Object(category, frozenset(frames))
    return found


def _is_complete(frame: MaskFrame, objects: dict[int, _Object]) -> bool:
    """Whether a PNG marks all objects that the meta.json has in its frame."""
    there = {number for number, each in objects.items() if Path(frame.path).stem in each.frames}
    return there <= frame.masks.keys()


def _meaning(number: int, objects: dict[int, _Object]) -> tuple[str, int, bool]:
    if number not in objects:
        known = ", ".join(map(str, objects)) or "none"
        raise EntryError(
            f"the meta.json does not have it among the video's objects ({known}): correct one of the two"
        )
    return objects[number].category, number, False


def _tell_unlisted(folder: str, used: int, listed: dict[str, Any], report: Report) -> None:
    tally = Tally(folder, "videos")
    tally.used = used
    found = visible_folders(folder)
    tally.leave_out("that the meta.json does not list", sum(e.name not in listed for e in found))
    tally.tell(report)
