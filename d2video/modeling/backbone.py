"""detectron2 backbones as frame encoders."""

from importlib.util import find_spec
from typing import Any

from detectron2.config import CfgNode
from detectron2.modeling import BACKBONE_REGISTRY, Backbone, ResNet, build_backbone
from torch import nn

from d2video.modeling import timm_backbone  # noqa: F401  (registers it)
from d2video.modeling.folded_norm import fold_norms
from d2video.utils.errors import UserError
from d2video.utils.registry import lookup

_DEPTHS = (18, 34, 50, 101, 152)
_STAGES = ("stem", "res2", "res3", "res4", "res5")
_NORMS = ("", "BN", "SyncBN", "FrozenBN", "GN", "nnSyncBN", "naiveSyncBN", "naiveSyncBN_N", "LN")


def build_frame_backbone(cfg: CfgNode) -> Backbone:
    """Build cfg.MODEL.BACKBONE.NAME and, for a dilated res5 (DC5), undo one detail of detectron2.

    torchvision's ``replace_stride_with_dilation``, on which the official DC5 models rest, keeps the
    first block of the stage undilated; detectron2 dilates all blocks, which changes the output.

    Raises:
        UserError: the backbone is not registered, or a key of MODEL.RESNETS has a value that cannot be.
    """
    name = cfg.MODEL.BACKBONE.NAME
    lookup(BACKBONE_REGISTRY, name, "MODEL.BACKBONE.NAME")
    if name in ("build_resnet_backbone", "build_resnet_fpn_backbone"):
        _check_resnet(cfg.MODEL.RESNETS)
    backbone = build_backbone(cfg)
    resnet: Any = getattr(backbone, "bottom_up", backbone)  # an FPN holds its ResNet there
    dilated = isinstance(resnet, ResNet) and cfg.MODEL.RESNETS.RES5_DILATION > 1
    if dilated and "res5" in resnet.stage_names:
        undilate_first_block(resnet.res5)
    fold_norms(backbone)
    return backbone


def _check_resnet(node: CfgNode) -> None:
    """Refuse values at which detectron2's ResNet fails."""
    narrow = node.DEPTH in (18, 34)  # made of basic blocks
    deformable = any(node.DEFORM_ON_PER_STAGE)
    stages = node.OUT_FEATURES
    widths = ("STEM_OUT_CHANNELS", "RES2_OUT_CHANNELS", "WIDTH_PER_GROUP")
    compiled = find_spec("detectron2._C") is not None
    rules: list[tuple[str, bool, str]] = [
        ("DEPTH", node.DEPTH in _DEPTHS, f"use one of {_DEPTHS}"),
        ("NORM", node.NORM in _NORMS, f"use one of {_NORMS}"),
        ("OUT_FEATURES", bool(stages) and set(stages) <= set(_STAGES), f"name some of {_STAGES}"),
        ("NUM_GROUPS", node.NUM_GROUPS >= 1, "set 1 or more"),
        *((key, node[key] >= 1, "set 1 or more") for key in widths),
        *((key, node.NORM != "GN" or node[key] % 32 == 0, "NORM GN needs 32s") for key in widths),
        ("RES5_DILATION", node.RES5_DILATION in (1, 2), "use 1 or 2"),
        ("DEFORM_ON_PER_STAGE", len(node.DEFORM_ON_PER_STAGE) == 4, "give 4 values"),
        ("DEFORM_ON_PER_STAGE", compiled or not deformable, "detectron2 is not compiled here"),
        (
            "RES2_OUT_CHANNELS",
            not narrow or node.RES2_OUT_CHANNELS == 64,
            "DEPTH 18 and 34 need 64",
        ),
        ("RES5_DILATION", not narrow or node.RES5_DILATION == 1, "DEPTH 18 and 34 need 1"),
        ("NUM_GROUPS", not narrow or node.NUM_GROUPS == 1, "DEPTH 18 and 34 need 1"),
        ("DEFORM_ON_PER_STAGE", not (narrow and deformable), "DEPTH 18 and 34 need False"),
    ]
    for key, fits, advice in rules:
        if not fits:
            raise UserError(f"MODEL.RESNETS.{key} is {node[key]}: {advice}")


def undilate_first_block(stage: nn.Sequential) -> None:
    """Set dilation and padding of the first block's 3×3 convolution to 1, in place."""
    conv: Any = stage[0].conv2
    conv.dilation = conv.padding = (1, 1)
