"""Datasets of every format of labels in :mod:`d2video.formats.labels.label_formats`."""

import inspect
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache, partial
from typing import Any

import numpy as np
from detectron2.data import DatasetCatalog, DatasetFromList, MetadataCatalog
from detectron2.structures import BoxMode

from d2video.data.datasets.class_metadata import set_classes
from d2video.data.datasets.from_config import dataset_format
from d2video.data.frame_annotations import FrameAnnotations
from d2video.data.records import Annotation, ImageRecord, Record, TrackingRecord
from d2video.formats.faults import Report, Tally, refuse
from d2video.formats.labels.label_formats import LABEL_FORMATS, Reader
from d2video.formats.labels.label_set import (
    EVERY_CLASS,
    LabelledObject,
    LabelledVideo,
    LabelSet,
)
from d2video.formats.labels.recognition import unpacked
from d2video.formats.mot_rules import CLASS_RULES, ClassRule
from d2video.formats.readers import read_labels
from d2video.utils.collection import paused_collection
from d2video.utils.file_state import file_key
from d2video.utils.near_names import check_choice


def register_labels(
    name: str,
    root: str,
    *,
    format: str | None = None,
    classes: Sequence[str] | None = None,
    videos: Sequence[str] | None = None,
    **options: Any,
) -> None:
    """Register labels as their tool wrote them under ``name``; they are read on first use, and again only
    after a file in ``root`` has changed.

    The metadata get ``evaluator_type`` "labels": what is scored, and how, is the model's to say. They get
    ``benchmark`` when the labels are read, if one has rules for tracks of these classes.

    Args:
        root: the file or the folder.
        format: of :data:`~d2video.formats.labels.label_formats.LABEL_FORMATS`; None: recognised.
        classes: only these, in this order; None: all that the labels list.
        videos: only these, by name; None: all.
        options: of the format's reader.
    """
    load = partial(
        load_labels, root, name, format=format, classes=classes, videos=videos, **options
    )
    DatasetCatalog.register(name, _keeping(load, root))
    MetadataCatalog.get(name).set(labels_root=root, evaluator_type="labels")


def _keeping(load: Callable[..., list[Record]], root: str) -> Callable[..., list[Record]]:
    """A loader that keeps what it has read, packed, while the files in ``root`` stay as they are.

    Loaders and evaluators ask for it several times, and folders of masks take minutes. For a ``report``
    they are read again.
    """

    @lru_cache(maxsize=1)
    def packed(state: int) -> DatasetFromList:
        return DatasetFromList(load(report=refuse), copy=False)

    @paused_collection()
    def records(report: Report = refuse) -> list[Record]:
        return [*packed(_state(root))] if report is refuse else load(report=report)

    return records


def _state(root: str) -> int:
    """A number that changes with the names, times and sizes of the files at a path; linked folders in it
    are not looked into."""
    place = unpacked(root)
    paths = [os.path.join(folder, name) for folder, _, names in os.walk(place) for name in names]
    return hash(frozenset(map(file_key, paths or [place])))


@paused_collection()
def load_labels(
    root: str,
    dataset_name: str | None = None,
    report: Report = refuse,
    *,
    format: str | None = None,
    classes: Sequence[str] | None = None,
    videos: Sequence[str] | None = None,
    **options: Any,
) -> list[Record]:
    """The records of labels, see :func:`register_labels` and :func:`records_of`.

    Args:
        dataset_name: if given, the classes of this ``MetadataCatalog`` entry are set.
    """
    labels = read_labels(root, format, report, videos=videos, **options)
    names = [*labels.classes] if classes is None else [*classes]
    check_choice("class", names, labels.classes, root)
    if dataset_name is not None:
        set_classes(dataset_name, names, labels.contiguous_ids(names), root)
        if labels.track_advice is not None:
            MetadataCatalog.get(dataset_name).set(track_advice=labels.track_advice)
    new_index = {labels.classes.index(name): k for k, name in enumerate(names)}
    rule = _class_rule(labels, names)
    if rule is not None and dataset_name is not None:
        MetadataCatalog.get(dataset_name).set(benchmark=labels.benchmark)
    similar = {} if rule is None else _distractors(labels, rule, names)
    tally = Tally(root, "objects in frames")
    for video in labels.videos:
        kept: list[LabelledObject] = []
        for each in video.objects:
            if each.category in new_index or each.category == EVERY_CLASS:
                kept.append(each)
                tally.used += not each.ignored
            elif not each.ignored:
                tally.leave_out(f"of class {labels.classes[each.category]}")
            elif rule is not None:
                kept.append(replace(each, category=EVERY_CLASS))
            if each.category in similar and not each.ignored:
                scored = similar[each.category]
                kept.append(replace(each, category=scored, ignored=True, scored=False))
        video.objects = kept
    tally.tell(report)
    return records_of(labels, labels.videos, new_index)


def _class_rule(labels: LabelSet, names: Sequence[str]) -> ClassRule | None:
    """The rule of the set's benchmark, unless it scores none of the classes."""
    rule = None if labels.benchmark is None else CLASS_RULES[labels.benchmark]
    return rule if rule is not None and {*names} & {*rule.classes} else None


def _distractors(labels: LabelSet, rule: ClassRule, names: Sequence[str]) -> dict[int, int]:
    """{class: the chosen class that it is a distractor of}, as indices of the set."""
    return {
        labels.classes.index(other): labels.classes.index(scored)
        for other, scored in rule.distractors.items()
        if other in labels.classes and scored in names
    }


def records_of(
    labels: LabelSet,
    videos: Sequence[LabelledVideo],
    new_index: Mapping[int, int] | None = None,
) -> list[Record]:
    """Records of tracking data, or, of a set without tracks, of images (docs/extend/architecture.md).

    A region to ignore of all classes becomes one of each.

    Args:
        videos: of the set.
        new_index: the category ids of records by the set's classes; None: the same.
    """
    index = {k: k for k in range(len(labels.classes))} if new_index is None else new_index
    make = _video_record if labels.tracked else _image_record
    records = [make(video, k, index) for k, video in enumerate(videos, 1)]
    if labels.labelled:
        return records
    return [{key: each[key] for key in each if key != "annotations"} for each in records]


def _video_record(video: LabelledVideo, video_id: int, new_index: Mapping[int, int]) -> Record:
    height, width = video.size
    every = _of_classes(video, new_index)
    parts = [[each for each in every if each.ignored == part] for part in (False, True)]
    objects, ignored = (_columns(part, len(video.frames), new_index) for part in parts)
    record: TrackingRecord = {
        "video_id": video_id,
        "sequence": video.name,
        "file_names": [*video.frames],
        "height": height,
        "width": width,
        "length": len(video.frames),
        "frame_numbers": [*video.numbers],
        "annotations": objects,
    }
    return {**record, "ignored": ignored} if parts[1] else record


def _of_classes(video: LabelledVideo, classes: Iterable[int]) -> list[LabelledObject]:
    """The objects of a video, regions of all classes once for each of these."""
    return [
        one
        for each in video.objects
        for one in (
            [replace(each, category=k) for k in classes] if each.category == EVERY_CLASS else [each]
        )
    ]


def _columns(
    objects: Sequence[LabelledObject], num_frames: int, new_index: Mapping[int, int]
) -> FrameAnnotations:
    columns: dict[str, np.ndarray] = {
        "id": np.array([each.track for each in objects], np.int64),
        "category_id": np.array([new_index[each.category] for each in objects], np.int64),
        "bbox": np.array([each.box for each in objects], np.float64).reshape(-1, 4),
        "visibility": np.array([each.visibility for each in objects], np.float64),
    }
    if any(each.mask is not None for each in objects):
        columns["segmentation"] = np.empty(len(objects), object)
        columns["segmentation"][:] = [each.mask for each in objects]
    if not all(each.scored for each in objects):
        columns["scored"] = np.array([each.scored for each in objects], bool)
    frames = np.array([each.frame for each in objects], np.int64)
    return FrameAnnotations(num_frames, frames, columns)


def _image_record(video: LabelledVideo, image_id: int, new_index: Mapping[int, int]) -> Record:
    (file_name,), (height, width) = video.frames, video.size
    annotations: list[Annotation] = []
    for each in _of_classes(video, new_index):
        annotation: Annotation = {
            "category_id": new_index[each.category],
            "iscrowd": int(each.ignored),
            "bbox": [*each.box],
            "bbox_mode": BoxMode.XYWH_ABS,
        }
        if each.mask is not None:
            annotation["segmentation"] = each.mask
        annotations.append(annotation)
    record: ImageRecord = {
        "file_name": file_name,
        "image_id": image_id,
        "height": height,
        "width": width,
        "annotations": annotations,
    }
    return record


def _register_format(name: str, read: Reader) -> None:
    """Let DATASETS.REGISTER find a format by its name, with the arguments of its reader."""
    common = inspect.signature(register_labels).parameters
    own = [
        p
        for key, p in inspect.signature(read).parameters.items()
        if key not in ("root", "report", "videos")
    ]
    shared = [common[key] for key in ("name", "root", "classes", "videos")]
    register: Callable[..., None] = partial(register_labels, format=name)
    register.__signature__ = inspect.Signature([*shared, *own])  # type: ignore[attr-defined]
    dataset_format(name)(register)


for _name, _reader in LABEL_FORMATS.items():
    _register_format(_name, _reader)
