"""detectron2 backbones as frame encoders."""

from typing import Any

from detectron2.config import CfgNode
from detectron2.modeling import BACKBONE_REGISTRY, Backbone, ResNet, build_backbone
from torch import nn

from d2video.modeling import timm_backbone  # noqa: F401  (registers it)
from d2video.utils.errors import UserError
from d2video.utils.registry import lookup


def build_frame_backbone(cfg: CfgNode) -> Backbone:
    """Build cfg.MODEL.BACKBONE.NAME and, for a dilated res5 (DC5), undo one detail of detectron2.

    torchvision's ``replace_stride_with_dilation``, on which the official DC5 models rest, keeps the
    first block of the stage undilated; detectron2 dilates all blocks, which changes the output.

    Raises:
        UserError: the backbone is not registered, or cannot be built from its config keys.
    """
    name = cfg.MODEL.BACKBONE.NAME
    lookup(BACKBONE_REGISTRY, name, "MODEL.BACKBONE.NAME")
    try:
        backbone = build_backbone(cfg)
    except (AssertionError, KeyError, ValueError) as error:  # detectron2's checks of the config
        raise UserError(
            f"{name} cannot be built ({type(error).__name__}: {error}): check the keys under "
            f"MODEL.BACKBONE and MODEL.RESNETS (DEPTH is {cfg.MODEL.RESNETS.DEPTH})"
        ) from error
    resnet: Any = getattr(backbone, "bottom_up", backbone)  # an FPN holds its ResNet there
    dilated = isinstance(resnet, ResNet) and cfg.MODEL.RESNETS.RES5_DILATION > 1
    if dilated and "res5" in resnet.stage_names:
        undilate_first_block(resnet.res5)
    return backbone


def undilate_first_block(stage: nn.Sequential) -> None:
    """Set dilation and padding of the first block's 3×3 convolution to 1, in place."""
    conv: Any = stage[0].conv2
    conv.dilation = conv.padding = (1, 1)
