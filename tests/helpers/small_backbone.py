"""A backbone of four convolutions, for exports: their time grows with the nodes of the graph."""

from detectron2.config import CfgNode
from detectron2.layers import ShapeSpec
from detectron2.modeling import BACKBONE_REGISTRY, Backbone
from torch import Tensor, nn

# Stride of the convolution and channels of each output.
_STAGES = {"res2": (4, 8), "res3": (2, 16), "res4": (2, 16), "res5": (2, 32)}
# The outputs are chosen as a ResNet's: by MODEL.RESNETS.OUT_FEATURES.
SMALL_BACKBONE = ["MODEL.BACKBONE.NAME", "build_small_backbone"]


class SmallBackbone(Backbone):
    """The outputs ``res2`` to ``res5`` of a ResNet, with its strides of 4 to 32."""

    def __init__(self, names: list[str]):
        super().__init__()
        self.names = names
        self.stages = nn.ModuleDict()
        channels = 3
        for name, (stride, width) in _STAGES.items():
            self.stages[name] = nn.Conv2d(channels, width, stride + 1, stride, stride // 2)
            channels = width

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        found = {}
        for name, convolution in self.stages.items():
            images = convolution(images).relu()
            found[name] = images
        return {name: found[name] for name in self.names}

    def output_shape(self) -> dict[str, ShapeSpec]:
        strides = {"res2": 4, "res3": 8, "res4": 16, "res5": 32}
        return {name: ShapeSpec(_STAGES[name][1], stride=strides[name]) for name in self.names}


@BACKBONE_REGISTRY.register()
def build_small_backbone(cfg: CfgNode, input_shape: ShapeSpec) -> SmallBackbone:
    return SmallBackbone(cfg.MODEL.RESNETS.OUT_FEATURES)
