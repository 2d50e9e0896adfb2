"""Backbones of timm, by name.

Shapes: B: images, H×W: an image, C: channels of a feature map.
"""

import re
from collections.abc import Sequence
from typing import Any

from detectron2.config import CfgNode
from detectron2.layers import ShapeSpec
from detectron2.modeling import BACKBONE_REGISTRY, Backbone
from torch import Tensor, nn

from d2video.utils.errors import UserError

_NODE = "MODEL.TIMM"


def create_timm_model(cfg: CfgNode, **arguments: Any) -> Any:
    """``timm.create_model`` for the name in MODEL.TIMM.

    Args:
        arguments: further ones of ``timm.create_model``.

    Raises:
        UserError: timm is not installed or has no such model, the arguments do not go together, or
            the weights cannot be fetched.
    """
    builder, node = cfg.MODEL.BACKBONE.NAME, cfg.MODEL.TIMM
    try:
        import timm
    except ImportError as error:
        raise UserError(
            f"MODEL.BACKBONE.NAME {builder} needs the package timm: pip install 'd2video[timm]' "
            "(or timm)"
        ) from error
    if not timm.is_model(node.NAME):
        raise UserError(
            f"{_NODE}.NAME is '{node.NAME}', which timm {timm.__version__} does not have"
        )
    try:
        return timm.create_model(node.NAME, pretrained=node.PRETRAINED, **arguments)
    except OSError as error:  # as huggingface_hub's errors are
        raise UserError(
            f"{_NODE}.PRETRAINED: the weights of {node.NAME} cannot be fetched from the Hugging Face "
            f"Hub ({_first_line(error)}): set it False, or copy the Hub's cache (HF_HOME) from a "
            "machine that reaches it"
        ) from error
    except (AssertionError, RuntimeError, TypeError, ValueError) as error:
        raise UserError(
            f"timm cannot build {node.NAME} for {builder} ({_first_line(error)}): choose another "
            f"{_NODE}.NAME, or check the keys that describe it"
        ) from error


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


class TimmBackbone(Backbone):
    """A timm model that gives the feature maps of its stages, ``stage1`` the finest.

    Args:
        net: made by ``timm.create_model(..., features_only=True)``.
        stages: the numbers of the stages that ``net`` gives, if it was made with ``out_indices``. Empty: all.
        freeze_norm: batch norms keep their statistics, scales and shifts, also in training.
    """

    def __init__(self, net: Any, stages: Sequence[int] = (), freeze_norm: bool = False):
        super().__init__()
        _cut(net)
        if freeze_norm:
            from timm.layers import freeze_batch_norm_2d  # behind the message of a missing package

            net = freeze_batch_norm_2d(net)
        self.net = net
        info = net.feature_info
        stages = stages or range(1, len(info.channels()) + 1)
        self._channels_last = str(getattr(net, "output_fmt", "NCHW")).endswith("NHWC")
        self._shapes = {
            f"stage{number}": ShapeSpec(channels=channels, stride=stride)
            for number, channels, stride in zip(
                stages, info.channels(), info.reduction(), strict=True
            )
        }

    def output_shape(self) -> dict[str, ShapeSpec]:
        return self._shapes

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """
        Args:
            images: (B, 3, H, W), normalised.

        Returns:
            {"stage1": (B, C, H / stride, W / stride), ...}, from fine to coarse, of the stages asked for.
        """
        maps = self.net(images)
        if self._channels_last:
            maps = [x.permute(0, 3, 1, 2).contiguous() for x in maps]
        return dict(zip(self._shapes, maps, strict=True))


def _cut(net: Any) -> None:
    """Take off the blocks after the last feature map: timm's EfficientNets and MobileNets compute all of
    them, whatever ``out_indices`` asks for; its other networks end there by themselves."""
    stages = [each.get("stage") for each in net.feature_info.get_dicts()]
    if isinstance(blocks := getattr(net, "blocks", None), nn.Sequential) and None not in stages:
        net.blocks = blocks[: max(stages)]


def _stage_numbers(names: Sequence[str]) -> list[int]:
    numbers = [int(name[5:]) if re.fullmatch("stage[1-9]", name) else 0 for name in names]
    if 0 in numbers or sorted({*numbers}) != numbers:
        raise UserError(
            f"{_NODE}.OUT_FEATURES is {list(names)}: name stages from fine to coarse, such as "
            "[stage2, stage3]"
        )
    return numbers


@BACKBONE_REGISTRY.register()
def build_timm_backbone(cfg: CfgNode, input_shape: ShapeSpec) -> TimmBackbone:
    """The model that MODEL.TIMM names: any of timm's that has feature maps at several strides.

    Raises:
        UserError: as :func:`create_timm_model`, or the model has no such feature maps.
    """
    node = cfg.MODEL.TIMM
    stages = _stage_numbers(node.OUT_FEATURES)
    chosen = {"out_indices": [number - 1 for number in stages]} if stages else {}
    try:
        net = create_timm_model(cfg, features_only=True, in_chans=input_shape.channels, **chosen)
    except IndexError as error:
        raise UserError(
            f"{_NODE}.OUT_FEATURES is {list(node.OUT_FEATURES)}: {node.NAME} has fewer stages"
        ) from error
    strides = net.feature_info.reduction()
    if sorted(set(strides)) != strides:
        raise UserError(
            f"{_NODE}.NAME is '{node.NAME}', whose feature maps have the strides {strides}: "
            "choose a model of several stages; Vision Transformers go to build_timm_vit_backbone"
        )
    return TimmBackbone(net, stages, node.FREEZE_NORM)
