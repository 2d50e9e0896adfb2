"""Names of official DETR checkpoints for the parameters of this DETR."""

import re
from collections.abc import Callable

from d2video.checkpoint.convert import CONVERTER_REGISTRY, CheckpointFormat
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


def _keep(name: str) -> str:
    return name


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


def detection_name(name: str) -> str:
    """In the official detection files, DC5 included."""
    return foreign_name(name)


def segmentation_name(name: str) -> str:
    """In the official files with masks (``DETRsegm``)."""
    return foreign_name(name, detector="detr.")


def wrapper_name(name: str) -> str:
    """In files of the official detectron2 wrapper."""
    return foreign_name(name, "detr.", "detr.", "backbone.0.backbone.", _keep)


def wrapper_segmentation_name(name: str) -> str:
    """In files of the official detectron2 wrapper with masks."""
    return foreign_name(name, "detr.detr.", "detr.", "backbone.0.backbone.", _keep)


_NO_MASKS = ("network.mask_branch.",)

CONVERTER_REGISTRY["DETR"] = {
    # A model with masks can start from a detector: its mask branch starts anew.
    "detr": CheckpointFormat(
        "official DETR detection, DC5 included", detection_name, not_in_file=_NO_MASKS
    ),
    "detr_segm": CheckpointFormat("official DETR with masks or panoptic", segmentation_name),
    "detr_d2": CheckpointFormat(
        "the official detectron2 wrapper, detection", wrapper_name, not_in_file=_NO_MASKS
    ),
    "detr_d2_segm": CheckpointFormat(
        "the official detectron2 wrapper with masks", wrapper_segmentation_name
    ),
}
