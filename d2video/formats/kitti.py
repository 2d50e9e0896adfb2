"""KITTI's tracking labels.

::

    training/label_02/0000.txt                 (a sequence; 17 columns)
    training/image_02/0000/000000.png

The folder around both, ``label_02`` or one of its files may be given as well. A row holds frame, track,
type, truncated (0 to 2), occluded (0 to 3), alpha, left, top, right, bottom, 3 sizes, 3 places and the
rotation. Frames and tracks count from 0, pixels too. DontCare marks regions to ignore.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from d2video.formats.faults import Doubt, EntryError, Report, refuse, reporting, reporting_video
from d2video.formats.labels.footage import Footage, find_footage
from d2video.formats.labels.label_formats import label_format
from d2video.formats.labels.label_set import LabelSet
from d2video.formats.labels.recognition import Seen
from d2video.formats.text import is_id, read_lines
from d2video.utils.errors import UserError
from d2video.video.image_io import number_in_name, visible_files

_DONT_CARE = "DontCare"
# Files of tracking call Person what those of objects and the description call Person_sitting.
_SITTING = ("Person", "Person_sitting")
_TYPES = ("Car", "Van", "Truck", "Pedestrian", *_SITTING, "Cyclist", "Tram", "Misc")
_COLUMNS = 17
_MAX_OCCLUDED, _MAX_TRUNCATED = 2, 0  # of objects that the benchmark scores
_UNKNOWN_OCCLUSION = 3


@dataclass(frozen=True)
class _Row:
    line: int
    frame: int
    track: int
    type: str
    truncated: float
    occluded: int
    box: tuple[float, float, float, float]  # left, top, width, height


def _recognises(seen: Seen) -> bool:
    if not seen.is_folder:
        return seen.path.lower().endswith(".txt") and _begins_with_row(seen)
    if seen.has("label_02/*.txt"):
        return True
    texts = [name for name in seen.files if name.lower().endswith(".txt") and "/" not in name]
    return any(_begins_with_row(Seen(os.path.join(seen.path, name))) for name in texts[:3])


def _begins_with_row(seen: Seen) -> bool:
    fields = seen.head.partition("\n")[0].split()
    return len(fields) == _COLUMNS and fields[2] in (*_TYPES, _DONT_CARE)


@label_format("kitti", _recognises)
def read_kitti(root: str, report: Report = refuse, *, image_root: str | None = None) -> LabelSet:
    """Read KITTI's tracking labels.

    The classes are KITTI's types. Where a file has others, they are those of the files, and the rules of
    the benchmark do not count. The visibility of objects that are partly, largely and unknown how far
    occluded is 2/3, 1/3 and 0.

    Args:
        root: the folder of ``label_02``, itself, or a file in it.
        image_root: the frames, or a folder of a sequence's folders; None: ``image_02`` beside ``label_02``.

    Raises:
        UserError: there are no labels, or no frames.
    """
    files = _label_files(root)
    rows = {path: [*_rows(path, report)] for path in files}
    types = {row.type for each in rows.values() for row in each} - {_DONT_CARE}
    other = sorted(types - {*_TYPES})
    if other:
        report(
            Doubt(
                root,
                f"types that KITTI does not have ({', '.join(other[:5])}): the classes are those of the "
                "files, and KITTI's rules of evaluation do not count; correct them if they are mistakes",
            )
        )
    sitting = [name for name in _SITTING if name in types] or _SITTING[:1]
    listed = [name for name in _TYPES if name not in _SITTING or name in sitting]
    labels = LabelSet(
        root,
        report,
        classes=sorted(types) if other else listed,
        benchmark=None if other else "KITTI",
    )
    for path, found in rows.items():
        name = Path(path).stem
        folder = os.path.dirname(os.path.dirname(os.path.abspath(path)))
        names = [f"image_02/{name}"]
        if image_root is not None:
            names += [f"training/image_02/{name}", name]
        with reporting_video(report, path):
            footage = find_footage(path, folder, names, image_root, is_only=len(files) == 1)
            _add_rows(labels, name, footage, found, path)
    return labels.finished()


def _label_files(root: str) -> list[str]:
    if os.path.isfile(root):
        return [root]
    below = [str(each) for each in (Path(root) / "label_02", *Path(root).glob("*/label_02"))]
    found = [folder for folder in below if os.path.isdir(folder)]
    if len(found) > 1:
        raise UserError(f"{root} holds several folders label_02: give the path of one of them")
    folder = found[0] if found else root
    files = [str(path) for path in visible_files(folder, {".txt"})] if os.path.isdir(folder) else []
    if not files:
        raise UserError(f"{root} holds no label_02/0000.txt: give the folder of KITTI's labels")
    return files


def _rows(path: str, report: Report) -> Iterator[_Row]:
    for number, text in enumerate(read_lines(path), 1):
        fields = text.split()
        if not fields:
            continue
        with reporting(report, path, "line", number):
            yield _row(number, fields)


def _row(line: int, fields: list[str]) -> _Row:
    if len(fields) == _COLUMNS + 1:
        raise EntryError("it has 18 columns, as results with a score have; give labels, of 17")
    if len(fields) != _COLUMNS:
        raise EntryError(f"it has {len(fields)} columns, not {_COLUMNS}; correct the file")
    try:
        frame, track, occluded = int(fields[0]), int(fields[1]), int(float(fields[4]))
        truncated, *box = (float(fields[k]) for k in (3, 6, 7, 8, 9))
    except (ValueError, OverflowError):
        raise EntryError(
            "frame, track, truncated, occluded and box must be numbers; correct the file"
        ) from None
    if not is_id(track) or (track < 0 and fields[2] != _DONT_CARE):
        raise EntryError(
            f"track {fields[1]} is not a number from 0 on; give the {fields[2]} a track"
        )
    left, top, right, bottom = box
    return _Row(
        line, frame, track, fields[2], truncated, occluded, (left, top, right - left, bottom - top)
    )


def _add_rows(labels: LabelSet, name: str, footage: Footage, rows: list[_Row], path: str) -> None:
    numbers = [number_in_name(Path(frame)) for frame in footage.frames]
    if footage.is_video_file:
        counted = [*range(len(numbers))]
    else:
        counted = [number for number in numbers if number is not None]
        if len({*counted}) < len(numbers):
            raise UserError(
                f"{footage.path}: the names of the images must be the numbers of the frames, as in "
                "000000.png: rename them"
            )
    video = labels.add_video(name, footage.frames, footage.size, counted)
    for row in rows:
        with reporting(labels.report, path, "line", row.line):
            if row.type == _DONT_CARE:
                video.add(row.frame, None, box=row.box, ignored=True)
                continue
            video.add(
                row.frame,
                row.type,
                track=row.track,
                box=row.box,
                visibility=1 - min(max(row.occluded, 0), _UNKNOWN_OCCLUSION) / _UNKNOWN_OCCLUSION,
                scored=row.occluded <= _MAX_OCCLUDED and row.truncated <= _MAX_TRUNCATED,
            )
