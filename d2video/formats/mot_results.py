"""Result files of multi-object tracking: written, read, and checked line by line.

One text file a sequence, ``<sequence>.txt``. MOTChallenge (boxes), one line a track and frame::

    frame,id,left,top,width,height,confidence,class,-1,-1

The class is -1 where there is only one. Where there are several, it is the number that the class has in
the labels' file, as in column 8 of a ``gt.txt``. MOTS (masks, which may not overlap in a frame), class 2
for pedestrians, a compressed COCO RLE::

    frame id class height width rle

Pixels are counted from 1, so corners are written 1 higher than in d2video, and ids too, because trackers
here start at 0. Frames have the numbers of the sequence's files. Width and height are the true ones; the
official TrackFormer writes them 1 too large.
"""

import os
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from detectron2.structures import Instances

from d2video.formats.faults import refuse
from d2video.formats.geometry.rle import encode_masks, mask_areas
from d2video.formats.mot_ground_truth import (
    MOTSRows,
    Rows,
    masks_overlap,
    read_mots_table,
    without_sizes,
)
from d2video.formats.mot_text import read_table, repeated
from d2video.structures.mask_answers import check_dense, check_rle
from d2video.utils.errors import UserError
from d2video.utils.files import open_text

MOTS_CAR, MOTS_PEDESTRIAN = 1, 2
_DECIMALS = 3  # of a pixel: finer than any detector, and what is scored is what is written
_LAYOUT = "frame,id,left,top,width,height,confidence,class,-1,-1"
_NO_CLASS = -1
_COUNT_OTHERWISE = " (if results count from 0 or 1 on, say so: d2video evaluate --frame-numbers)"


@dataclass(frozen=True)
class MOTResults(Rows):
    """N boxes of a sequence, as they are written in a file.

    Attributes:
        id: (N,) int64, at least 0, unique in a frame; a tracker's of d2video + 1.
        box: (N,4) float64, left, top, width, height in pixels, the corner from 1 on; none empty.
        score: (N,) float64, of no effect on the metrics.
        cls: (N,) int64, the class's number; -1 where there is only one class.
    """

    id: np.ndarray
    box: np.ndarray
    score: np.ndarray
    cls: np.ndarray


def mot_results(
    frames: Sequence[Instances],
    frame_numbers: Sequence[int] | None = None,
    class_numbers: Sequence[int] | None = None,
) -> MOTResults:
    """A tracker's boxes, rounded as in a file.

    Boxes without area, such as those clipped at the border, are left out.

    Args:
        frames: one ``Instances`` a frame with ``pred_boxes`` (XYXY, pixels), ``scores``,
            ``track_ids`` (from 0) and, with ``class_numbers``, ``pred_classes``.
        frame_numbers: one each, for messages; None: 1, 2, ...
        class_numbers: by class index, its number in the file; None: there is one class.

    Raises:
        UserError: a box or score is not finite, or an id negative or twice in a frame.
    """
    frame_numbers = frame_numbers or range(1, len(frames) + 1)
    frame, track_id = _frames_and_ids(frames, frame_numbers)
    corners = _concatenate([f.pred_boxes.tensor for f in frames], (0, 4)).astype(np.float64)
    score = _concatenate([f.scores for f in frames], (0,)).astype(np.float64)
    sound = np.isfinite(corners).all(axis=1) & np.isfinite(score)
    if not sound.all():
        row = int(np.argmin(sound))
        raise UserError(
            f"frame {frame_numbers[frame[row] - 1]}: box {corners[row].tolist()} or score {score[row]} "
            "of a track is not finite: the model has diverged"
        )
    box = np.concatenate([corners[:, :2] + 1, corners[:, 2:] - corners[:, :2]], axis=1)
    box = np.round(box, _DECIMALS)
    keep = (box[:, 2:] > 0).all(axis=1)
    cls = _class_numbers(frames, class_numbers, _NO_CLASS)
    return MOTResults(frame[keep], track_id[keep], box[keep], score[keep], cls[keep])


def mots_results(
    frames: Sequence[Instances],
    frame_numbers: Sequence[int] | None = None,
    class_numbers: Sequence[int] | None = None,
) -> MOTSRows:
    """A tracker's masks. Empty masks are left out.

    Args:
        frames: one ``Instances`` a frame with ``track_ids`` (from 0) and either ``pred_rles`` (N
            compressed RLEs) or ``pred_masks`` (bool N,H,W); with ``class_numbers``, ``pred_classes``.
        frame_numbers: one each, for messages; None: 1, 2, ...
        class_numbers: by class index, its number in the file; None: all are pedestrians, 2.

    Raises:
        UserError: there are no masks, or none of these forms; those of a frame overlap; or an id is
            negative or twice in a frame.
    """
    frame_numbers = frame_numbers or range(1, len(frames) + 1)
    frame, track_id = _frames_and_ids(frames, frame_numbers)
    masks: list[dict[str, Any]] = []
    for number, instances in zip(frame_numbers, frames, strict=True):
        found = _masks(instances, f"frame {number}")
        if masks_overlap(found):
            raise UserError(
                f"frame {number}: masks of the model overlap, which MOTS does not allow; give each "
                "pixel to one track"
            )
        masks += found
    rle = np.empty(len(masks), dtype=object)
    rle[:] = masks
    keep = mask_areas(masks) > 0
    cls = _class_numbers(frames, class_numbers, MOTS_PEDESTRIAN)
    return MOTSRows(frame[keep], track_id[keep], cls[keep], rle[keep])


@contextmanager
def open_mot_results(
    path: str | os.PathLike[str], class_numbers: Sequence[int] | None = None, *, masks: bool = False
) -> Iterator[Callable[[int, Instances], int]]:
    """Open a file for boxes, or for ``masks`` in the MOTS format.

    It appears at the end, or not at all on an exception. The function that it yields appends a frame: its
    number and the instances of :func:`mot_results` or :func:`mots_results`, whose ``class_numbers`` these
    are. It returns how many have a row; those without area have none.

    Raises:
        UserError: the path cannot be written; on appending, as these two, or the disk refuses.
    """
    make = mots_results if masks else mot_results
    with open_text(path) as put:

        def append(number: int, frame: Instances) -> int:
            rows = make([frame], [number], class_numbers)
            put("".join(_lines(rows, [number])))
            return len(rows.frame)

        yield append


def write_results(
    path: str | os.PathLike[str], results: MOTResults | MOTSRows, frame_numbers: Sequence[int]
) -> None:
    """Write the file of a sequence, whole or not at all.

    Args:
        frame_numbers: of all frames of the sequence, in the file.

    Raises:
        UserError: the path cannot be written.
    """
    with open_text(path) as put:
        put("".join(_lines(results, frame_numbers)))


def read_mot_results(
    path: str | os.PathLike[str],
    frame_numbers: Sequence[int],
    class_numbers: Collection[int] = (),
) -> MOTResults:
    """Read a file of boxes, of any tracker, with 7 to 10 columns. It may be empty.

    Args:
        path: of the file.
        frame_numbers: of all frames of the sequence, in the file, ascending.
        class_numbers: those that column 8 may hold. Several need it; a single one may also be -1. None
            given: the column may hold what trackers write where there are no classes, at most 1.

    Raises:
        UserError: names file, line and fault: no such file, other columns, something that is no
            finite number, frames outside the sequence, ids that are negative or twice in a frame,
            boxes without area, or another class in column 8.
    """
    has_classes = len(class_numbers) > 1
    known = class_numbers if has_classes else {_NO_CLASS, *class_numbers}
    table = read_table(os.fspath(path), range(8 if has_classes else 7, 11), _LAYOUT, refuse)
    table = table.in_sequence(frame_numbers, _COUNT_OTHERWISE).with_ids()
    table = without_sizes(table, (table.values[:, 4:6] <= 0).any(axis=1))
    classes = table.values[:, 7:8]
    odd = ~np.isin(classes, [*known]) if class_numbers else classes > 1
    table = table.without(
        odd.any(axis=1),
        lambda i: f"column 8 is {classes[i, 0]:g}, not a class that is scored ({_listed(known)})",
    )
    cls = table.column(7) if has_classes else np.full(len(table.lines), _NO_CLASS)
    place = table.places(frame_numbers)
    return MOTResults(place, table.column(1), table.values[:, 2:6], table.values[:, 6], cls)


def read_mots_results(
    path: str | os.PathLike[str],
    frame_numbers: Sequence[int],
    image_size: tuple[int, int] | None = None,
    class_numbers: Collection[int] = (MOTS_CAR, MOTS_PEDESTRIAN),
) -> MOTSRows:
    """Read a file of masks, of any tracker. It may be empty.

    Args:
        path: of the file.
        frame_numbers: of all frames of the sequence, in the file, ascending.
        image_size: height and width of its images in pixels; None: those of the first row.
        class_numbers: those that the third column may hold.

    Raises:
        UserError: the file is missing or is not text, a fault of :func:`read_mots_ground_truth`,
            another class, or an empty mask.
    """
    table = read_mots_table(os.fspath(path), frame_numbers, image_size, refuse, _COUNT_OTHERWISE)
    cls = table.column(2)
    table = table.without(
        ~np.isin(cls, [*class_numbers]),
        lambda i: f"class {cls[i]} is none of the classes {_listed(class_numbers)}",
    )
    table = table.without(mask_areas(table.texts.tolist()) == 0, lambda i: "the mask is empty")
    place = table.places(frame_numbers)
    return MOTSRows(place, table.column(1), table.column(2), table.texts)


def _listed(numbers: Collection[int]) -> str:
    return ", ".join(map(str, sorted(numbers)))


def _class_numbers(
    frames: Sequence[Instances], class_numbers: Sequence[int] | None, only: int
) -> np.ndarray:
    """Of each object, in the order of the frames; ``only`` where there is one class."""
    if class_numbers is None:
        return np.full(sum(map(len, frames)), only)
    indices = (k for frame in frames for k in frame.pred_classes.tolist())
    return np.array([class_numbers[k] for k in indices], dtype=np.int64)


def _masks(instances: Instances, where: str) -> list[dict[str, Any]]:
    if instances.has("pred_rles"):
        masks = list(instances.pred_rles)
        for mask in masks:
            check_rle(mask, f"{where}, pred_rles")
        return masks
    if instances.has("pred_masks"):
        check_dense(instances.pred_masks, "NHW", f"{where}, pred_masks")
        return encode_masks(instances.pred_masks.cpu()) if len(instances) else []
    if len(instances):
        raise UserError("the model predicts no masks, which MOTS needs: use one that does")
    return []


def _frames_and_ids(
    frames: Sequence[Instances], frame_numbers: Sequence[int]
) -> tuple[np.ndarray, np.ndarray]:
    """Of each object the place of its frame, from 1 on, and its id in a file."""
    frame = np.repeat(np.arange(1, len(frames) + 1), [len(f) for f in frames])
    track_id = _concatenate([f.track_ids for f in frames], (0,)).astype(np.int64)
    for bad, fault in (
        (track_id < 0, "is negative"),
        (repeated(frame, track_id), "is given to two objects"),
    ):
        if bad.any():
            row = int(np.argmax(bad))
            raise UserError(
                f"frame {frame_numbers[frame[row] - 1]}: track id {track_id[row]} {fault}; ids start at 0 "
                "and are unique in a frame"
            )
    return frame, track_id + 1


def _concatenate(tensors: Sequence[Any], empty: tuple[int, ...]) -> np.ndarray:
    if not tensors:
        return np.zeros(empty, np.int64)
    return np.concatenate([tensor.cpu().numpy() for tensor in tensors])


def _lines(results: MOTResults | MOTSRows, frame_numbers: Sequence[int]) -> Iterator[str]:
    if isinstance(results, MOTResults):
        return _mot_lines(results, frame_numbers)
    return _mots_lines(results, frame_numbers)


def _mot_lines(results: MOTResults, frame_numbers: Sequence[int]) -> Iterator[str]:
    arrays = (results.frame, results.id, results.box, results.score, results.cls)
    for frame, track_id, box, score, cls in zip(*(array.tolist() for array in arrays)):
        sides = ",".join(f"{value:.{_DECIMALS}f}" for value in box)
        yield f"{frame_numbers[frame - 1]},{track_id},{sides},{score:.6f},{cls},-1,-1\n"


def _mots_lines(results: MOTSRows, frame_numbers: Sequence[int]) -> Iterator[str]:
    columns = (c.tolist() for c in (results.frame, results.id, results.cls, results.rle))
    for frame, track_id, object_class, mask in zip(*columns):
        counts = mask["counts"]
        code = counts if isinstance(counts, str) else counts.decode("ascii")
        height, width = mask["size"]
        yield f"{frame_numbers[frame - 1]} {track_id} {object_class} {height} {width} {code}\n"
