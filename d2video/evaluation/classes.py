"""The classes of a model and those of the sets that it is evaluated on, matched by name."""

import logging
from collections.abc import Sequence

from detectron2.config import CfgNode
from torch import nn

from d2video.data.class_matching import ClassMatch, match_classes
from d2video.data.class_names import class_kinds, class_names
from d2video.data.loading import load_records
from d2video.data.record_classes import annotated_classes
from d2video.data.records import is_labelled
from d2video.formats.faults import Fault, Report, refuse
from d2video.structures import ClassHead, class_names_of
from d2video.utils.errors import UserError

logger = logging.getLogger(__name__)

_REMEDY = (
    "call them as the model does, train on them, or score only the classes that both have "
    "(TEST.COMMON_CLASSES_ONLY True)"
)


def match_test_sets(
    cfg: CfgNode, model: nn.Module, report: Report = refuse
) -> list[ClassMatch | None]:
    """Which class of the model is which of each of DATASETS.TEST.

    The model's names are those of :func:`class_names_of`, else those of DATASETS.TRAIN.

    Args:
        report: see :func:`match_classes`.

    Returns:
        :func:`match_test_set` of each; all None if the model predicts no classes or their names are
        unknown, which the log says.

    Raises:
        UserError: see :func:`match_test_set`; or a class is a thing in a test set and stuff in the first
            of DATASETS.TRAIN, or the other way round.
    """
    task = getattr(getattr(model, "module", model), "task", None)
    names = None
    if task is None or task.has_classes:
        names = class_names_of(model) or names_of_training(cfg.DATASETS.TRAIN)
    if names is None:
        return [None] * len(cfg.DATASETS.TEST)
    # A model may have more classes than its data; what it finds of them does not count.
    names = ClassHead.of(getattr(model, "module", model)).of_all(names)
    only = cfg.TEST.COMMON_CLASSES_ONLY
    _compare_kinds(cfg, report)
    return [
        match_test_set(dataset, names, common_only=only, report=report)
        for dataset in cfg.DATASETS.TEST
    ]


def _compare_kinds(cfg: CfgNode, report: Report) -> None:
    """Report classes of panoptic test sets that are things there and stuff in training, or the other way
    round."""
    if not (cfg.DATASETS.TRAIN and cfg.DATASETS.TEST):
        return
    first = cfg.DATASETS.TRAIN[0]
    try:
        trained = class_kinds(first)
    except UserError as error:  # evaluation needs nothing else of it
        logger.warning("Which classes of dataset %s are things is unknown (%s)", first, error)
        return
    for dataset in cfg.DATASETS.TEST if trained else ():
        kinds = class_kinds(dataset)
        for name in (each for each in kinds if kinds[each] != trained.get(each, kinds[each])):
            ours, theirs = ("a thing" if each[name] else "stuff" for each in (trained, kinds))
            text = f"class '{name}' is {theirs} in dataset {dataset} and {ours} in dataset {first}"
            report(Fault(dataset, "file", None, f"{text}: give both the same isthing"))


def names_of_training(train_sets: Sequence[str]) -> list[str] | None:
    """The names of the classes of a model that is trained on these sets: those of the first that has
    names. None if there is none, or if no set can be read, which the log says."""
    if not train_sets:
        return None
    try:
        return class_names(*train_sets)
    except UserError as error:  # evaluation needs nothing else of it
        logger.warning(
            "The names of the model's classes are unknown: they go by number (%s)", error
        )
        return None


def match_test_set(
    dataset: str, names: Sequence[str], *, common_only: bool, report: Report = refuse
) -> ClassMatch | None:
    """Which class of a model is which of a dataset, of which only annotations are read.

    Args:
        names: of the model's classes, by index.
        common_only, report: see :func:`match_classes`.

    Returns:
        None if both have the same classes in the same order, or if those of the dataset have no names,
        which the log says.

    Raises:
        UserError: annotations have classes that the model lacks (unless ``common_only``), or the data
            set has none of the model's classes; or it cannot be read.
    """
    found = class_names(dataset)
    if found is None:
        return None
    match = match_classes(
        names,
        found,
        lambda: annotated_classes(filter(is_labelled, load_records(dataset))),
        model_source="the model",
        data_source=f"dataset {dataset}",
        common_only=common_only,
        remedy=_REMEDY,
        report=report,
    )
    return None if match.is_identity else match
