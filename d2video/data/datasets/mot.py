"""Register tracking data sets straight from the MOTChallenge's folders.

formats/mot_sequence.py describes the layout of a sequence. Nothing is converted or linked.
"""

import os
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import pycocotools.mask as coco_mask
from detectron2.data import DatasetCatalog, MetadataCatalog

from d2video.data.datasets.from_config import dataset_format
from d2video.data.datasets.mot_split import check_frame_range, read_sequences
from d2video.data.frame_annotations import FrameAnnotations
from d2video.data.records import TrackingRecord
from d2video.formats.faults import Report, refuse
from d2video.formats.mot_ground_truth import (
    MOTRows,
    MOTSRows,
    read_mot_detections,
    read_mot_ground_truth,
    read_mots_ground_truth,
)
from d2video.formats.mot_sequence import MOTSequence, list_frames, read_seqinfo
from d2video.formats.rle import mask_areas
from d2video.utils.errors import UserError

BENCHMARKS = ("MOT15", "MOT17", "MOT20", "DanceTrack", "MOTS20")
_PEDESTRIAN = 1
_MOTS_PEDESTRIAN = 2


@dataset_format("mot")
def register_mot(
    name: str,
    root: str,
    *,
    benchmark: str,
    sequences: Sequence[str] | None = None,
    exclude: Sequence[str] = (),
    detector: str | None = None,
    frame_range: tuple[float, float] = (0.0, 1.0),
    min_visibility: float | None = 0.25,
    public_detections: bool = False,
    class_name: str = "person",
) -> None:
    """Register a split of a tracking data set under ``name``; files are read on first use.

    The metadata get ``evaluator_type`` ("mot", or "mots" for MOTS20), ``benchmark``,
    ``thing_classes``, ``public_detections`` (bool) and ``mot_sequences``, a function without
    arguments that gives the split's :class:`~d2video.formats.mot_sequence.MOTSequence` list.

    Args:
        root: folder that holds the sequences' folders.
        benchmark: whose files and whose rules of evaluation: MOT15, MOT17 (MOT16 too), MOT20,
            DanceTrack, MOTS20.
        sequences, exclude, detector: which of them, see :func:`find_sequences`.
        frame_range: which part of each, see :func:`read_sequences`.
        min_visibility: objects that are visible to this part or less are no annotations; None: all
            are. Evaluation counts all.
        public_detections: records have those of ``det/det.txt``.
        class_name: of what is tracked.

    Raises:
        UserError: another benchmark, a range that is none, or a string for ``sequences``.
    """
    if benchmark not in BENCHMARKS:
        raise UserError(f"benchmark is '{benchmark}': choose one of {', '.join(BENCHMARKS)}")
    if isinstance(sequences, str) or isinstance(exclude, str):
        raise UserError(f"dataset {name}: give sequences and exclude as lists of names")
    check_frame_range(frame_range)
    read = partial(
        read_sequences,
        root,
        sequences=sequences,
        exclude=exclude,
        detector=detector,
        frame_range=frame_range,
    )
    if benchmark == "MOTS20":
        load = partial(load_mots, public_detections=public_detections)
    else:
        load = partial(
            load_mot,
            has_classes=benchmark != "MOT15",
            min_visibility=min_visibility,
            public_detections=public_detections,
        )
    DatasetCatalog.register(name, lambda report=refuse: load(read(), report=report))
    MetadataCatalog.get(name).set(
        evaluator_type="mots" if benchmark == "MOTS20" else "mot",
        benchmark=benchmark,
        mot_sequences=read,
        thing_classes=[class_name],
        public_detections=public_detections,
    )


def load_mot(
    sequences: Sequence[MOTSequence],
    *,
    has_classes: bool = True,
    min_visibility: float | None = 0.25,
    public_detections: bool = False,
    report: Report = refuse,
) -> list[TrackingRecord]:
    """Records of sequences with boxes, as docs/architecture.md describes those of tracking data.

    Of the ground truth, rows of class 1 (pedestrians) with flag 1 are annotations. Corners, which
    count from 1 in the files, count from 0 here (not so in the official TrackFormer).

    Args:
        sequences: see :func:`read_sequences`.
        has_classes: False: as in MOT15 there are none, and rows with any flag but 0 count.
        min_visibility: rows of this visibility or less are left out; None: none is.
        public_detections: with those of ``det/det.txt``.
        report: takes the faults of rows of the text files.

    Returns:
        one dict a sequence, in their order; ``annotations`` is a :class:`FrameAnnotations`, absent
        where there is no ground truth.

    Raises:
        UserError: images, ground truth or detections are missing.
    """

    def read(sequence: MOTSequence, gt_file: str) -> FrameAnnotations:
        rows = read_mot_ground_truth(gt_file, sequence.seq_length, report)
        rows = rows.of_frames(sequence.first_frame, sequence.num_frames)
        kept = (rows.flag == 1) & (rows.cls == _PEDESTRIAN) if has_classes else rows.flag != 0
        if min_visibility is not None:
            kept &= rows.visibility > min_visibility
        rows = rows.select(kept)
        columns = {"bbox": rows.box - [1, 1, 0, 0], "visibility": rows.visibility}
        return _annotations(sequence, rows, columns)

    return _records(sequences, public_detections, read, report)


def load_mots(
    sequences: Sequence[MOTSequence],
    *,
    public_detections: bool = False,
    report: Report = refuse,
) -> list[TrackingRecord]:
    """Records of sequences with masks, as :func:`load_mot`; boxes are tight around the masks.

    Rows of class 2 (pedestrians) are annotations, unless their mask is empty.

    Raises:
        UserError: images, ground truth or detections are missing.
    """

    def read(sequence: MOTSequence, gt_file: str) -> FrameAnnotations:
        size = (sequence.height, sequence.width)
        rows = read_mots_ground_truth(gt_file, sequence.seq_length, size, report)
        rows = rows.of_frames(sequence.first_frame, sequence.num_frames)
        rows = rows.select(rows.cls == _MOTS_PEDESTRIAN)
        rows = rows.select(mask_areas(rows.rle.tolist()) > 0)
        boxes = np.reshape(coco_mask.toBbox(rows.rle.tolist()), (-1, 4))
        return _annotations(sequence, rows, {"bbox": boxes, "segmentation": rows.rle})

    return _records(sequences, public_detections, read, report)


def _records(
    sequences: Sequence[MOTSequence],
    public_detections: bool,
    read: Callable[[MOTSequence, str], FrameAnnotations],
    report: Report,
) -> list[TrackingRecord]:
    records = []
    for video_id, sequence in enumerate(sequences, 1):
        first = sequence.first_frame - 1
        files = list_frames(sequence.folder, read_seqinfo(sequence.folder))
        record: TrackingRecord = {
            "video_id": video_id,
            "sequence": sequence.name,
            "file_names": files[first : first + sequence.num_frames],
            "height": sequence.height,
            "width": sequence.width,
            "length": sequence.num_frames,
            "first_frame": sequence.first_frame,
        }
        if public_detections:
            record["public_detections"] = _detections(sequence, report)
        if sequence.gt_file is not None:
            record["annotations"] = read(sequence, sequence.gt_file)
        records.append(record)
    return records


def _annotations(
    sequence: MOTSequence, rows: MOTRows | MOTSRows, columns: dict[str, np.ndarray]
) -> FrameAnnotations:
    columns = {"id": rows.id, "category_id": np.zeros(len(rows), dtype=np.int64), **columns}
    return FrameAnnotations(sequence.num_frames, rows.frame - 1, columns)


def _detections(sequence: MOTSequence, report: Report) -> list[np.ndarray]:
    """Per frame float32 (n,5): x0, y0, x1, y1 in pixels, score."""
    path = os.path.join(sequence.folder, "det", "det.txt")
    rows = read_mot_detections(path, sequence.seq_length, report)
    rows = rows.of_frames(sequence.first_frame, sequence.num_frames)
    low = rows.box[:, :2] - 1
    table = np.concatenate([low, low + rows.box[:, 2:], rows.score[:, None]], axis=1)
    order = np.argsort(rows.frame, kind="stable")
    cuts = np.searchsorted(rows.frame[order], np.arange(2, sequence.num_frames + 1))
    return np.split(table[order].astype(np.float32), cuts)
