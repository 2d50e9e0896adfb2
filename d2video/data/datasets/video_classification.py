"""Video files with one class each: PySlowFast's lists, Kinetics' own annotations, folders of classes.

Records are as docs/architecture.md says; layouts and registration of one's own data are in
docs/datasets_video_classification.md. No video is opened before it is used.
"""

import csv
import logging
import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal

from detectron2.data import DatasetCatalog, MetadataCatalog

from d2video.formats.paths import leaves_folder
from d2video.utils.errors import UserError

logger = logging.getLogger(__name__)

Record = dict[str, Any]
OnMissing = Literal["raise", "skip", "keep"]
VIDEO_SUFFIXES = frozenset({".mp4", ".avi", ".mkv", ".webm", ".mov", ".m4v", ".mpg", ".mpeg"})
_SEPARATORS = {" ": "a space", ",": "a comma", "\t": "a tab", ";": "a semicolon"}
# Of a list without names: a larger label is a slip.
_MOST_CLASSES = 100_000
_KINETICS_COLUMNS = ("youtube_id", "time_start", "time_end")


def register_video_list(
    name: str,
    list_file: str,
    video_root: str = "",
    *,
    class_names: Sequence[str] | None = None,
    separator: str = " ",
    on_missing: OnMissing = "raise",
) -> None:
    """Register a list as PySlowFast has it, read on first use: see :func:`load_video_list`."""
    load = partial(
        load_video_list,
        video_root=video_root,
        class_names=class_names,
        separator=separator,
        on_missing=on_missing,
    )
    _register_list(name, load, list_file, video_root)


def register_kinetics(
    name: str,
    list_file: str,
    video_root: str,
    *,
    class_names: Sequence[str] | None = None,
    num_classes: int | None = None,
    on_missing: OnMissing = "skip",
) -> None:
    """Register Kinetics' own annotations, read on first use: see :func:`load_kinetics`."""
    load = partial(
        load_kinetics,
        video_root=video_root,
        class_names=class_names,
        num_classes=num_classes,
        on_missing=on_missing,
    )
    _register_list(name, load, list_file, video_root)


def register_video_folders(
    name: str, video_root: str, *, class_names: Sequence[str] | None = None
) -> None:
    """Register a folder of classes, read on first use: see :func:`load_video_folders`."""
    load = partial(load_video_folders, video_root, class_names=class_names)
    _register(name, load, video_root=video_root)


def load_video_list(
    list_file: str,
    video_root: str = "",
    *,
    class_names: Sequence[str] | None = None,
    separator: str = " ",
    on_missing: OnMissing = "raise",
) -> tuple[list[Record], list[str]]:
    """Read lines "path label".

    Args:
        list_file: the list. Its last field is the label, so that paths may hold the separator.
        video_root: put in front of every path, none of which may lead out of it. Without one, paths
            are taken as they are, also absolute ones: only for a list of one's own.
        class_names: names by label; by default the numbers 0 to the largest of the list.
        separator: of path and label.
        on_missing: what to do if videos are not there: "raise", "skip" them with a warning, or "keep"
            their records.

    Returns:
        Records and class names.

    Raises:
        UserError: the list cannot be read or is empty; a path leaves ``video_root``; a line
            has no label, or one that is no number, out of range, or not the video's in an earlier
            line; classes have the same name; videos are missing.
    """
    check_class_names(class_names, list_file)
    if not separator:
        raise UserError(f"{list_file}: the separator is empty: give the one between path and label")
    records: list[Record] = []
    seen: dict[str, tuple[int, int]] = {}  # label and line
    for number, line in enumerate(_read_text(list_file).splitlines(), 1):
        if not line.strip():
            continue
        where = f"{list_file}, line {number}"
        path, found, text = line.strip().rpartition(separator)
        if not found or not path:
            raise UserError(f"{where}: no label in '{line.strip()}'{_hint(line, separator)}")
        label = _label(text, where, line, separator)
        limit = _MOST_CLASSES if class_names is None else len(class_names)
        if label >= limit:
            raise UserError(
                f"{where}: label {label} is out of range, there are {limit} classes at most: "
                "labels count from 0"
            )
        path = path.strip()
        if video_root and leaves_folder(path):
            raise UserError(
                f"{where}: {path} lies outside video_root {video_root}: give paths below it, or no "
                "video_root and full paths in a list of your own"
            )
        path = os.path.join(video_root, path)
        before, line_before = seen.setdefault(path, (label, number))
        if before != label:
            raise UserError(
                f"{where}: {path} has label {label}, and {before} in line {line_before}: leave one out"
            )
        records.append({"file_name": path, "video_id": len(records) + 1, "label": label})
    if not records:
        raise UserError(f"{list_file} is empty: it must hold lines of a path and a label")
    if class_names is None:
        class_names = [str(k) for k in range(max(r["label"] for r in records) + 1)]
    return _present(records, list_file, on_missing), list(class_names)


def load_kinetics(
    list_file: str,
    video_root: str,
    *,
    class_names: Sequence[str] | None = None,
    num_classes: int | None = None,
    on_missing: OnMissing = "skip",
) -> tuple[list[Record], list[str] | None]:
    """Read a csv with the columns label, youtube_id, time_start, time_end (and others).

    A video is ``<youtube_id>_<start>_<end>.mp4``, in whole seconds of six digits. A file without the
    column label (a test split) gives records without labels.

    Args:
        list_file: the csv.
        video_root: folder of the videos.
        class_names: names by label; by default those of the file, sorted.
        num_classes: how many these must be; None: any number.
        on_missing: "skip" the videos that are not there (not all can be fetched any more) with a
            warning, or "raise".

    Returns:
        Records, and class names where there are labels.

    Raises:
        UserError: the file cannot be read, is empty or lacks a column; a time is no number; a label
            is missing or not of ``class_names``; the classes are not ``num_classes``; a video is
            listed twice; videos are missing.
    """
    check_class_names(class_names, list_file)
    lines = _read_text(list_file).splitlines()
    reader = csv.DictReader(lines)
    try:
        columns = [column.strip() for column in reader.fieldnames or ()]
        reader.fieldnames = columns
        table = [(f"{list_file}, line {reader.line_num}", row) for row in reader]
    except csv.Error as error:
        where = f"{list_file}, after line {reader.line_num}"
        raise UserError(f"{where}: no csv ({error}): look for a quotation mark too many") from error
    missing = [column for column in _KINETICS_COLUMNS if column not in columns]
    if missing:
        raise UserError(
            f"{list_file}, line 1: no column {', '.join(missing)}; expected the header "
            "label,youtube_id,time_start,time_end,split (lists without header: "
            "register_video_list)"
        )
    rows: list[tuple[str, str | None, str]] = []  # file, class, place
    seen: dict[str, str] = {}
    for where, row in table:
        try:
            start, end = (round(float(row[key])) for key in _KINETICS_COLUMNS[1:])
        except (TypeError, ValueError, OverflowError) as error:
            raise UserError(f"{where}: time_start or time_end is no number: {row}") from error
        name = f"{row['youtube_id']}_{start:06d}_{end:06d}.mp4"
        if leaves_folder(name):
            raise UserError(f"{where}: youtube_id {row['youtube_id']} is no name of a file")
        path = os.path.join(video_root, name)
        if path in seen:
            raise UserError(f"{where}: the same video as in {seen[path]}; leave one out")
        seen[path] = where
        if "label" in columns and not row["label"]:
            raise UserError(f"{where}: no label for video {row['youtube_id']}")
        rows.append((path, row["label"] if "label" in columns else None, where))
    if not rows:
        raise UserError(f"{list_file} is empty: it names no video")
    if "label" not in columns:
        records = [{"file_name": path, "video_id": k} for k, (path, _, _) in enumerate(rows, 1)]
        return _present(records, list_file, on_missing), list(class_names) if class_names else None
    if class_names is None:
        class_names = sorted({str(label) for _, label, _ in rows})
        if num_classes is not None and len(class_names) != num_classes:
            raise UserError(
                f"{list_file} has {len(class_names)} classes where {num_classes} are expected: "
                "take the whole file, or register it with class_names"
            )
    labels = {label: k for k, label in enumerate(class_names)}
    for _, label, where in rows:
        if label not in labels:
            raise UserError(f"{where}: label '{label}' is not one of the classes")
    records = [
        {"file_name": path, "video_id": k, "label": labels[str(label)]}
        for k, (path, label, _) in enumerate(rows, 1)
    ]
    return _present(records, list_file, on_missing), list(class_names)


def load_video_folders(
    video_root: str, *, class_names: Sequence[str] | None = None
) -> tuple[list[Record], list[str]]:
    """Read ``<video_root>/<class>/<video>``, sorted by name.

    Args:
        video_root: folder of the classes.
        class_names: folders by label; by default all, sorted.

    Returns:
        Records and class names.

    Raises:
        UserError: a folder is missing, has no video, or is not one of ``class_names``.
    """
    check_class_names(class_names, video_root)
    if not os.path.isdir(video_root):
        raise UserError(
            f"folder {video_root} does not exist: set DETECTRON2_DATASETS or fetch the data; it "
            "must hold a folder of videos for each class"
        )
    folders = sorted(e.name for e in os.scandir(video_root) if e.is_dir() and e.name[0] != ".")
    if not folders:
        raise UserError(f"{video_root} holds no folder: expected <class>/<video>.mp4")
    names = folders if class_names is None else list(class_names)
    for name in sorted({*names} ^ {*folders}):
        problem = "has no folder" if name in names else "has a folder but is not one of the classes"
        raise UserError(f"{video_root}: class '{name}' {problem}")
    records: list[Record] = []
    for label, name in enumerate(names):
        folder = os.path.join(video_root, name)
        videos = sorted(
            e.name
            for e in os.scandir(folder)
            if os.path.splitext(e.name)[1].lower() in VIDEO_SUFFIXES and e.name[0] != "."
        )
        if not videos:
            known = " ".join(sorted(VIDEO_SUFFIXES))
            raise UserError(
                f"class folder {folder} holds no video; expected files ending in {known}"
            )
        for video in videos:
            path = os.path.join(folder, video)
            records.append({"file_name": path, "video_id": len(records) + 1, "label": label})
    return records, names


def check_class_names(class_names: Sequence[str] | None, where: str) -> None:
    """Refuse an empty list of names, and a name that occurs twice.

    Raises:
        UserError: ``where`` tells whose they are.
    """
    if class_names is None:
        return
    repeated = sorted({name for name in class_names if list(class_names).count(name) > 1})
    if repeated or not class_names:
        what = f"has the class '{repeated[0]}' twice" if repeated else "has no class"
        raise UserError(f"{where}: class_names {what}; name every class once")


def _register_list(
    name: str, load: Callable[[str], tuple[list[Record], Any]], list_file: str, video_root: str
) -> None:
    _register(name, partial(load, list_file), list_file=list_file, video_root=video_root)
    MetadataCatalog.get(name).set(annotation_lines=(list_file, lambda path: load(path)[0]))


def _register(name: str, load: Callable[[], tuple[list[Record], Any]], **paths: str) -> None:
    def read() -> list[Record]:
        records, class_names = load()
        if class_names is not None:
            MetadataCatalog.get(name).set(thing_classes=class_names)
        logger.info("%s: %d videos", name, len(records))
        return records

    DatasetCatalog.register(name, read)
    MetadataCatalog.get(name).set(evaluator_type="video_classification", **paths)


def _read_text(path: str) -> str:
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            return file.read()
    except FileNotFoundError as error:
        raise UserError(
            f"{path} does not exist: set DETECTRON2_DATASETS or fetch the data"
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read {path} ({error}): it must be a text file") from error


def _label(text: str, where: str, line: str, separator: str) -> int:
    text = text.strip()
    if text.isdecimal():
        # Python refuses to read thousands of digits.
        return int(text) if len(text) < 20 else sys.maxsize
    if text.startswith("-") and text[1:].isdecimal():
        raise UserError(f"{where}: label {text} is out of range: labels count from 0")
    raise UserError(f"{where}: label '{text}' is not a whole number{_hint(line, separator)}")


def _hint(line: str, separator: str) -> str:
    """Which separator would give this line a label."""
    for other, name in _SEPARATORS.items():
        path, found, label = line.strip().rpartition(other)
        if other != separator and found and path and label.strip().isdecimal():
            return f"; the separator seems to be {name}: register the list with separator={other!r}"
    return f"; expected a path, {_SEPARATORS.get(separator, repr(separator))} and a label"


def _present(records: list[Record], list_file: str, on_missing: OnMissing) -> list[Record]:
    """The records whose file is there: one listing a folder, not one look a file."""
    assert on_missing in ("raise", "skip", "keep"), on_missing
    if on_missing == "keep":
        return records
    listings: dict[str, set[str]] = {}
    kept: list[Record] = []
    missing: list[Record] = []
    for record in records:
        folder, name = os.path.split(record["file_name"])
        if folder not in listings:
            is_there = os.path.isdir(folder or ".")
            listings[folder] = set(os.listdir(folder or ".")) if is_there else set()
        (kept if name in listings[folder] else missing).append(record)
    if missing:
        what = f"{list_file}: {len(missing)} of {len(records)} videos do not exist, the first is "
        what += missing[0]["file_name"]
        if on_missing == "raise" or not kept:
            raise UserError(f"{what}: mend the folder of the videos, or fetch or leave them out")
        logger.warning("%s; they are left out", what)
    return kept
