"""Video files with one class each: PySlowFast's lists, Kinetics' own annotations, folders of classes.

Records are as docs/extend/architecture.md says; layouts and how to register yours are in
docs/formats/video_classification.md. No video is opened before it is used.
"""

import csv
import itertools
import logging
import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal

from detectron2.data import DatasetCatalog, MetadataCatalog

from d2video.data.datasets.from_config import dataset_format
from d2video.data.records import ClassificationRecord
from d2video.formats.faults import EntryError, Fault, Report, refuse, reporting
from d2video.formats.paths import leaves_folder
from d2video.formats.text import read_lines
from d2video.utils.errors import UserError
from d2video.video.image_io import visible_folders

logger = logging.getLogger(__name__)
OnMissing = Literal["raise", "skip", "keep"]
VIDEO_SUFFIXES = frozenset({".mp4", ".avi", ".mkv", ".webm", ".mov", ".m4v", ".mpg", ".mpeg"})
_SEPARATORS = {" ": "a space", ",": "a comma", "\t": "a tab", ";": "a semicolon"}
# Of a list without names: a larger label is a slip.
_MOST_CLASSES = 100_000
_KINETICS_COLUMNS = ("youtube_id", "time_start", "time_end")


@dataset_format("video_list")
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
        list_file,
        video_root=video_root,
        class_names=class_names,
        separator=separator,
        on_missing=on_missing,
    )
    _register(name, load, list_file=list_file, video_root=video_root)


@dataset_format("kinetics")
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
        list_file,
        video_root=video_root,
        class_names=class_names,
        num_classes=num_classes,
        on_missing=on_missing,
    )
    _register(name, load, list_file=list_file, video_root=video_root)


@dataset_format("video_folders")
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
    report: Report = refuse,
) -> tuple[list[ClassificationRecord], list[str]]:
    """Read lines "path label".

    Args:
        list_file: the list. Its last field is the label, so that paths may hold the separator.
        video_root: put in front of every path, none of which may lead out of it. Without one, paths
            are taken as they are, also absolute ones: only for a list of your own.
        class_names: names by label; by default the numbers 0 to the largest of the list.
        separator: of path and label.
        on_missing: what to do if videos are not there: "raise", "skip" them with a warning, or "keep"
            their records.
        report: takes the faults of lines: a path that leaves ``video_root``; no label, or one that
            is not a number, is out of range, has no name, or differs from an earlier line of the same
            video; and missing videos.

    Returns:
        Records and class names.

    Raises:
        UserError: the list cannot be read or is empty, or classes have the same name.
    """
    _check_class_names(class_names, list_file)
    if not separator:
        raise UserError(f"{list_file}: the separator is empty: give the one between path and label")
    records: list[ClassificationRecord] = []
    seen: dict[str, tuple[int, int]] = {}  # label and line
    limit = _MOST_CLASSES if class_names is None else len(class_names)
    lines = [(k, line.strip()) for k, line in enumerate(read_lines(list_file), 1) if line.strip()]
    for number, line in lines:
        with reporting(report, list_file, "line", number):
            path, found, text = line.rpartition(separator)
            if not found or not path:
                raise EntryError(f"no label in '{line}'{_hint(line, separator)}")
            label = _label(text, line, separator)
            if label >= limit:
                raise EntryError(
                    f"label {label} is out of range, there are {limit} classes at most: labels "
                    "count from 0"
                )
            if class_names is not None and not class_names[label].strip():
                raise EntryError(f"label {label} has an empty name in class_names: give it one")
            path = path.strip()
            if video_root and leaves_folder(path):
                raise EntryError(
                    f"{path} lies outside video_root {video_root}: give paths below it, or no "
                    "video_root and full paths in a list of your own"
                )
            path = os.path.join(video_root, path)
            before, line_before = seen.setdefault(path, (label, number))
            if before != label:
                raise EntryError(
                    f"{path} has label {label}, and {before} in line {line_before}: leave one out"
                )
            records.append({"file_name": path, "video_id": len(records) + 1, "label": label})
    if not lines:
        raise UserError(f"{list_file} is empty: it must hold lines of a path and a label")
    if class_names is None:
        class_names = [str(k) for k in range(max((r["label"] for r in records), default=0) + 1)]
    return _present(records, list_file, on_missing, report), list(class_names)


def load_kinetics(
    list_file: str,
    video_root: str,
    *,
    class_names: Sequence[str] | None = None,
    num_classes: int | None = None,
    on_missing: OnMissing = "skip",
    report: Report = refuse,
) -> tuple[list[ClassificationRecord], list[str] | None]:
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
        report: takes the faults of lines: a time that is not a number, a label that is missing or not
            of ``class_names``, a video that is listed twice; and missing videos.

    Returns:
        Records, and class names where there are labels.

    Raises:
        UserError: the file cannot be read, is empty or lacks a column, or the classes are not
            ``num_classes``.
    """
    _check_class_names(class_names, list_file)
    reader = csv.DictReader(read_lines(list_file))
    try:
        columns = [column.strip() for column in reader.fieldnames or ()]
        reader.fieldnames = columns
        table = [(reader.line_num, row) for row in reader]
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
    if not table:
        raise UserError(f"{list_file} is empty: it names no video")
    has_labels = "label" in columns
    names = list(class_names) if class_names else None
    if has_labels and names is None:
        names = sorted({row["label"] for _, row in table if row["label"]})
    labels = {label: k for k, label in enumerate(names or ())}
    records: list[ClassificationRecord] = []
    seen: dict[str, int] = {}
    for number, row in table:
        with reporting(report, list_file, "line", number):
            try:
                start, end = (round(float(row[key])) for key in _KINETICS_COLUMNS[1:])
            except (TypeError, ValueError, OverflowError) as error:
                raise EntryError(f"time_start or time_end is not a number: {row}") from error
            name = f"{row['youtube_id']}_{start:06d}_{end:06d}.mp4"
            if leaves_folder(name):
                raise EntryError(f"youtube_id {row['youtube_id']} is not a valid file name")
            path = os.path.join(video_root, name)
            if seen.setdefault(path, number) != number:
                raise EntryError(f"the same video as in line {seen[path]}; leave one out")
            record: ClassificationRecord = {"file_name": path, "video_id": len(records) + 1}
            if has_labels:
                if not row["label"]:
                    raise EntryError(f"no label for video {row['youtube_id']}")
                if row["label"] not in labels:
                    raise EntryError(f"label '{row['label']}' is not one of the classes")
                record["label"] = labels[row["label"]]
            records.append(record)
    if has_labels and not class_names and num_classes not in (None, len(labels)):
        raise UserError(
            f"{list_file} has {len(labels)} classes where {num_classes} are expected: "
            "take the whole file, or register it with class_names"
        )
    return _present(records, list_file, on_missing, report), names


def kinetics400_classes() -> list[str]:
    """The names of Kinetics-400's classes in alphabetical order, as its annotation files number them."""
    # Here, because most programs do not need it.
    from torchvision.models.video import R3D_18_Weights

    return sorted(R3D_18_Weights.KINETICS400_V1.meta["categories"])


def load_video_folders(
    video_root: str, *, class_names: Sequence[str] | None = None, report: Report = refuse
) -> tuple[list[ClassificationRecord], list[str]]:
    """Read ``<video_root>/<class>/<video>``, sorted by name.

    Args:
        video_root: folder of the classes.
        class_names: folders by label; by default all, sorted.
        report: takes folders without videos, and those that are missing or not one of
            ``class_names``.

    Returns:
        Records and class names.

    Raises:
        UserError: there is no folder.
    """
    _check_class_names(class_names, video_root)
    if not os.path.isdir(video_root):
        raise UserError(
            f"folder {video_root} does not exist: set DETECTRON2_DATASETS or fetch the data; it "
            "must hold a folder of videos for each class"
        )
    folders = [each.name for each in visible_folders(video_root)]
    if not folders:
        raise UserError(f"{video_root} holds no folder: expected <class>/<video>.mp4")
    names = folders if class_names is None else list(class_names)
    for name in sorted({*names} ^ {*folders}):
        problem = "has no folder" if name in names else "has a folder but is not one of the classes"
        report(Fault(video_root, "class", f"'{name}'", f"it {problem}"))
    records: list[ClassificationRecord] = []
    for label, name in enumerate(names):
        folder = os.path.join(video_root, name)
        if name not in folders:
            continue
        videos = sorted(
            e.name
            for e in os.scandir(folder)
            if os.path.splitext(e.name)[1].lower() in VIDEO_SUFFIXES and e.name[0] != "."
        )
        if not videos:
            known = " ".join(sorted(VIDEO_SUFFIXES))
            text = f"class folder {folder} holds no video; expected files ending in {known}"
            report(Fault(folder, "file", None, text))
        for video in videos:
            path = os.path.join(folder, video)
            records.append({"file_name": path, "video_id": len(records) + 1, "label": label})
    return records, names


def _check_class_names(class_names: Sequence[str] | None, where: str) -> None:
    if class_names is None:
        return
    repeated = sorted({name for name in class_names if list(class_names).count(name) > 1})
    if repeated or not class_names:
        what = f"has the class '{repeated[0]}' twice" if repeated else "has no class"
        raise UserError(f"{where}: class_names {what}; name every class once")


def _register(name: str, load: Callable[..., Any], **paths: str) -> None:
    def read(report: Report = refuse) -> list[ClassificationRecord]:
        records, class_names = load(report=report)
        if class_names is not None:
            MetadataCatalog.get(name).set(thing_classes=class_names)
        logger.info("%s: %d videos", name, len(records))
        return records

    DatasetCatalog.register(name, read)
    MetadataCatalog.get(name).set(evaluator_type="video_classification", **paths)


def _label(text: str, line: str, separator: str) -> int:
    text = text.strip()
    if text.isdecimal():
        # Python refuses to read thousands of digits.
        return int(text) if len(text) < 20 else sys.maxsize
    if text.startswith("-") and text[1:].isdecimal():
        raise EntryError(f"label {text} is out of range: labels count from 0")
    raise EntryError(f"label '{text}' is not a whole number{_hint(line, separator)}")


def _hint(line: str, separator: str) -> str:
    """Which separator would give this line a label."""
    for other, name in _SEPARATORS.items():
        path, found, label = line.strip().rpartition(other)
        if other != separator and found and path and label.strip().isdecimal():
            return f"; the separator seems to be {name}: register the list with separator={other!r}"
    return f"; expected a path, {_SEPARATORS.get(separator, repr(separator))} and a label"


def _present(
    records: list[ClassificationRecord], list_file: str, on_missing: OnMissing, report: Report
) -> list[ClassificationRecord]:
    """The records whose file is there: one listing a folder, not one look a file."""
    assert on_missing in ("raise", "skip", "keep"), on_missing
    if on_missing == "keep":
        return records
    paths = [os.path.split(record["file_name"]) for record in records]
    folders = {folder for folder, _ in paths if os.path.isdir(folder or ".")}
    files = {folder: {*os.listdir(folder or ".")} for folder in folders}
    found = [name in files.get(folder, ()) for folder, name in paths]
    kept = [*itertools.compress(records, found)]
    if not all(found):
        first = records[found.index(False)]["file_name"]
        what = (
            f"{list_file}: {found.count(False)} of {len(found)} videos do not exist, the first is "
        )
        what += first
        if on_missing == "raise" or not kept:
            text = f"{what}: correct the folder of the videos, or fetch or leave them out"
            report(Fault(list_file, "file", None, text))
            return kept
        logger.warning("%s; they are left out", what)
    return kept
