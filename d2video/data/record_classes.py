"""Classes of whole records, of any kind: which ones occur, and other indices for them."""

from collections.abc import Iterable, Sequence
from typing import Any

from d2video.data.frame_annotations import FrameAnnotations
from d2video.data.records import Record, object_classes

# Of what is not trained on, since only groups ("iscrowd") have the class.
NO_CLASS = -1


def annotated_classes(records: Iterable[Record]) -> set[int]:
    """The class indices that objects, panoptic segments or videos of labelled records have."""
    return {index for record in records for index in object_classes(record)}


def with_classes(record: Record, new_index: Sequence[int | None]) -> Record:
    """A labelled record with other class indices; the given one is not changed.

    Args:
        record: of any kind (docs/extend/architecture.md).
        new_index: by class index; None for a class without objects, of which :data:`NO_CLASS` is made.
    """
    index = [NO_CLASS if new is None else new for new in new_index]

    def renamed(labels: Iterable[Any]) -> list[Any]:
        return [{**label, "category_id": index[label["category_id"]]} for label in labels]

    changed = dict(record)
    if "label" in record:
        changed["label"] = index[record["label"]]
    if "segments_info" in record:
        changed["segments_info"] = renamed(record["segments_info"])
    for key in record.keys() & {"annotations", "ignored"}:
        labels = record[key]
        if isinstance(labels, FrameAnnotations):
            changed[key] = labels.with_classes(index)
        elif "length" in record:
            changed[key] = [renamed(frame) for frame in labels]
        else:
            changed[key] = renamed(labels)
    return changed
