"""The verdict on a data set: what its readers, the mappers and the evaluators find, and all its files.

Nothing is judged here: loaders, mappers and evaluators are those that training and evaluation run.
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
    """What was found in a data set of ``num_records`` records.

    ``origins``: see :func:`check_splits`.
    """

    findings: list[Finding]
    num_records: int
    origins: frozenset[str] = frozenset()


def check_files(
    title: str, read: Callable[[Report], Sequence[Record]], workers: int = 0
) -> Checked:
    """The findings of files that are not registered.

    Args:
        title: what messages call them.
        read: gives the records of what is sound.
        workers: processes that read; 0: this one.
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
    """The findings of a registered data set.

    Args:
        name: of the data set.
        train_cfg, test_cfg: the config, where it trains or tests on it: then its mappers take every
            record, too. With neither, the evaluator of the data set is asked, if it has one.
        workers: processes that read; 0: this one.
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
    """A function that passes a record to a mapper: frame by frame, if the model takes images.

    Args:
        records: of the data set.
        taken: the same as the model takes them.

    Raises:
        UserError: it refuses them.
    """
    check_mapper(mapper, taken, name)
    by_frame = "length" in records[0] and "length" not in taken[0]
    return partial(each_frame, mapper) if by_frame else mapper


def check_splits(cfg: CfgNode, checked: Mapping[str, Checked]) -> list[Finding]:
    """A doubt where a training set and a test set have frames of one video, or copies of one image.

    Only Roboflow's names of images say so (:func:`~d2video.formats.roboflow.origin`).

    Args:
        checked: the data sets of the config by name.
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
    """What training and evaluation find in all data sets of a config together, and in its model: classes
    that go by name. It is built as training builds it, with the weights if MODEL.WEIGHTS is a file
    that is there.

    Args:
        known: findings of the single data sets, which are not repeated.
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
    """The registered data sets whose annotation file this is.

    Raises:
        UserError: their images are in another folder than ``image_root``.
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
    """A doubt where there are labels and no object in any of them, which training refuses."""
    if not records or not all(map(is_labelled, records)) or any(map(object_classes, records)):
        return []
    text = "no image or video has an annotated object: there is nothing to train on or to find"
    return [Doubt(title, text)]


@contextmanager
def _as_fault(title: str, found: list[Finding]) -> Iterator[None]:
    """Make a fault of a UserError, unless it repeats one that was found before; what was found is not logged
    again."""
    try:
        with not_logged(found):
            yield
    except UserError as error:
        text = str(error)
        if not any(text in str(each) or str(each) in text for each in found):
            found.append(Fault(title, "file", None, text))
