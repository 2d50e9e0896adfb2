"""Backbones of timm, by name.

Shapes: B: images, H×W: an image, C: channels of a feature map.
"""

from typing import Any

from detectron2.config import CfgNode
from detectron2.layers import ShapeSpec
from detectron2.modeling import BACKBONE_REGISTRY, Backbone
from torch import Tensor

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
    """

    def __init__(self, net: Any):
        super().__init__()
        self.net = net
        info = net.feature_info
        self._channels_last = str(getattr(net, "output_fmt", "NCHW")).endswith("NHWC")
        self._shapes = {
            f"stage{number}": ShapeSpec(channels=channels, stride=stride)
            for number, (channels, stride) in enumerate(
                zip(info.channels(), info.reduction(), strict=True), start=1
            )
        }

    def output_shape(self) -> dict[str, ShapeSpec]:
        return self._shapes

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """
        Args:
            images: (B, 3, H, W), normalised.

        Returns:
            {"stage1": (B, C, H / stride, W / stride), ...}, from fine to coarse.
        """
        maps = self.net(images)
        if self._channels_last:
            maps = [x.permute(0, 3, 1, 2).contiguous() for x in maps]
        return dict(zip(self._shapes, maps, strict=True))


@BACKBONE_REGISTRY.register()
def build_timm_backbone(cfg: CfgNode, input_shape: ShapeSpec) -> TimmBackbone:
    """The model that MODEL.TIMM names: any of timm's that has feature maps at several strides.

    Raises:
        UserError: as :func:`create_timm_model`, or the model has no such feature maps.
    """
    net = create_timm_model(cfg, features_only=True, in_chans=input_shape.channels)
    strides = net.feature_info.reduction()
    if sorted(set(strides)) != strides:
        raise UserError(
            f"{_NODE}.NAME is '{cfg.MODEL.TIMM.NAME}', whose feature maps have the strides {strides}: "
            "choose a model of several stages; Vision Transformers go to build_timm_vit_backbone"
        )
    return TimmBackbone(net)
