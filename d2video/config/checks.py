"""Checks of a system's config that its layers do not make.

In all functions ``name`` is the full name of the system's node, such as "MODEL.DETR", for messages.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from detectron2.config import CfgNode

from d2video.layers.level_projections import NORM_GROUPS
from d2video.utils.errors import UserError


def check_counts(node: CfgNode, name: str, keys: Iterable[str]) -> None:
    """Check that counts are at least 1.

    Raises:
        UserError: if the value of one of the ``keys`` of the node is below 1.
    """
    for key in keys:
        if node[key] < 1:
            raise UserError(f"{name}.{key} is {node[key]}: set 1 or more")


def check_choice(node: CfgNode, name: str, key: str, choices: Sequence[str]) -> None:
    """Check a key with a fixed set of values.

    Raises:
        UserError: if the value of ``key`` is not one of the ``choices``.
    """
    if node[key] not in choices:
        *others, last = choices
        raise UserError(f"{name}.{key} is '{node[key]}': choose {', '.join(others)} or {last}")


def check_loss_weights(node: CfgNode, name: str, *, masks: bool) -> None:
    """Check that boxes and, with ``masks``, masks have at least one loss.

    Raises:
        UserError: if one of them has none, so that its head would have no gradient.
    """
    pairs = {"boxes": ("L1_WEIGHT", "GIOU_WEIGHT"), "masks": ("MASK_WEIGHT", "DICE_WEIGHT")}
    for what, (first, second) in pairs.items():
        if not node[first] and not node[second] and (masks or what == "boxes"):
            raise UserError(
                f"{name}.{first} and {second} are 0, so that {what} would not be learned: set one "
                "of them above 0"
            )


def check_in_features(
    node: CfgNode, name: str, features: Sequence[str], least: int = 1, key: str = "IN_FEATURES"
) -> None:
    """Check the backbone features that a system uses.

    Args:
        node: node of the system.
        name: full name of the node.
        features: names of the backbone's outputs.
        least: number of outputs that the system needs.
        key: key that lists the features.

    Raises:
        UserError: if ``key`` lists too few features, or one that the backbone does not have.
    """
    wanted = list(node[key])
    if len(wanted) < least or not all(name in features for name in wanted):
        raise UserError(
            f"{name}.{key} is {wanted}: name {least} or more outputs of the backbone, which "
            f"are {', '.join(features)} (OUT_FEATURES of MODEL.RESNETS or MODEL.TIMM)"
        )


def has_deformable_encoder(node: CfgNode) -> bool:
    """Whether the node has :func:`.set_prediction.add_deformable_encoder_keys`, and they are enabled."""
    return "DEFORMABLE_ENCODER" in node and node.DEFORMABLE_ENCODER.ENABLED


def check_levels(
    node: CfgNode, name: str, features: Sequence[str], *, masks: bool, num_frames: int = 1
) -> None:
    """Check the backbone features and, for a deformable encoder, what its layers do not check.

    Args:
        node: node of the system.
        name: full name of the node.
        features: names of the backbone's outputs.
        masks: whether at least one of IN_FEATURES must be left for the masks.
        num_frames: number of frames in a clip.

    Raises:
        UserError: if IN_FEATURES or DEFORMABLE_ENCODER do not fit these or each other.
    """
    if not has_deformable_encoder(node):
        check_in_features(node, name, features, least=1 + masks)
        return
    options = node.DEFORMABLE_ENCODER
    name_of_options = f"{name}.DEFORMABLE_ENCODER"
    counts = ("NUM_FEATURES", "NUM_LEVELS", "POINTS", "NUM_FRAMES")
    check_counts(options, name_of_options, [key for key in counts if key in options])
    check_in_features(node, name, features, least=options.NUM_FEATURES + masks)
    if options.NUM_LEVELS < options.NUM_FEATURES:
        raise UserError(
            f"{name_of_options}.NUM_LEVELS is {options.NUM_LEVELS}: set NUM_FEATURES "
            f"({options.NUM_FEATURES}) or more"
        )
    if options.get("NUM_FRAMES", 1) > num_frames:
        raise UserError(
            f"{name_of_options}.NUM_FRAMES is {options.NUM_FRAMES}: set at most INPUT.CLIP.NUM_FRAMES "
            f"({num_frames})"
        )
    unit = math.lcm(NORM_GROUPS, node.NUM_HEADS)
    if node.HIDDEN_DIM % unit:
        raise UserError(
            f"{name}.HIDDEN_DIM is {node.HIDDEN_DIM}: with a deformable encoder and NUM_HEADS "
            f"{node.NUM_HEADS} it must be a multiple of {unit}"
        )


@contextmanager
def layer_errors(node: CfgNode, name: str) -> Iterator[None]:
    """Turn the ``ValueError`` of a layer that rejects a size into a ``UserError`` that names the keys.

    Use it around code that builds a network from the keys of the node.
    """
    try:
        yield
    except ValueError as error:
        raise UserError(
            f"{error}: check {name}.HIDDEN_DIM ({node.HIDDEN_DIM}), MASK_DIM, NUM_HEADS, DROPOUT "
            "and IN_FEATURES"
        ) from error
