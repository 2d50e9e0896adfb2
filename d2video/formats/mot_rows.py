"""Ground truth and detections of one sequence in the MOTChallenge's text formats.

``gt.txt``: ``frame,id,left,top,width,height,flag,class,visibility`` (MOT16, MOT17, MOT20,
DanceTrack) or ``frame,id,left,top,width,height,flag,x,y,z`` (MOT15, no classes). ``det.txt``:
``frame,-1,left,top,width,height,score`` and up to three columns that mean nothing here. Frames and
corners count from 1. MOTS20's ``gt.txt`` is split by spaces: ``frame id class height width rle``.
"""

from dataclasses import dataclass, fields
from typing import TypeVar

import numpy as np
import pycocotools.mask as coco_mask

from d2video.formats.mot_text import TextTable, read_lines, read_table, refuse
from d2video.formats.rle_codec import find_mask_fault
from d2video.utils.errors import UserError

_GT_LAYOUT = "frame,id,left,top,width,height,flag,class,visibility; in MOT15 flag,x,y,z"
_DET_LAYOUT = "frame,-1,left,top,width,height,score"
_MOTS_LAYOUT = "frame id class height width rle"
MOTS_IGNORE_CLASS = 10

T = TypeVar("T", "MOTRows", "MOTSRows", "MOTDetections")


@dataclass(frozen=True)
class MOTRows:
    """The whole of a ``gt.txt``, N rows in the order of the file.

    Attributes:
        frame: (N,) int64, from 1 on.
        id: (N,) int64, of the track, at least 0; unique in a frame.
        box: (N,4) float64, left, top, width, height in pixels as in the file, the corner from 1 on.
        flag: (N,) int64; 0: not to be considered.
        cls: (N,) int64; 1: pedestrian. All 1 for MOT15, which has no classes.
        visibility: (N,) float64, 0 to 1. All 1 for MOT15.
    """

    frame: np.ndarray
    id: np.ndarray
    box: np.ndarray
    flag: np.ndarray
    cls: np.ndarray
    visibility: np.ndarray

    def __len__(self) -> int:
        return len(self.frame)


@dataclass(frozen=True)
class MOTSRows:
    """The whole of a MOTS ``gt.txt``, N rows in the order of the file.

    Attributes:
        frame: (N,) int64, from 1 on.
        id: (N,) int64, of the track, at least 0; unique in a frame but for ignore regions.
        cls: (N,) int64; 1: car, 2: pedestrian, 10: ignore region.
        rle: (N,) object, compressed RLE dicts (``counts`` bytes), sound and of one size.
    """

    frame: np.ndarray
    id: np.ndarray
    cls: np.ndarray
    rle: np.ndarray

    def __len__(self) -> int:
        return len(self.frame)


@dataclass(frozen=True)
class MOTDetections:
    """A ``det.txt``, N rows in the order of the file.

    Attributes:
        frame: (N,) int64, from 1 on.
        box: (N,4) float64 as in :class:`MOTRows`.
        score: (N,) float64, in no given range.
    """

    frame: np.ndarray
    box: np.ndarray
    score: np.ndarray

    def __len__(self) -> int:
        return len(self.frame)


def select_rows(rows: T, chosen: np.ndarray) -> T:
    """The rows that ``chosen`` tells, (N,) bool or indices."""
    return type(rows)(**{f.name: getattr(rows, f.name)[chosen] for f in fields(rows)})


def rows_of_frames(rows: T, first_frame: int, num_frames: int) -> T:
    """The rows of a part of a sequence, in which the frames count from 1 again.

    Args:
        rows: of the sequence.
        first_frame: the part's first frame, from 1 on.
        num_frames: length of the part.
    """
    frame = rows.frame - (first_frame - 1)
    inside = (frame >= 1) & (frame <= num_frames)
    columns = {f.name: getattr(rows, f.name)[inside] for f in fields(rows)}
    return type(rows)(**{**columns, "frame": frame[inside]})


def read_mot_ground_truth(path: str, num_frames: int) -> MOTRows:
    """Read a ``gt.txt``, all classes and flags; one of 10 columns is MOT15's.

    Args:
        path: text file; it may be empty.
        num_frames: of the whole sequence.

    Raises:
        UserError: the file is missing or no table of the format's numbers; frames outside the
            sequence; ids below 0 or twice in a frame; a negative size, or a size of 0 where the flag
            is set.
    """
    table = read_table(path, range(9, 11), _GT_LAYOUT)
    frame = _frames(table, num_frames)
    track_id, flag = table.integers(1, "id"), table.integers(6, "flag")
    box = table.values[:, 2:6]
    _check_ids(table, frame, track_id)
    size = box[:, 2:].min(axis=1)
    refuse(
        (size < 0) | ((size == 0) & (flag != 0)),
        table,
        lambda i: f"the box is {box[i, 2]:g} wide and {box[i, 3]:g} high",
    )
    if table.values.shape[1] == 10:
        ones = np.ones(len(frame))
        return MOTRows(frame, track_id, box, flag, ones.astype(np.int64), ones)
    return MOTRows(frame, track_id, box, flag, table.integers(7, "class"), table.values[:, 8])


def read_mot_detections(path: str, num_frames: int) -> MOTDetections:
    """Read a ``det.txt``.

    Args:
        path: text file; it may be empty.
        num_frames: of the whole sequence.

    Raises:
        UserError: the file is missing or no table of the format's numbers; frames outside the
            sequence; a negative size.
    """
    table = read_table(path, range(7, 11), _DET_LAYOUT)
    box = table.values[:, 2:6]
    refuse(
        (box[:, 2:] < 0).any(axis=1),
        table,
        lambda i: f"the box is {box[i, 2]:g} wide and {box[i, 3]:g} high",
    )
    return MOTDetections(_frames(table, num_frames), box, table.values[:, 6])


def read_mots_ground_truth(
    path: str, num_frames: int, image_size: tuple[int, int] | None = None
) -> MOTSRows:
    """Read a ``gt.txt`` of MOTS20, all classes.

    Args:
        path: text file; it may be empty.
        num_frames: of the whole sequence.
        image_size: height and width of its images in pixels; None: those of the first row.

    Raises:
        UserError: the file is missing or no text of the format; frames outside the sequence; ids
            below 0 or, but for ignore regions, twice in a frame; masks of another size, damaged
            masks, or masks of one frame that overlap.
    """
    numbered = [(i, line) for i, line in enumerate(read_lines(path), 1) if line.strip()]
    split = [line.split() for _, line in numbered]
    faulty = next((i for i, found in enumerate(split) if len(found) != 6), None)
    if faulty is not None:
        raise UserError(
            f"{path}, line {numbered[faulty][0]}: it has {len(split[faulty])} columns split by "
            f"spaces, not 6 ({_MOTS_LAYOUT}); mend the file"
        )
    lines = np.array([i for i, _ in numbered], dtype=np.int64)
    try:
        values = np.array([found[:5] for found in split], dtype=np.float64).reshape(-1, 5)
    except ValueError as error:
        where, text = next(
            (i, text) for i, found in enumerate(split) for text in found[:5] if not _is_float(text)
        )
        raise UserError(
            f"{path}, line {lines[where]}: '{text[:40]}' is no number; mend the file"
        ) from error
    table = TextTable(path, values, lines)
    refuse(~np.isfinite(values).all(axis=1), table, lambda i: "a number is nan or infinite")
    frame = _frames(table, num_frames)
    track_id, cls = table.integers(1, "id"), table.integers(2, "class")
    height, width = table.integers(3, "height"), table.integers(4, "width")
    _check_ids(table, frame, track_id, cls != MOTS_IGNORE_CLASS)
    rle = np.empty(len(split), dtype=object)
    if split:
        size = image_size or (int(height[0]), int(width[0]))
        refuse(
            np.any(np.stack([height, width], axis=1) != size, axis=1),
            table,
            lambda i: f"the mask is {width[i]}x{height[i]}, the image {size[1]}x{size[0]}",
        )
        rle[:] = [{"size": [*size], "counts": found[5].encode()} for found in split]
        _check_masks(table, rle, size)
        _check_overlap(table, rle, frame)
    return MOTSRows(frame, track_id, cls, rle)


def _is_float(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _frames(table: TextTable, num_frames: int) -> np.ndarray:
    frame = table.integers(0, "frame")
    refuse(
        (frame < 1) | (frame > num_frames),
        table,
        lambda i: f"frame {frame[i]} is not among the sequence's frames 1 to {num_frames}",
    )
    return frame


def _check_ids(
    table: TextTable, frame: np.ndarray, track_id: np.ndarray, unique: np.ndarray | None = None
) -> None:
    """Ids are at least 0 and, in the rows that ``unique`` tells, once in a frame."""
    refuse(track_id < 0, table, lambda i: f"the id {track_id[i]} is negative")
    order = np.lexsort((track_id, frame))  # stable: the first of a pair is the earlier line
    if unique is not None:
        order = order[unique[order]]
    again = np.zeros(len(frame), dtype=bool)
    same_frame = frame[order][1:] == frame[order][:-1]
    again[order[1:]] = same_frame & (track_id[order][1:] == track_id[order][:-1])
    refuse(again, table, lambda i: f"id {track_id[i]} is there twice in frame {frame[i]}")


def _check_masks(table: TextTable, rle: np.ndarray, size: tuple[int, int]) -> None:
    fault = find_mask_fault(rle.tolist(), *size)
    if fault is not None:
        raise UserError(f"{table.path}, line {table.lines[fault[0]]}: {fault[1]}; mend the file")


def _check_overlap(table: TextTable, rle: np.ndarray, frame: np.ndarray) -> None:
    order = np.argsort(frame, kind="stable")
    cuts = np.flatnonzero(np.diff(frame[order])) + 1
    for rows in np.split(order, cuts):
        masks = rle[rows].tolist()
        if coco_mask.area(masks).sum() != coco_mask.area(coco_mask.merge(masks)):
            raise UserError(
                f"{table.path}, line {table.lines[rows[0]]}: masks of frame {frame[rows[0]]} "
                "overlap; give each pixel to one object"
            )
