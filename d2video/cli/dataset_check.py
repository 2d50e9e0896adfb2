"""Check a dataset: its files, and what its readers, the mappers and the evaluators find.

This module has no rules of its own: it runs the loaders, mappers and evaluators of training and evaluation.
"""

import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.modeling import build_model
from torch import nn

from d2video.checkpoint import VideoCheckpointer
from d2video.data.build import build_train_loader, clips_of
from d2video.data.dataset_faults import check_records
from d2video.data.exif_doubts import exif_doubts
from d2video.data.frame_images import each_frame
from d2video.data.loading import load_records
from d2video.data.mappers.build import build_mapper, check_mapper
from d2video.data.model_records import label_use, records_for_testing, records_for_training
from d2video.data.records import Record, is_labelled, object_classes
from d2video.data.training_records import trained_records
from d2video.engine.classes import match_training_classes
from d2video.evaluation import EVALUATOR_REGISTRY, build_evaluator, match_test_sets
from d2video.formats.faults import Doubt, Fault, Finding, Report, not_logged
from d2video.formats.roboflow import origin
from d2video.structures import set_class_names
from d2video.utils.errors import UserError


@dataclass(frozen=True)
class Checked:
    """Findings in a dataset of ``num_records`` records.

    ``origins``: see :func:`check_splits`.
    """

    findings: list[Finding]
    num_records: int
    origins: frozenset[str] = frozenset()


def check_files(
    title: str, read: Callable[[Report], Sequence[Record]], workers: int = 0
) -> Checked:
    """Return the findings in files that are not registered as a dataset.

    Args:
        title: name of the files in messages.
        read: function that returns the records without faults.
        workers: number of processes that read; 0: this process.
    """
    found: list[Finding] = []
    records: Sequence[Record] = ()
    with _as_fault(title, found):
        records = read(found.append)
    found += _object_doubts(records, title)
    found += check_records(records, workers, title)
    found += exif_doubts(records, title)
    return Checked(found, len(records))


def check_registered(
    name: str,
    *,
    train_cfg: CfgNode | None = None,
    test_cfg: CfgNode | None = None,
    workers: int = 0,
) -> Checked:
    """Return the findings in a registered dataset.

    Args:
        name: name of the dataset.
        train_cfg, test_cfg: the config, if it trains or tests on the dataset. Its mappers then process
            every record. Without both, the dataset's evaluator is checked, if it has one.
        workers: number of processes that read; 0: this process.
    """
    found: list[Finding] = []
    records: list[Record] = []
    with _as_fault(name, found):
        records = load_records(name, found.append)
    taken: list[Callable[[Any], Any]] = []
    if train_cfg is None:
        found += _object_doubts(records, name)
    elif records:
        with _as_fault(name, found):
            trained_records(train_cfg, name, records)
        with _as_fault(name, found):
            as_trained = records_for_training(train_cfg, name, records)
            taken.append(_taking(build_mapper(train_cfg, is_train=True), records, as_trained, name))
    is_scored = train_cfg is None or test_cfg is not None
    if records and test_cfg is not None:
        is_scored = False
        with _as_fault(name, found):
            as_tested = records_for_testing(test_cfg, name, records)
            is_scored = True
            taken.append(_taking(build_mapper(test_cfg, is_train=False), records, as_tested, name))
    found += check_records(records, workers, name, taken)
    found += exif_doubts(records, name)
    kind = MetadataCatalog.get(name).get("evaluator_type")
    if is_scored and (test_cfg is not None or kind in EVALUATOR_REGISTRY):
        with _as_fault(name, found), tempfile.TemporaryDirectory() as folder:
            use = None if test_cfg is None else label_use(test_cfg)
            build_evaluator(name, folder, use=use)
    files = [record["file_name"] for record in records if "file_name" in record]
    origins = frozenset(filter(None, map(origin, files)))
    return Checked(found, len(records), origins)


def _taking(
    mapper: Any, records: Sequence[Record], taken: Sequence[Record], name: str
) -> Callable[[Any], Any]:
    """Return a function that passes a record to a mapper, frame by frame if the model takes images.

    Args:
        mapper: the mapper.
        records: records of the dataset.
        taken: the same records, in the form that the model takes.
        name: name of the dataset.

    Raises:
        UserError: if the mapper rejects the records.
    """
    check_mapper(mapper, taken, name)
    by_frame = "length" in records[0] and "length" not in taken[0]
    return partial(each_frame, mapper) if by_frame else mapper


def check_splits(cfg: CfgNode, checked: Mapping[str, Checked]) -> list[Finding]:
    """Return a doubt if a training set and a test set share frames of a video or copies of an image.

    This is known only from Roboflow's image names (:func:`~d2video.formats.roboflow.origin`).

    Args:
        cfg: the config.
        checked: the datasets of the config by name.
    """
    pairs = [(a, b) for a in cfg.DATASETS.TRAIN for b in cfg.DATASETS.TEST if a != b]
    found: list[Finding] = []
    for train, test in pairs:
        common = checked[train].origins & checked[test].origins
        if common:
            found.append(
                Doubt(
                    f"dataset {test}",
                    f"{len(common)} of the {len(checked[test].origins)} videos and images that its images "
                    f"are made of, such as {min(common)}, are in {train}, too, so that the test is easier "
                    "than new videos: split by video",
                )
            )
    return found


def check_classes(cfg: CfgNode, known: Sequence[Finding] = ()) -> list[Finding]:
    """Return what training and evaluation find in the classes of a config's datasets and model together.

    Classes are matched by name. The model is built as in training, with its weights if MODEL.WEIGHTS is an
    existing file.

    Args:
        cfg: the config.
        known: findings in the single datasets, which are not repeated.
    """
    found, model = [*known], nn.Module()
    title = f"dataset {', '.join([*cfg.DATASETS.TRAIN, *cfg.DATASETS.TEST])}"
    cfg = cfg.clone()
    cfg.defrost()
    cfg.MODEL.DEVICE, cfg.MODEL.TIMM.PRETRAINED = "cpu", False
    if not os.path.isfile(cfg.MODEL.WEIGHTS.split("?")[0]):
        cfg.MODEL.WEIGHTS = ""

    def report(finding: Finding) -> None:
        if finding not in found:
            found.append(finding)

    with _as_fault(title, found):
        clips = clips_of(build_train_loader(cfg, report)) if cfg.DATASETS.TRAIN else None
        model = build_model(cfg)
        set_class_names(model, None if clips is None else clips.class_names)
        VideoCheckpointer(model, ignore=cfg.MODEL.WEIGHTS_IGNORE).load(cfg.MODEL.WEIGHTS)
        if clips is not None:
            match_training_classes(cfg, model, clips)
    with _as_fault(title, found):
        match_test_sets(cfg, model, report)
    return found[len(known) :]


def registered_as(path: str, image_root: str | None = None) -> list[str]:
    """Return the names of the registered datasets whose annotation file is ``path``.

    Raises:
        UserError: if their images are in another folder than ``image_root``.
    """
    names = []
    for name in DatasetCatalog:
        metadata = MetadataCatalog.get(name)
        file = metadata.get("panoptic_json") or metadata.get("json_file")
        if file is None or os.path.realpath(file) != os.path.realpath(path):
            continue
        names.append(name)
        root = metadata.get("image_root")
        if image_root and root and os.path.realpath(root) != os.path.realpath(image_root):
            raise UserError(
                f"{path} is registered as {name} with images in {root}, not in {image_root}: leave "
                "--image-root out, or register it with that folder"
            )
    return names


def _object_doubts(records: Sequence[Record], title: str) -> list[Finding]:
    """Return a doubt if there are labels without any object, which training rejects."""
    if not records or not all(map(is_labelled, records)) or any(map(object_classes, records)):
        return []
    text = "no image or video has an annotated object: there is nothing to train on or to find"
    return [Doubt(title, text)]


@contextmanager
def _as_fault(title: str, found: list[Finding]) -> Iterator[None]:
    """Turn a UserError into a fault, unless it repeats an earlier one; do not log findings again."""
    try:
        with not_logged(found):
            yield
    except UserError as error:
        text = str(error)
        if not any(text in str(each) or str(each) in text for each in found):
            found.append(Fault(title, "file", None, text))
