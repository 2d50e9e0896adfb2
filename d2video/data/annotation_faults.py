"""All faults of an annotation file, of which the readers tell the first.

The readers judge; here an entry or line that they refuse is taken out, and the rest is read again.
"""

import json
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from d2video.data.datasets.ytvis import ytvis_records
from d2video.data.records import Record
from d2video.formats.json_text import parse_json
from d2video.formats.ytvis import YTVISFile
from d2video.utils.errors import UserError

# Reading again and again takes long, and nobody reads more.
MOST_FAULTS = 100
_MORE = "there may be more faults: these are the first {}"


def ytvis_faults(json_file: str, image_root: str) -> tuple[list[str], list[Record]]:
    """The faults of a file in YouTube-VIS format, and the records of what is sound.

    Raises:
        UserError: nothing of it can be used.
    """
    try:
        return [], ytvis_records(YTVISFile.read(json_file), image_root)
    except UserError as error:
        whole = error
    try:
        content = parse_json(Path(json_file).read_bytes())
        videos, annotations = content["videos"], content.get("annotations")
        common = {"categories": content["categories"]}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise whole from None

    def check(video: Any, labels: list[Any]) -> list[Record]:
        part = common | {"videos": [video], "annotations": labels}
        return ytvis_records(YTVISFile.from_dict(part, json_file), image_root)

    faults: list[str] = []
    records: list[Record] = []
    left = list(annotations) if isinstance(annotations, list) else []
    for video in videos:
        try:
            check(video, [])
        except UserError as error:
            faults.append(str(error))
            continue
        own = [a for a in left if isinstance(a, dict) and a.get("video_id") == video["id"]]
        sound: list[Any] = []
        for annotation in own:
            try:
                check(video, [*sound, annotation] if len(own) < 50 else [annotation])
                sound.append(annotation)
            except UserError as error:
                faults.append(str(error))
        records += check(video, sound)
    known = {video.get("id") for video in videos if isinstance(video, dict)}
    for annotation in left:
        if not isinstance(annotation, dict) or annotation.get("video_id") not in known:
            number = annotation.get("id") if isinstance(annotation, dict) else annotation
            faults.append(f"{json_file}: annotation {number} is of no video of the file; mend it")
    # What only the whole shows: an id that two entries have.
    return faults or [str(whole)], records


def line_faults(path: str, read: Callable[[str], Any]) -> tuple[list[str], Any]:
    """The faults of a text file whose reader names the line, and what it read of the rest.

    Args:
        path: of the file.
        read: reads a file, a copy of this one without some lines; raises UserError.

    Returns:
        The faults, and what ``read`` gave for the rest; None if it gave nothing.
    """
    lines = Path(path).read_text(encoding="utf-8", errors="surrogateescape").splitlines()

    def drop(message: str) -> str | None:
        found = re.search(r", (?:after )?line (\d+)", message)
        if not found or not lines[int(found[1]) - 1].strip():
            return None
        lines[int(found[1]) - 1] = ""
        return message

    return _peel(path, read, drop, lambda: "\n".join(lines))


def json_faults(path: str, read: Callable[[str], Any]) -> tuple[list[str], Any]:
    """The faults of a COCO file whose reader names the entry: "annotation 7", "id 7 of 'images'" or,
    by its place in the list, "entry 7 of 'annotations'".

    Args:
        path: of the file.
        read: reads a file, a copy of this one without some entries; raises UserError.

    Returns:
        The faults, and what ``read`` gave for the rest; None if it gave nothing.
    """
    content = parse_json(Path(path).read_bytes())
    places: dict[str, list[int]] = {}  # of what is left, in the file as it is

    def drop(message: str) -> str | None:
        found = re.search(r"entry (\d+) of '(\w+)'", message)
        if found:
            number, key = int(found[1]), found[2]
            left = places.setdefault(key, [*range(len(content[key]))])
            told = message.replace(found[0], f"entry {left[number]} of '{key}'")
            del content[key][number], left[number]
            return told
        found = re.search(r"id (\S+) of '(\w+)'", message)
        name, key = found.groups() if found else (None, None)
        if name is None:
            found = re.search(r": (annotation|image) ([^\s:]+)", message)
            name, key = (found[2], f"{found[1]}s") if found else (None, None)
        if name is None or not isinstance(content.get(key), list):
            return None
        entries = content[key]
        content[key] = [e for e in entries if not isinstance(e, dict) or str(e.get("id")) != name]
        if key == "images":
            labels = content.get("annotations") or []
            content["annotations"] = [a for a in labels if str(a.get("image_id")) != name]
        return message if len(content[key]) < len(entries) else None

    return _peel(path, read, drop, lambda: json.dumps(content))


def _peel(
    path: str,
    read: Callable[[str], Any],
    drop: Callable[[str], str | None],
    text: Callable[[], str],
) -> tuple[list[str], Any]:
    """Read, drop what a fault names, read the rest, until there is no fault or none can be dropped.

    Args:
        drop: what the fault names; returns the message with its place in the whole file, or None if
            nothing can be dropped.
        text: of what is left.
    """
    faults: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / Path(path).name
        current = path
        while len(faults) < MOST_FAULTS:
            try:
                return faults, read(current)
            except UserError as error:
                message = str(error).replace(str(copy), path)
            told = drop(message)
            if told is None:
                return [*faults, *({message} - {*faults})], None
            faults.append(told)
            copy.write_text(text(), encoding="utf-8", errors="surrogateescape")
            current = str(copy)
    return [*faults, f"{path}: {_MORE.format(MOST_FAULTS)}"], None
