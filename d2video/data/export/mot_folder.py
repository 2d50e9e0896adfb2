"""Folders of sequences as the MOTChallenge has them (formats/mot_sequence.py), whatever is in gt.txt."""

import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from d2video.data.export.frames import frame_rate, put_frames
from d2video.data.export.objects import check_videos, labelled, written
from d2video.data.records import Record
from d2video.formats.faults import Doubt, Report, Tally
from d2video.utils.counted import counted
from d2video.utils.errors import UserError
from d2video.utils.files import new_folder
from d2video.video.frame_source import DEFAULT_FPS

_LARGEST_ID = 2**52


def write_sequences(
    records: Sequence[Record],
    classes: Mapping[int, str],
    folder: str | os.PathLike[str],
    lines: Callable[[Record], Iterable[str]],
    *,
    images: bool,
    source: str,
    report: Report,
) -> None:
    """Write sequences with ``gt/gt.txt`` and ``gt/labels.txt`` (of labelled videos), ``seqinfo.ini`` and,
    with ``images``, the frames in ``img1``.

    Args:
        records: of videos.
        classes: number in ``gt.txt`` → name.
        folder: see :func:`~d2video.utils.files.new_folder`.
        lines: of a record's ``gt.txt``, in the order of the frames.
        source: what messages call the data.
        report: takes what is left out, and the doubt that a frame rate is unknown.

    Raises:
        UserError: the records are images or none, two videos have the same name, or the folder is there
            or cannot be written.
        BrokenFile: a frame cannot be read.
    """
    check_videos(records, source, "MOTChallenge")
    records = labelled(records, source, report)
    names = [_folder_name(record) for record in records]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise UserError(f"{source} has two videos of the name {twice}: rename one")
    renumbered, without_rate = written(source, "frame numbers"), 0
    ids = written(source, "track ids")
    with new_folder(folder) as partial:
        for record, name in zip(records, names, strict=True):
            sequence = partial / name
            sequence.mkdir()
            if "annotations" in record:
                (sequence / "gt").mkdir()
                text = "".join(lines(_with_ids_of_text(record, ids)))
                (sequence / "gt" / "gt.txt").write_text(text, encoding="utf-8")
                text = "".join(f"{classes.get(k, '')}\n" for k in range(1, max(classes) + 1))
                (sequence / "gt" / "labels.txt").write_text(text, encoding="utf-8")
            suffix = put_frames(record["file_names"], sequence / "img1") if images else None
            rate = record.get("frame_rate") or frame_rate(record["file_names"])
            _write_seqinfo(sequence / "seqinfo.ini", name, record, rate or DEFAULT_FPS, suffix)
            without_rate += rate is None
            _count_numbers(record, renumbered)
    renumbered.tell(report)
    ids.tell(report)
    if without_rate:
        text = (
            f"of {counted(without_rate, 'video')} the frame rate is unknown: {DEFAULT_FPS:g} a second is "
            "written; if it is another one, correct seqinfo.ini"
        )
        report(Doubt(source, text))


def _with_ids_of_text(record: Record, tally: Tally) -> Record:
    """With track ids that readers of text files take, which are numbers with a fraction to many of them."""
    given = sorted({each["id"] for frame in record["annotations"] for each in frame})
    if not given or (given[0] >= 0 and given[-1] <= _LARGEST_ID):
        tally.used += len(given)
        return record
    reason = f"of videos with one below 0 or above {_LARGEST_ID}, whose tracks are 1, 2, ..."
    tally.leave_out(reason, len(given))
    new = {track: k for k, track in enumerate(given, 1)}
    frames = [
        [{**each, "id": new[each["id"]]} for each in frame] for frame in record["annotations"]
    ]
    return {**record, "annotations": frames}


def _count_numbers(record: Record, tally: Tally) -> None:
    """Count the numbers of frames that are not kept, unless all that happens is counting from 1."""
    given = [*map(int, record.get("frame_numbers", ()))]
    if not given or (given[0] in (0, 1) and given[-1] - given[0] + 1 == len(given)):
        tally.used += len(given)
    else:
        tally.leave_out("of videos that count otherwise than 1, 2, ...", len(given))


def _folder_name(record: Record) -> str:
    name = record.get("sequence", f"video_{record['video_id']}")
    return re.sub(r"[/\\\x00-\x1f]", "_", name).lstrip(".") or f"video_{record['video_id']}"


def _write_seqinfo(path: Path, name: str, record: Record, rate: float, suffix: str | None) -> None:
    # Some programs read it line by line.
    values: dict[str, Any] = {
        "name": name,
        "imDir": "img1",
        "frameRate": f"{rate:g}",
        "seqLength": record["length"],
        "imWidth": record["width"],
        "imHeight": record["height"],
        "imExt": suffix,
    }
    lines = [f"{key}={value}\n" for key, value in values.items() if value is not None]
    path.write_text("".join(["[Sequence]\n", *lines]), encoding="utf-8")
