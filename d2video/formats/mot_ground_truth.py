"""Ground truth and detections of one sequence in the MOTChallenge's text formats.

``gt.txt``: ``frame,id,left,top,width,height,flag,class,visibility`` (MOT16, MOT17, MOT20,
DanceTrack) or ``frame,id,left,top,width,height,flag,x,y,z`` (MOT15, no classes). ``det.txt``:
``frame,-1,left,top,width,height,score`` and up to three columns that mean nothing here. Corners count
from 1. MOTS20's ``gt.txt`` is split by spaces: ``frame id class height width rle``. Frames have the
numbers of their images, which most often are 1, 2, 3, ...; here the place among these numbers counts.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from itertools import islice
from typing import Any

import numpy as np
import pycocotools.mask as coco_mask
from numpy.typing import ArrayLike
from typing_extensions import Self

from d2video.formats.faults import Doubt, EntryError, Fault, Report, refuse, reporting
from d2video.formats.geometry.rle import mask_areas
from d2video.formats.geometry.rle_checks import find_mask_faults
from d2video.formats.mot_text import TextTable, check_number, read_table
from d2video.formats.text import read_lines

_GT_LAYOUT = "frame,id,left,top,width,height,flag,class,visibility; in MOT15 flag,x,y,z"
_DET_LAYOUT = "frame,-1,left,top,width,height,score"
_MOTS_LAYOUT = "frame id class height width rle"
MOTS_IGNORE_CLASS = 10
_FARTHEST = 2**31  # pixels


def free_class_numbers(count: int, *, masks: bool) -> list[int]:
    """Numbers for classes that have none: 1, 2, ..., of masks without that of regions to ignore."""
    free = (k for k in range(1, count + 2) if not masks or k != MOTS_IGNORE_CLASS)
    return [*islice(free, count)]


@dataclass(frozen=True)
class Rows:
    """Columns of N rows each.

    Attributes:
        frame: (N,) int64, the frame's place in the sequence, from 1 on.
    """

    frame: np.ndarray

    def __len__(self) -> int:
        return len(self.frame)

    def select(self, chosen: np.ndarray) -> Self:
        """The rows that ``chosen`` names, (N,) bool or indices."""
        return replace(self, **{f.name: getattr(self, f.name)[chosen] for f in fields(self)})

    def of_frames(self, first_frame: int, num_frames: int) -> Self:
        """The rows of ``num_frames`` frames from ``first_frame`` on, which becomes frame 1."""
        frame = self.frame - (first_frame - 1)
        inside = (frame >= 1) & (frame <= num_frames)
        return replace(self.select(inside), frame=frame[inside])


@dataclass(frozen=True)
class MOTRows(Rows):
    """The whole of a ``gt.txt``, N rows in the order of the file.

    Attributes:
        id: (N,) int64, of the track, at least 0; unique in a frame.
        box: (N,4) float64, left, top, width, height in pixels as in the file, the corner from 1 on.
        flag: (N,) int64; 0: not to be considered.
        cls: (N,) int64; 1: pedestrian. All 1 for MOT15, which has no classes.
        visibility: (N,) float64, 0 to 1. All 1 for MOT15.
    """

    id: np.ndarray
    box: np.ndarray
    flag: np.ndarray
    cls: np.ndarray
    visibility: np.ndarray


@dataclass(frozen=True)
class MOTSRows(Rows):
    """The whole of a MOTS ``gt.txt``, N rows in the order of the file.

    Attributes:
        id: (N,) int64, of the track, at least 0; unique in a frame but for ignore regions.
        cls: (N,) int64; 1: car, 2: pedestrian, 10: ignore region.
        rle: (N,) object, compressed RLE dicts (``counts`` bytes), sound and of one size.
    """

    id: np.ndarray
    cls: np.ndarray
    rle: np.ndarray


@dataclass(frozen=True)
class MOTDetections(Rows):
    """A ``det.txt``, N rows in the order of the file.

    Attributes:
        box: (N,4) float64 as in :class:`MOTRows`.
        score: (N,) float64, in no given range.
    """

    box: np.ndarray
    score: np.ndarray


def read_mot_ground_truth(
    path: str, frame_numbers: Sequence[int], report: Report = refuse
) -> MOTRows:
    """Read a ``gt.txt``, all classes and flags; one of 10 columns is MOT15's. It may be empty.

    Args:
        path: of the file.
        frame_numbers: of all frames of the sequence, ascending.
        report: takes the faults of rows: no numbers of the format; frames outside the sequence; ids
            below 0 or twice in a frame; a negative size, or one side of 0 where the flag is set. And
            the doubt that column 8 of 10 may be a class.

    Raises:
        UserError: the file is missing or is not text.
    """
    table = read_table(path, range(9, 11), _GT_LAYOUT, report)
    is_mot15 = table.values.shape[1] == 10
    x = table.values[:, 7]
    if is_mot15 and len(x) and (x >= 0).all() and (x % 1 == 0).all():
        text = (
            f"column 8 holds whole numbers ({x[0]:g}, ...), but of 10 columns it is MOT15's x, and no "
            "class is read: if it is the class, leave out column 10"
        )
        report(Doubt(path, text))
    table = table.in_sequence(frame_numbers).with_ids()
    table = table.with_integers(6, "flag")
    table = table if is_mot15 else table.with_integers(7, "class")
    size, counts = table.values[:, 4:6], table.values[:, 6] != 0
    # A box without any size says that there is no object.
    is_line = (size == 0).any(axis=1) & (size != 0).any(axis=1)
    table = without_sizes(table, (size < 0).any(axis=1) | (is_line & counts))
    frame, track_id = table.places(frame_numbers), table.column(1)
    flag, box = table.column(6), table.values
    ones = np.ones(len(frame))
    cls = ones.astype(np.int64) if is_mot15 else table.column(7)
    visibility = ones if is_mot15 else table.values[:, 8]
    return MOTRows(frame, track_id, box[:, 2:6], flag, cls, visibility)


def read_mot_detections(
    path: str, frame_numbers: Sequence[int], report: Report = refuse
) -> MOTDetections:
    """Read a ``det.txt``, which may be empty.

    Args:
        path, frame_numbers: see :func:`read_mot_ground_truth`.
        report: takes the faults of rows: no numbers of the format; frames outside the sequence; a
            negative size.

    Raises:
        UserError: the file is missing or is not text.
    """
    table = read_table(path, range(7, 11), _DET_LAYOUT, report)
    table = without_sizes(table, (table.values[:, 4:6] < 0).any(axis=1)).in_sequence(frame_numbers)
    return MOTDetections(table.places(frame_numbers), table.values[:, 2:6], table.values[:, 6])


def without_sizes(table: TextTable, bad: ArrayLike) -> TextTable:
    """Leave out rows whose box, in columns 2 to 5, has a size that is ``bad``, or lies beyond any image."""
    width, height = table.values[:, 4], table.values[:, 5]
    table = table.without(bad, lambda i: f"the box is {width[i]:g} wide and {height[i]:g} high")
    box = table.values[:, 2:6]
    # What is added to such numbers is lost in rounding.
    far = (np.abs(box) >= _FARTHEST).any(axis=1)
    return table.without(far, lambda i: f"the box {box[i].tolist()} lies beyond any image")


def read_mots_ground_truth(
    path: str,
    frame_numbers: Sequence[int],
    image_size: tuple[int, int] | None = None,
    report: Report = refuse,
) -> MOTSRows:
    """Read a ``gt.txt`` of MOTS20, all classes. It may be empty.

    Args:
        path, frame_numbers: see :func:`read_mot_ground_truth`.
        image_size: height and width of its images in pixels; None: those of the first row.
        report: takes the faults of rows: not of the format; frames outside the sequence; ids below
            0 or, but for ignore regions, twice in a frame; masks of another size, damaged masks, or
            masks of one frame that overlap, of which the whole frame is left out.

    Raises:
        UserError: the file is missing or is not text.
    """
    table = read_mots_table(path, frame_numbers, image_size, report)
    return MOTSRows(table.places(frame_numbers), table.column(1), table.column(2), table.texts)


def read_mots_table(
    path: str,
    frame_numbers: Sequence[int],
    image_size: tuple[int, int] | None,
    report: Report,
    advice: str = "",
) -> TextTable:
    """As :func:`read_mots_ground_truth`; ``texts`` are the RLE dicts. ``advice`` is for other frames."""
    rows: list[tuple[int, list[str]]] = []
    for number, line in enumerate(read_lines(path), 1):
        if not line.strip():
            continue
        with reporting(report, path, "line", number):
            parts = line.split()
            if len(parts) != 6:
                raise EntryError(
                    f"it has {len(parts)} columns split by spaces, not 6 ({_MOTS_LAYOUT}); "
                    "correct the file"
                )
            for part in parts[:5]:
                check_number(part)
            rows.append((number, parts))
    values = np.array([parts[:5] for _, parts in rows], dtype=np.float64).reshape(-1, 5)
    texts = np.array([parts[5] for _, parts in rows], dtype=object)
    lines = np.array([number for number, _ in rows], dtype=np.int64)
    table = TextTable(path, report, values, lines, texts)
    table = table.without(
        ~np.isfinite(table.values).all(axis=1), lambda i: "a number is nan or infinite"
    )
    table = table.in_sequence(frame_numbers, advice)
    for number, name in ((2, "class"), (3, "height"), (4, "width")):
        table = table.with_integers(number, name)
    table = table.with_ids(repeats=[MOTS_IGNORE_CLASS])
    if not len(table.lines):
        return table
    height, width = table.column(3), table.column(4)
    size = image_size or (int(height[0]), int(width[0]))
    table = table.without(
        (height != size[0]) | (width != size[1]),
        lambda i: f"the mask is {width[i]}x{height[i]}, the image {size[1]}x{size[0]}",
    )
    rle = np.empty(len(table.lines), dtype=object)
    rle[:] = [{"size": [*size], "counts": code.encode()} for code in table.texts]
    faults = dict(find_mask_faults(rle.tolist(), *size))
    table = replace(table, texts=rle)
    table = table.without(np.isin(np.arange(len(rle)), [*faults]), faults.__getitem__)
    return _without_overlap(table)


def _without_overlap(table: TextTable) -> TextTable:
    frame = table.column(0)
    kept = np.ones(len(frame), bool)
    for rows in rows_by_frame(frame):
        if masks_overlap(table.texts[rows].tolist()):
            kept[rows] = False
            fault = f"masks of frame {frame[rows[0]]} overlap; give each pixel to one object"
            table.report(Fault(table.path, "line", int(table.lines[rows[0]]), fault))
    return table.select(kept)


def rows_by_frame(frame: np.ndarray) -> list[np.ndarray]:
    """The rows of each frame that has some, in their order."""
    order = np.argsort(frame, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(frame[order])) + 1)


def masks_overlap(masks: Sequence[dict[str, Any]]) -> bool:
    """Whether any two of these compressed RLEs of one size have a pixel in common."""
    if len(masks) < 2:
        return False
    union = coco_mask.merge(list(masks), intersect=False)
    return int(mask_areas(list(masks)).sum()) != int(coco_mask.area(union))
