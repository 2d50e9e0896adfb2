"""Labels of tracking from records (docs/extend/architecture.md): data without MOTChallenge's files."""

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pycocotools.mask as coco_mask
from detectron2.structures import BoxMode

from d2video.evaluation.mot.metrics import DISTRACTOR
from d2video.formats.mot_ground_truth import MOTS_IGNORE_CLASS, MOTRows, MOTSRows
from d2video.formats.mot_sequence import MOTSequence
from d2video.utils.errors import UserError
from d2video.video.frame_names import source_of_images


def sequence_of_record(record: Mapping[str, Any], source: str) -> MOTSequence:
    """The sequence of a tracking record.

    Args:
        source: dataset, for messages.

    Raises:
        UserError: the sequence's name cannot be the name of a result file.
    """
    name, length = record["sequence"], record["length"]
    if os.path.basename(name) != name or name in ("", ".", ".."):
        raise UserError(
            f"{source}: video '{name}': its name cannot be that of a result file; rename it"
        )
    return MOTSequence(
        name=name,
        folder=source_of_images(record["file_names"][0]),
        gt_file=None,
        images=tuple(record["file_names"]),
        frame_numbers=record.get("frame_numbers", range(1, length + 1)),
        first=0,
        num_frames=length,
        size=(record["height"], record["width"]),
        frame_rate=None,
    )


def box_rows(record: Mapping[str, Any], class_numbers: Sequence[int]) -> MOTRows:
    """A record's boxes as rows of a ``gt.txt``.

    Args:
        record: with ``annotations``, L lists of dicts with boxes XYWH_ABS, pixels from 0, and
            optionally ``ignored``, as many.
        class_numbers: by category id.

    Returns:
        rows with flag 1, with flag 0 those of ``ignored``, and with flag 2 what is not ``scored``; frames
        and corners from 1 on.
    """
    objects, ignored = _placed(record, "annotations"), _placed(record, "ignored")
    rows = objects + ignored
    is_scored = np.array([each.get("scored", True) for _, each in rows], bool)
    counts = np.repeat([1, 0], [len(objects), len(ignored)])
    assert all(each["bbox_mode"] == BoxMode.XYWH_ABS for _, each in rows)
    boxes = np.array([each["bbox"] for _, each in rows], dtype=float).reshape(-1, 4)
    boxes[:, :2] += 1
    return MOTRows(
        frame=_column(t for t, _ in rows),
        id=_column(each["id"] for _, each in rows),
        box=boxes,
        flag=np.where(is_scored, counts, DISTRACTOR),
        cls=_column(class_numbers[each["category_id"]] for _, each in rows),
        visibility=np.array([each.get("visibility", 1) for _, each in rows], dtype=float),
    )


def mask_rows(record: Mapping[str, Any], class_numbers: Sequence[int], source: str) -> MOTSRows:
    """A record's masks, compressed RLEs, as rows of a ``gt.txt`` of MOTS.

    What is ``ignored`` is a region to ignore for all classes: by its mask, or else by its box.

    Raises:
        UserError: an object has no mask, or a class the number of regions to ignore.
    """
    if MOTS_IGNORE_CLASS in class_numbers:
        raise UserError(
            f"{source}: category id {MOTS_IGNORE_CLASS} marks regions to ignore where masks are "
            "tracked: give the category another id, or evaluate boxes"
        )
    objects, ignored = _placed(record, "annotations"), _placed(record, "ignored")
    masks: list[Any] = []
    for t, each in objects + ignored:
        mask = each.get("segmentation")
        if mask is None and len(masks) < len(objects):
            raise UserError(
                f"{source}, video {record['sequence']}, frame {t}: track {each['id']} has no mask, and "
                "masks are compared: add segmentations, or register the set without masks"
            )
        if mask is None:
            size = record["height"], record["width"]
            (mask,) = coco_mask.frPyObjects(np.array([each["bbox"]], dtype=float), *size)
        masks.append(mask)
    rle = np.empty(len(masks), dtype=object)
    rle[:] = masks
    numbers = [class_numbers[each["category_id"]] for _, each in objects]
    return MOTSRows(
        frame=_column(t for t, _ in objects + ignored),
        id=_column(each["id"] for _, each in objects + ignored),
        cls=_column([*numbers, *[MOTS_IGNORE_CLASS] * len(ignored)]),
        rle=rle,
    )


def _placed(record: Mapping[str, Any], key: str) -> list[tuple[int, Mapping[str, Any]]]:
    """(frame from 1 on, object) of a record's objects under a key."""
    return [(t, each) for t, frame in enumerate(record.get(key, ()), 1) for each in frame]


def _column(values: Iterable[int]) -> np.ndarray:
    return np.fromiter(values, dtype=np.int64)
