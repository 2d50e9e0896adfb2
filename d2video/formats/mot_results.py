"""Result files of multi-object tracking: written, read, and checked line by line.

One text file a sequence, ``<sequence>.txt``. MOTChallenge (boxes), one line a track and frame::

    frame,id,left,top,width,height,confidence,-1,-1,-1

MOTS (masks, which may not overlap in a frame), class 2 for pedestrians, a compressed COCO RLE::

    frame id class height width rle

Frames and pixels are counted from 1, so frames and corners are written 1 higher than in d2video, and
ids too, because trackers here start at 0. Width and height are the true ones; the official
TrackFormer writes them 1 too large.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from detectron2.structures import Instances

from d2video.formats.faults import refuse
from d2video.formats.mot_ground_truth import (
    MOTSRows,
    Rows,
    masks_overlap,
    read_mots_table,
    without_sizes,
)
from d2video.formats.mot_text import read_table, repeated
from d2video.formats.rle import encode_masks, mask_areas
from d2video.utils.errors import UserError
from d2video.utils.files import open_text

MOTS_CAR, MOTS_PEDESTRIAN = 1, 2
_DECIMALS = 3  # of a pixel: finer than any detector, and what is scored is what is written
_LAYOUT = "frame,id,left,top,width,height,confidence,-1,-1,-1"


@dataclass(frozen=True)
class MOTResults(Rows):
    """N boxes of a sequence, as they stand in a file.

    Attributes:
        id: (N,) int64, at least 0, unique in a frame; a tracker's of d2video + 1.
        box: (N,4) float64, left, top, width, height in pixels, the corner from 1 on; none empty.
        score: (N,) float64, of no effect on the metrics.
    """

    id: np.ndarray
    box: np.ndarray
    score: np.ndarray


def mot_results(frames: Sequence[Instances], first_frame: int = 1) -> MOTResults:
    """A tracker's boxes, rounded as in a file.

    Boxes without area, such as those clipped at the border, are left out.

    Args:
        frames: one ``Instances`` a frame with ``pred_boxes`` (XYXY, pixels), ``scores``,
            ``track_ids`` (from 0).
        first_frame: its number, from 1 on.

    Raises:
        UserError: a box or score is not finite, or an id negative or twice in a frame.
    """
    frame, track_id = _frames_and_ids(frames, first_frame)
    corners = _concatenate([f.pred_boxes.tensor for f in frames], (0, 4)).astype(np.float64)
    score = _concatenate([f.scores for f in frames], (0,)).astype(np.float64)
    sound = np.isfinite(corners).all(axis=1) & np.isfinite(score)
    if not sound.all():
        row = int(np.argmin(sound))
        raise UserError(
            f"frame {frame[row]}: box {corners[row].tolist()} or score {score[row]} of a track is "
            "not finite: the model has diverged"
        )
    box = np.concatenate([corners[:, :2] + 1, corners[:, 2:] - corners[:, :2]], axis=1)
    box = np.round(box, _DECIMALS)
    keep = (box[:, 2:] > 0).all(axis=1)
    return MOTResults(frame[keep], track_id[keep], box[keep], score[keep])


def mots_results(frames: Sequence[Instances], first_frame: int = 1) -> MOTSRows:
    """A tracker's masks, all as pedestrians. Empty masks are left out.

    Args:
        frames: one ``Instances`` a frame with ``track_ids`` (from 0) and either ``pred_rles`` (N
            compressed RLEs) or ``pred_masks`` (bool N,H,W).
        first_frame: its number, from 1 on.

    Raises:
        UserError: there are no masks, those of a frame overlap, or an id is negative or twice in a
            frame.
    """
    frame, track_id = _frames_and_ids(frames, first_frame)
    masks: list[dict[str, Any]] = []
    for number, instances in enumerate(frames, first_frame):
        found = _masks(instances)
        if masks_overlap(found):
            raise UserError(
                f"frame {number}: masks of the model overlap, which MOTS does not allow; give each "
                "pixel to one track"
            )
        masks += found
    rle = np.empty(len(masks), dtype=object)
    rle[:] = masks
    keep = mask_areas(masks) > 0
    pedestrian = np.full(len(masks), MOTS_PEDESTRIAN)
    return MOTSRows(frame[keep], track_id[keep], pedestrian[keep], rle[keep])


@contextmanager
def open_mot_results(
    path: str | os.PathLike[str],
) -> Iterator[Callable[[int, Instances], None]]:
    """Open a file for boxes, which appears at the end, or not at all on an exception.

    The function that it yields appends a frame: its index, from 0, and :func:`mot_results`' instances.

    Raises:
        UserError: the path cannot be written; on appending, as :func:`mot_results`, or the disk
            refuses.
    """
    with open_text(path) as put:
        yield lambda index, frame: put("".join(_mot_lines(mot_results([frame], index + 1))))


@contextmanager
def open_mots_results(
    path: str | os.PathLike[str],
) -> Iterator[Callable[[int, Instances], None]]:
    """As :func:`open_mot_results`, for the masks of :func:`mots_results`."""
    with open_text(path) as put:
        yield lambda index, frame: put("".join(_mots_lines(mots_results([frame], index + 1))))


def write_results(path: str | os.PathLike[str], results: MOTResults | MOTSRows) -> None:
    """Write the file of a sequence, whole or not at all.

    Raises:
        UserError: the path cannot be written.
    """
    lines = _mot_lines(results) if isinstance(results, MOTResults) else _mots_lines(results)
    with open_text(path) as put:
        put("".join(lines))


def read_mot_results(path: str | os.PathLike[str], num_frames: int) -> MOTResults:
    """Read a file of boxes, of any tracker, with 7 to 10 columns. It may be empty.

    Args:
        path, num_frames: of the file and of the sequence.

    Raises:
        UserError: names file, line and fault: no such file, other columns, something that is no
            finite number, frames outside the sequence, ids that are negative or twice in a frame,
            boxes without area, or a class above 1 in column 8.
    """
    table = read_table(os.fspath(path), range(7, 11), _LAYOUT, refuse)
    table = table.in_sequence(num_frames).with_ids()
    table = without_sizes(table, (table.values[:, 4:6] <= 0).any(axis=1))
    classes = table.values[:, 7:8]
    table = table.without(
        (classes > 1).any(axis=1),
        lambda i: f"column 8 is {classes[i, 0]:g}, a class that is not scored, in place of -1",
    )
    return MOTResults(table.column(0), table.column(1), table.values[:, 2:6], table.values[:, 6])


def read_mots_results(
    path: str | os.PathLike[str], num_frames: int, image_size: tuple[int, int] | None = None
) -> MOTSRows:
    """Read a file of masks, of any tracker. It may be empty.

    Args:
        path, num_frames: of the file and of the sequence.
        image_size: height and width of its images in pixels; None: those of the first row.

    Raises:
        UserError: the file is missing or is not text, a fault of :func:`read_mots_ground_truth`,
            classes other than 1 and 2, or an empty mask.
    """
    table = read_mots_table(os.fspath(path), num_frames, image_size, refuse)
    cls = table.column(2)
    table = table.without(
        ~np.isin(cls, (MOTS_CAR, MOTS_PEDESTRIAN)),
        lambda i: f"class {cls[i]} is neither 2, pedestrian, nor 1",
    )
    table = table.without(mask_areas(table.texts.tolist()) == 0, lambda i: "the mask is empty")
    return MOTSRows(table.column(0), table.column(1), table.column(2), table.texts)


def _masks(instances: Instances) -> list[dict[str, Any]]:
    if instances.has("pred_rles"):
        return list(instances.pred_rles)
    if instances.has("pred_masks"):
        return encode_masks(instances.pred_masks.cpu()) if len(instances) else []
    if len(instances):
        raise UserError("the model predicts no masks, which MOTS needs: use one that does")
    return []


def _frames_and_ids(frames: Sequence[Instances], first_frame: int) -> tuple[np.ndarray, np.ndarray]:
    frame = np.repeat(np.arange(first_frame, first_frame + len(frames)), [len(f) for f in frames])
    track_id = _concatenate([f.track_ids for f in frames], (0,)).astype(np.int64)
    for bad, fault in (
        (track_id < 0, "is negative"),
        (repeated(frame, track_id), "is given to two objects"),
    ):
        if bad.any():
            row = int(np.argmax(bad))
            raise UserError(
                f"frame {frame[row]}: track id {track_id[row]} {fault}; ids start at 0 and are "
                "unique in a frame"
            )
    return frame, track_id + 1


def _concatenate(tensors: Sequence[Any], empty: tuple[int, ...]) -> np.ndarray:
    if not tensors:
        return np.zeros(empty, np.int64)
    return np.concatenate([tensor.cpu().numpy() for tensor in tensors])


def _mot_lines(results: MOTResults) -> Iterator[str]:
    columns = (c.tolist() for c in (results.frame, results.id, results.box, results.score))
    for frame, track_id, box, score in zip(*columns):
        sides = ",".join(f"{value:.{_DECIMALS}f}" for value in box)
        yield f"{frame},{track_id},{sides},{score:.6f},-1,-1,-1\n"


def _mots_lines(results: MOTSRows) -> Iterator[str]:
    columns = (c.tolist() for c in (results.frame, results.id, results.cls, results.rle))
    for frame, track_id, object_class, mask in zip(*columns):
        counts = mask["counts"]
        code = counts if isinstance(counts, str) else counts.decode("ascii")
        height, width = mask["size"]
        yield f"{frame} {track_id} {object_class} {height} {width} {code}\n"
