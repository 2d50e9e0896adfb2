"""The model that a config describes."""

import logging

from detectron2.config import CfgNode
from detectron2.modeling import build_model as build_detectron2_model
from torch import nn

from d2video.utils.errors import UserError

logger = logging.getLogger(__name__)

# What detectron2's and torch's layers raise, by the key, for values that cannot be.
_UNFIT = (
    *(AssertionError, AttributeError, IndexError, KeyError, TypeError, ValueError),
    *(ImportError, NotImplementedError, OverflowError, RuntimeError, ZeroDivisionError),
)


def build_model(cfg: CfgNode) -> nn.Module:
    """detectron2's ``build_model``, by MODEL.META_ARCHITECTURE and on MODEL.DEVICE.

    Raises:
        UserError: values of the config that cannot be. Systems name theirs; of what only detectron2 or
            torch refuses, the message has their words, and the traceback is logged for debugging.
    """
    try:
        return build_detectron2_model(cfg)
    except _UNFIT as error:
        logger.debug("building %s", cfg.MODEL.META_ARCHITECTURE, exc_info=True)
        reason = " ".join(str(error).split())
        raise UserError(
            f"no {cfg.MODEL.META_ARCHITECTURE} can be built from this config "
            f"({type(error).__name__}: {reason}): check what it sets under MODEL"
        ) from error
