"""Checks of a system's config, and of its training data against it, that no layer makes.

``name`` is always the full name of the system's node, such as "MODEL.DETR", for the messages.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import product, zip_longest

from detectron2.config import CfgNode
from detectron2.data import MetadataCatalog

from d2video.utils.errors import UserError


def check_counts(node: CfgNode, name: str, keys: Iterable[str]) -> None:
    """
    Raises:
        UserError: one of the ``keys`` of the node is below 1.
    """
    for key in keys:
        if node[key] < 1:
            raise UserError(f"{name}.{key} is {node[key]}: set 1 or more")


def check_in_features(
    node: CfgNode, name: str, features: Sequence[str], least: int = 1, key: str = "IN_FEATURES"
) -> None:
    """
    Args:
        features: the names of the backbone's outputs.
        least: how many of them the system needs.

    Raises:
        UserError: the features that ``key`` names are too few, or the backbone lacks one.
    """
    wanted = list(node[key])
    if len(wanted) < least or not set(wanted) <= set(features):
        raise UserError(
            f"{name}.{key} is {wanted}: name {least} or more outputs of the backbone, which "
            f"are {', '.join(features)} (MODEL.RESNETS.OUT_FEATURES)"
        )


def count_classes(dataset: str) -> int:
    """Classes that the annotations of a registered data set name, things and, in a panoptic set,
    stuff; 0 where its metadata do not say so (yet: some sets say it when they are first read)."""
    metadata = MetadataCatalog.get(dataset)
    if metadata.get("evaluator_type") == "coco_panoptic_seg":
        things = metadata.get("thing_dataset_id_to_contiguous_id", {}).values()
        return len({*things, *metadata.get("stuff_dataset_id_to_contiguous_id", {}).values()})
    return len(metadata.get("thing_classes", []))


def check_class_count(datasets: Iterable[str], key: str, value: int, unused: int = 0) -> None:
    """
    Args:
        datasets: names of the training sets.
        key: what gives the model its number of classes, such as "MODEL.DETR.NUM_CLASSES".
        value: that number.
        unused: how many of them stand for no class of the data.

    Raises:
        UserError: the model has fewer classes than a training set (of those that are known).
    """
    for dataset in datasets:
        classes = count_classes(dataset)
        if classes + unused > value:
            raise UserError(
                f"dataset {dataset} has {classes} classes: set {key} to {classes + unused} or "
                f"more, not {value}"
            )


def check_same_classes(train: Iterable[str], test: Iterable[str]) -> None:
    """Else a video of one class is scored as one of another, or the evaluation after the training
    stops.

    Args:
        train, test: names of data sets.

    Raises:
        UserError: a test set has other ``thing_classes`` than a training set, or has them in another
            order (of those that are known).
    """
    names = {name: MetadataCatalog.get(name).get("thing_classes") for name in [*train, *test]}
    for trained, tested in product(train, test):
        if not names[trained] or not names[tested] or names[trained] == names[tested]:
            continue
        pairs = enumerate(zip_longest(names[trained], names[tested]))
        label, (ours, theirs) = next((k, pair) for k, pair in pairs if pair[0] != pair[1])
        raise UserError(
            f"datasets {trained} and {tested} have different classes: label {label} is "
            f"{_quoted(ours)} in the first and {_quoted(theirs)} in the second; register both with "
            "the same class_names"
        )


def _quoted(name: str | None) -> str:
    return "no class" if name is None else f"'{name}'"


@contextmanager
def layer_errors(node: CfgNode, name: str) -> Iterator[None]:
    """While a network is built from the keys of the node: a ``ValueError``, by which layers refuse
    sizes, becomes a ``UserError`` that names the keys."""
    try:
        yield
    except ValueError as error:
        raise UserError(
            f"{error}: check {name}.HIDDEN_DIM ({node.HIDDEN_DIM}), MASK_DIM, NUM_HEADS, DROPOUT "
            "and IN_FEATURES"
        ) from error
