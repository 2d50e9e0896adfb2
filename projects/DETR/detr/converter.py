"""Names of official DETR checkpoints for the parameters of this DETR."""

import re
from collections.abc import Callable
from functools import partial
from typing import Any

from detectron2.data.datasets.builtin_meta import COCO_CATEGORIES

from d2video.checkpoint.convert import CONVERTER_REGISTRY, CheckpointFormat
from d2video.checkpoint.recognition import (
    MODEL_SIGNATURES,
    MODEL_SIZES,
    OTHER_CLASSES,
    ModelSize,
)
from d2video.checkpoint.torchvision_names import torchvision_resnet_name

# Places in the official mask head of the parts of ours; the last two are VisTR's.
_MASK_HEAD = [
    (r"^mask_head\.convs\.(\d)\.", lambda match: f"mask_head.lay{int(match[1]) + 1}."),
    (r"^mask_head\.norms\.(\d)\.", lambda match: f"mask_head.gn{int(match[1]) + 1}."),
    (r"^mask_head\.adapters\.(\d)\.", lambda match: f"mask_head.adapter{int(match[1]) + 1}."),
    (r"^mask_head\.last_conv\.", lambda match: "mask_head.lay5."),
    (r"^out_conv\.", lambda match: "mask_head.out_lay."),
    (r"^mask_head\.deform_conv\.offset\.", lambda match: "mask_head.conv_offset."),
    (r"^mask_head\.deform_conv\.weight", lambda match: "mask_head.dcn.weight"),
]
_MASK_PARTS = ("bbox_attention", "mask_head", "out_conv", "insmask_head")


def foreign_name(
    name: str,
    detector: str = "",
    masks: str = "",
    backbone: str = "backbone.0.body.",
    resnet_name: Callable[[str], str] = torchvision_resnet_name,
) -> str:
    """The official name of a parameter of a DETR or VisTR.

    Args:
        name: ours.
        detector, masks: prefixes of the detector's and of the mask branch's parameters.
        backbone: prefix of the ResNet's.
        resnet_name: detectron2's name of a ResNet's parameter to the official one.
    """
    name = name.removeprefix("network.").removeprefix("mask_branch.")
    part, _, rest = name.partition(".")
    if part == "backbone":
        return detector + backbone + resnet_name(rest)
    if part == "position_encoding":
        return detector + "backbone.1." + rest
    if part in _MASK_PARTS:
        for pattern, replacement in _MASK_HEAD:
            name = re.sub(pattern, replacement, name)
        return masks + name
    return detector + name


def coco_names(num_rows: int, things: bool = True) -> list[str]:
    """The names of COCO's classes by row of a class head whose rows are category ids."""
    names = {c["id"]: c["name"] for c in COCO_CATEGORIES if c["isthing"] or not things}
    return [names.get(row, "") for row in range(num_rows)]


# By the rows of the class head, "no object" counted. The wrapper numbers the 80 classes without gaps.
_DETECTION = {92: coco_names(92)}
_SEGMENTATION = {**_DETECTION, 251: coco_names(251, things=False)}
_WRAPPER = {81: [*filter(None, coco_names(91)), ""]}

# In the official files with masks (``DETRsegm``).
segmentation_name = partial(foreign_name, detector="detr.")
# In files of the official detectron2 wrapper, whose ResNet has detectron2's own names.
_wrapper_name = partial(foreign_name, backbone="backbone.0.backbone.", resnet_name=str)
_NO_MASKS = ("network.mask_branch.",)

CONVERTER_REGISTRY["DETR"] = {
    # A model with masks can start from a detector: its mask branch is then randomly initialised.
    "detr": CheckpointFormat(
        "official DETR detection", foreign_name, not_in_file=_NO_MASKS, class_names=_DETECTION
    ),
    "detr_segm": CheckpointFormat(
        "official DETR with masks or panoptic", segmentation_name, class_names=_SEGMENTATION
    ),
    "detr_d2": CheckpointFormat(
        "the official detectron2 wrapper, detection",
        partial(_wrapper_name, detector="detr.", masks="detr."),
        not_in_file=_NO_MASKS,
        class_names=_WRAPPER,
    ),
    "detr_d2_segm": CheckpointFormat(
        "the official detectron2 wrapper with masks",
        partial(_wrapper_name, detector="detr.detr.", masks="detr."),
        class_names=_WRAPPER,
    ),
}

MODEL_SIGNATURES["DETR"] = [("network.query_embed.weight", "network.class_embed.weight")]

# The logits and the panoptic map are those of COCO's classes.
OTHER_DETR_CLASSES: tuple[Any, ...] = (
    *("MODEL.DETR.CLASS_LOGITS", [], "MODEL.DETR.PANOPTIC.ENABLED", False),
    *OTHER_CLASSES,
)
MODEL_SIZES["DETR"] = [
    ModelSize("MODEL.DETR.NUM_CLASSES", "network.class_embed.bias", 1, OTHER_DETR_CLASSES),
    ModelSize("MODEL.DETR.NUM_QUERIES", "network.query_embed.weight"),
]
