"""``TEST.PRECISION``: the data type in which networks compute at inference."""

import warnings

import torch
from detectron2.config import CfgNode

from d2video.config.checks import check_choice
from d2video.utils.errors import UserError


def inference_precision(cfg: CfgNode) -> torch.dtype | None:
    """Return the autocast type for TEST.PRECISION; None for float32, which needs no autocast.

    Raises:
        UserError: if the name is unknown, or torch has no autocast for the type on MODEL.DEVICE.
    """
    name, device = cfg.TEST.PRECISION, torch.device(cfg.MODEL.DEVICE).type
    check_choice(cfg.TEST, "TEST", "PRECISION", ("float32", "bfloat16", "float16"))
    if name == "float32":
        return None
    dtype: torch.dtype = getattr(torch, name)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # on some devices torch only warns and stays in float32
        try:
            torch.autocast(device, dtype)
        except (RuntimeError, UserWarning) as error:
            raise UserError(
                f"TEST.PRECISION is {name}, which torch does not have on {device} here: choose another "
                "one, or float32"
            ) from error
    return dtype
