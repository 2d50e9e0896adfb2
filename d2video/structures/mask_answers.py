"""Masks in models' answers: anything else than the agreed forms is named, with what is expected."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from d2video.utils.errors import UserError

_RLE = 'a compressed COCO RLE, {"size": [H, W], "counts": bytes}'


def check_dense(masks: Any, axes: str, where: str, other: str = "") -> None:
    """Check a tensor of masks.

    Args:
        masks: what a model answered with.
        axes: the names of its dimensions, such as "NHW".
        where: the place, for the message: "the model's answer to video 3, pred_masks".
        other: what else is allowed there, for the message.

    Raises:
        UserError: it is not a bool tensor with as many dimensions.
    """
    if isinstance(masks, Tensor) and masks.dtype == torch.bool and masks.ndim == len(axes):
        return
    expected = f"a bool tensor ({', '.join(axes)})" + (other and f" or {other}")
    raise UserError(f"{where}: {describe_value(masks)}; expected {expected}")


def check_rle(mask: Any, where: str, other: str = "") -> None:
    """Check the form of one compressed COCO RLE; see :func:`check_dense`.

    Raises:
        UserError: it is not one.
    """
    if isinstance(mask, dict) and "size" in mask and isinstance(mask.get("counts"), str | bytes):
        return
    raise UserError(
        f"{where}: {describe_value(mask)}; expected {_RLE}" + (other and f", or {other}")
    )


def check_panoptic(answer: Any, where: str) -> None:
    """Check the form of a panoptic map and its segments; see :func:`check_dense`.

    Raises:
        UserError: it is not an integer tensor (H, W) and a list of dicts.
    """
    is_pair = isinstance(answer, list | tuple) and len(answer) == 2
    ids, segments = answer if is_pair else (None, None)
    is_map = isinstance(ids, Tensor) and ids.ndim == 2 and not ids.is_floating_point()
    is_list = isinstance(segments, list | tuple) and all(isinstance(s, dict) for s in segments)
    if not (is_map and is_list):
        raise UserError(
            f"{where}, panoptic_seg: {describe_value(answer)}; expected an int tensor (H, W) of segment "
            "ids and a list of one dict a segment"
        )


def describe_value(value: Any) -> str:
    """What a value is, in a few words: "a list of 1 (a bool tensor (4, 6))"."""
    if isinstance(value, Tensor | np.ndarray):
        kind = "tensor" if isinstance(value, Tensor) else "array"
        return f"a {str(value.dtype).removeprefix('torch.')} {kind} {tuple(value.shape)}"
    if isinstance(value, list | tuple):
        inner = ", ".join(describe_value(each) for each in value[:2])
        more = ", ..." if len(value) > 2 else ""
        return f"a {type(value).__name__} of {len(value)}" + (f" ({inner}{more})" if value else "")
    if isinstance(value, dict) and {"size", "counts"} <= value.keys():
        return f"an RLE whose counts are {describe_value(value['counts'])}"
    if isinstance(value, dict):
        return f"a dict with {', '.join(map(str, value)) or 'nothing'}"
    return "None" if value is None else f"a value of type {type(value).__name__}"
