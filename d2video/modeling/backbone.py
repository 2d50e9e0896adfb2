"""detectron2 backbones as frame encoders."""

from typing import Any

from detectron2.config import CfgNode
from detectron2.modeling import Backbone, build_backbone
from torch import nn


def build_frame_backbone(cfg: CfgNode) -> Backbone:
    """Build cfg.MODEL.BACKBONE.NAME and, for a dilated res5 (DC5), undo one detail of detectron2.

    torchvision's ``replace_stride_with_dilation``, on which the official DC5 models rest, keeps the
    first block of the stage undilated; detectron2 dilates all blocks, which changes the output.
    """
    backbone = build_backbone(cfg)
    if "resnet" in cfg.MODEL.BACKBONE.NAME and cfg.MODEL.RESNETS.RES5_DILATION > 1:
        undilate_first_block(backbone.res5)
    return backbone


def undilate_first_block(stage: nn.Sequential) -> None:
    """Set dilation and padding of the first block's 3×3 convolution to 1, in place."""
    conv: Any = stage[0].conv2
    conv.dilation = conv.padding = (1, 1)
