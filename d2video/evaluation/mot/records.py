"""Labels of tracking from records (docs/architecture.md), for data without MOTChallenge's own files."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from detectron2.structures import BoxMode

from d2video.formats.mot_ground_truth import MOTRows
from d2video.formats.mot_sequence import MOTSequence
from d2video.utils.errors import UserError

_PEDESTRIAN = 1


def sequence_of_record(record: Mapping[str, Any], source: str) -> MOTSequence:
    """The sequence of a tracking record; its frame rate is not known (nan) and of no effect.

    Args:
        source: data set, for messages.

    Raises:
        UserError: results cannot lie in a file of the sequence's name.
    """
    name, length = record["sequence"], record["length"]
    if os.path.basename(name) != name or name in ("", ".", ".."):
        raise UserError(
            f"{source}: the name '{name}' of a video cannot be that of a file of results; rename it"
        )
    first = record.get("first_frame", 1)
    return MOTSequence(
        name=name,
        folder=os.path.dirname(record["file_names"][0]),
        gt_file=None,
        num_frames=length,
        first_frame=first,
        seq_length=first - 1 + length,
        height=record["height"],
        width=record["width"],
        frame_rate=float("nan"),
    )


def rows_of_annotations(
    annotations: Sequence[Sequence[Mapping[str, Any]]], class_names: Sequence[str], where: str
) -> MOTRows:
    """A record's annotations as rows of a ``gt.txt``: every object counts.

    Args:
        annotations: L lists of dicts with boxes XYWH_ABS, pixels from 0.
        class_names: by category id, for messages, like ``where``; may be empty.

    Returns:
        rows with class 1 and flag 1, frames and corners from 1 on.

    Raises:
        UserError: objects of another class than 0.
    """
    placed = [(t, each) for t, frame in enumerate(annotations, 1) for each in frame]
    objects = [each for _, each in placed]
    other = next((each["category_id"] for each in objects if each["category_id"] != 0), None)
    if other is not None:
        name, only = (f"'{class_names[k]}'" if k < len(class_names) else k for k in (other, 0))
        raise UserError(
            f"{where}: it has objects of class {name}; tracks are evaluated in data of one class, "
            f"here {only}: make a file of each class"
        )
    assert all(each["bbox_mode"] == BoxMode.XYWH_ABS for each in objects)
    boxes = np.array([each["bbox"] for each in objects], dtype=float).reshape(-1, 4)
    boxes[:, :2] += 1
    ones = np.ones(len(objects), dtype=np.int64)
    return MOTRows(
        frame=np.array([t for t, _ in placed], dtype=np.int64),
        id=np.array([each["id"] for each in objects], dtype=np.int64),
        box=boxes,
        flag=ones,
        cls=_PEDESTRIAN * ones,
        visibility=np.array([each.get("visibility", 1) for each in objects], dtype=float),
    )
