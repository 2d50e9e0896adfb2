"""Checks of a system's config that no layer makes.

``name`` is always the full name of the system's node, such as "MODEL.DETR", for the messages.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from detectron2.config import CfgNode

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
    if len(wanted) < least or not all(name in features for name in wanted):
        raise UserError(
            f"{name}.{key} is {wanted}: name {least} or more outputs of the backbone, which "
            f"are {', '.join(features)} (OUT_FEATURES of MODEL.RESNETS or MODEL.TIMM)"
        )


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
