"""Register tracking datasets straight from the MOTChallenge's folders.

formats/mot_sequence.py describes the layout of a sequence. Nothing is converted or linked.
"""

import os
from collections.abc import Sequence
from functools import partial

import numpy as np
import pycocotools.mask as coco_mask
from detectron2.data import DatasetCatalog, MetadataCatalog

from d2video.data.datasets.from_config import dataset_format
from d2video.data.datasets.mot_split import check_frame_range, read_sequences
from d2video.data.frame_annotations import FrameAnnotations
from d2video.data.records import TrackingRecord
from d2video.formats.faults import Fault, Report, refuse
from d2video.formats.mot_ground_truth import MOTSRows, read_mot_detections
from d2video.formats.mot_labels import Labels, read_labels
from d2video.formats.mot_rules import Classes, MinVisibility, ObjectRule, object_rule
from d2video.formats.mot_sequence import MOTSequence
from d2video.utils.errors import UserError


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
    classes: Classes | None = None,
    class_name: str | None = None,
    min_visibility: MinVisibility = "benchmark",
    with_flag_0: bool = False,
    public_detections: bool = False,
) -> None:
    """Register a split of a tracking dataset under ``name``; files are read on first use.

    The metadata get ``evaluator_type`` ("mot", or "mots" for MOTS20), ``benchmark``,
    ``thing_classes``, ``public_detections`` (bool), ``mot_rule``, an
    :class:`~d2video.formats.mot_rules.ObjectRule`, and ``mot_sequences``, a function that gives the
    split's :class:`~d2video.formats.mot_sequence.MOTSequence` list, if need be without its images
    (``needs_images=False``).

    Args:
        root: folder that holds the sequences' folders.
        benchmark: whose files and whose rules of evaluation: MOT15, MOT17, MOT16, MOT20, DanceTrack,
            MOTS20. Of your data take MOT17 for boxes and MOTS20 for masks.
        sequences, exclude, detector: which of them, see :func:`find_sequences`.
        frame_range: which part of each, see :func:`read_sequences`.
        classes: of your data, in training and in evaluation: numbers, or names of CVAT's
            ``gt/labels.txt``, or {number: name}; category ids are 0, 1, ... in this order. None: the
            benchmark's class by the benchmark's rules.
        class_name: of the benchmark's class; None: person.
        min_visibility: objects that are visible to this part or less do not count; None: all count.
            By default 0.25 without ``classes``, in training only, as evaluation counts all; and None
            with ``classes``.
        with_flag_0: with ``classes``, rows with flag 0 count too.
        public_detections: records have those of ``det/det.txt``.

    Raises:
        UserError: another benchmark, a range that is none, a string for ``sequences``, or as
            :func:`~d2video.formats.mot_rules.object_rule`.
    """
    if isinstance(sequences, str) or isinstance(exclude, str):
        raise UserError(f"dataset {name}: give sequences and exclude as lists of names")
    check_frame_range(frame_range)
    try:
        rule = object_rule(
            benchmark,
            classes=classes,
            class_name=class_name,
            min_visibility=min_visibility,
            with_flag_0=with_flag_0,
        )
    except UserError as error:
        raise UserError(f"dataset {name}: {error}") from None
    read = partial(
        read_sequences,
        root,
        sequences=sequences,
        exclude=exclude,
        detector=detector,
        frame_range=frame_range,
    )

    def load(report: Report = refuse) -> list[TrackingRecord]:
        split = read(report=report)
        return load_mot(
            split, rule, f"dataset {name}", public_detections=public_detections, report=report
        )

    DatasetCatalog.register(name, load)
    MetadataCatalog.get(name).set(
        evaluator_type="mots" if rule.has_masks else "mot",
        benchmark=benchmark,
        mot_rule=rule,
        mot_sequences=read,
        thing_classes=[*rule.class_names],
        public_detections=public_detections,
    )


def load_mot(
    sequences: Sequence[MOTSequence],
    rule: ObjectRule,
    source: str,
    *,
    public_detections: bool = False,
    report: Report = refuse,
) -> list[TrackingRecord]:
    """Records of sequences, as docs/extend/architecture.md describes those of tracking data.

    Corners, which count from 1 in the files, count from 0 here (not so in the official TrackFormer).
    Boxes of masks are tight around them.

    Args:
        sequences: see :func:`read_sequences`.
        rule: which rows of the ground truth are annotations.
        source: what messages call the data.
        public_detections: with those of ``det/det.txt``.
        report: takes the faults of files and rows, and what is not used.

    Returns:
        one dict a sequence, in their order; ``annotations`` is a :class:`FrameAnnotations`, absent
        where there is no ground truth.

    Raises:
        UserError: as :func:`~d2video.formats.mot_labels.read_labels`.
    """
    labels = read_labels(sequences, rule, source, in_training=True, report=report)
    records = []
    for video_id, sequence in enumerate(sequences, 1):
        if sequence.images is None or sequence.size is None:
            text = f"{sequence.folder} has no images: fetch them to img1/000001.jpg ..."
            report(Fault(sequence.folder, "file", None, text))
            continue
        record: TrackingRecord = {
            "video_id": video_id,
            "sequence": sequence.name,
            "file_names": [*sequence.images[sequence.first :][: sequence.num_frames]],
            "height": sequence.size[0],
            "width": sequence.size[1],
            "length": sequence.num_frames,
            "frame_numbers": sequence.split_numbers,
        }
        if sequence.frame_rate is not None:
            record["frame_rate"] = sequence.frame_rate
        if public_detections:
            record["public_detections"] = _detections(sequence, report)
        if sequence.name in labels:
            record["annotations"] = _annotations(sequence, labels[sequence.name])
        records.append(record)
    return records


def _annotations(sequence: MOTSequence, labels: Labels) -> FrameAnnotations:
    is_object = labels.category >= 0
    rows = labels.rows.select(is_object)
    columns = {"id": rows.id, "category_id": labels.category[is_object]}
    if isinstance(rows, MOTSRows):
        boxes = np.reshape(coco_mask.toBbox(rows.rle.tolist()), (-1, 4))
        columns |= {"bbox": boxes, "segmentation": rows.rle}
    else:
        columns |= {"bbox": rows.box - [1, 1, 0, 0], "visibility": rows.visibility}
    return FrameAnnotations(sequence.num_frames, rows.frame - 1, columns)


def _detections(sequence: MOTSequence, report: Report) -> list[np.ndarray]:
    """Per frame float32 (n,5): x0, y0, x1, y1 in pixels, score."""
    path = os.path.join(sequence.folder, "det", "det.txt")
    rows = read_mot_detections(path, sequence.frame_numbers, report)
    rows = rows.of_frames(sequence.first + 1, sequence.num_frames)
    low = rows.box[:, :2] - 1
    table = np.concatenate([low, low + rows.box[:, 2:], rows.score[:, None]], axis=1)
    order = np.argsort(rows.frame, kind="stable")
    cuts = np.searchsorted(rows.frame[order], np.arange(2, sequence.num_frames + 1))
    return np.split(table[order].astype(np.float32), cuts)
