"""The classes of a model and those of the sets that it is evaluated on, matched by name."""

from collections.abc import Sequence

from detectron2.config import CfgNode
from torch import nn

from d2video.data.build import load_records
from d2video.data.class_matching import ClassMatch, match_classes
from d2video.data.class_names import class_names
from d2video.data.record_classes import annotated_classes
from d2video.data.records import is_labelled
from d2video.structures import class_names_of

_REMEDY = (
    "call them as the model does, train on them, or score only the classes that both have "
    "(TEST.COMMON_CLASSES_ONLY True)"
)


def match_test_sets(cfg: CfgNode, model: nn.Module) -> list[ClassMatch | None]:
    """Which class of the model is which of each of DATASETS.TEST.

    The model's names are those of :func:`class_names_of`, else those of the first of DATASETS.TRAIN.
    Of the data sets only annotations are read.

    Returns:
        one for each of DATASETS.TEST; None if both have the same classes in the same order, if the names
        of either are unknown, which the log says, or if the model predicts no classes.

    Raises:
        UserError: a set has annotations of classes that the model lacks (unless
            TEST.COMMON_CLASSES_ONLY), or none of the model's classes.
    """
    names = _names_of_model(model, cfg.DATASETS.TRAIN)
    if names is None:
        return [None] * len(cfg.DATASETS.TEST)
    only = cfg.TEST.COMMON_CLASSES_ONLY
    return [_match(names, dataset, only) for dataset in cfg.DATASETS.TEST]


def _names_of_model(model: nn.Module, train_sets: Sequence[str]) -> list[str] | None:
    task = getattr(getattr(model, "module", model), "task", None)
    if task is not None and not task.has_classes:
        return None
    names = class_names_of(model)
    if names is None and train_sets:
        return class_names(train_sets[0])
    return names


def _match(names: Sequence[str], dataset: str, common_only: bool) -> ClassMatch | None:
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
    )
    return None if match.is_identity else match
