"""The backbone of the VisTR and DETR golden models."""

from detectron2.modeling.backbone.resnet import BasicStem, BottleneckBlock, ResNet

from d2video.modeling.backbone import undilate_first_block

# blocks, stride, input, bottleneck and output channels of torchvision's resnet50(width_per_group=4).
STAGES = [
    (3, 1, 64, 4, 256),
    (4, 2, 256, 8, 512),
    (6, 2, 512, 16, 1024),
    (3, 2, 1024, 32, 2048),
]


def golden_backbone(dilated: bool = False) -> ResNet:
    """
    Args:
        dilated: torchvision's DC5: the last stage keeps its stride 1 and is dilated.
    """
    stages = [
        ResNet.make_stage(
            BottleneckBlock,
            blocks,
            stride_per_block=[1 if dilated and index == 3 else stride] + [1] * (blocks - 1),
            in_channels=inputs,
            bottleneck_channels=bottleneck,
            out_channels=outputs,
            stride_in_1x1=False,
            norm="FrozenBN",
            dilation=2 if dilated and index == 3 else 1,
        )
        for index, (blocks, stride, inputs, bottleneck, outputs) in enumerate(STAGES)
    ]
    if dilated:
        undilate_first_block(stages[-1])
    stem = BasicStem(3, 64, norm="FrozenBN")
    return ResNet(stem, stages, out_features=["res2", "res3", "res4", "res5"]).freeze(2)
