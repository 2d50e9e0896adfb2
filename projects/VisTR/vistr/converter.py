"""Names of the official VisTR and DETR checkpoints for the parameters of this VisTR."""

import re

from d2video.checkpoint.convert import CONVERTER_REGISTRY, CheckpointFormat
from d2video.checkpoint.torchvision_names import torchvision_resnet_name

# The place in the official mask head of each part of ours.
_MASK_HEAD = [
    (r"convs\.(\d)\.", lambda match: f"lay{int(match[1]) + 1}."),
    (r"norms\.(\d)\.", lambda match: f"gn{int(match[1]) + 1}."),
    (r"adapters\.(\d)\.", lambda match: f"adapter{int(match[1]) + 1}."),
    (r"deform_conv\.offset\.", lambda match: "conv_offset."),
    (r"deform_conv\.weight", lambda match: "dcn.weight"),
]


def official_name(name: str) -> str:
    """The official VisTR name of a parameter of :class:`VisTR`."""
    name = name.removeprefix("network.")
    part, _, rest = name.partition(".")
    if part == "backbone":
        return "vistr.backbone.0.body." + torchvision_resnet_name(rest)
    if part == "mask_head":
        for pattern, replacement in _MASK_HEAD:
            rest = re.sub("^" + pattern, replacement, rest)
        return "mask_head." + rest
    if part in ("bbox_attention", "insmask_head"):
        return name
    return "vistr." + name


def detr_name(name: str) -> str:
    """The name of the same parameter in the authors' DETR pretraining files (``DETRsegm``)."""
    return re.sub("^vistr\\.", "detr.", official_name(name))


def own_detr_name(name: str) -> str:
    """The name of the same parameter in a DETR trained with this library (projects/DETR)."""
    for part in ("bbox_attention.", "mask_head."):
        name = name.replace(f"network.{part}", f"network.mask_branch.{part}")
    return name


# What VisTR does not take over from a DETR, as in the official training, because DETR has no such
# parameters or other classes and queries.
_NEW_IN_VISTR = (
    "network.class_embed.",
    "network.query_embed.",
    "network.mask_head.deform_conv.",
    "network.insmask_head.",
)
_LEFT_IN_DETR = (
    "network.class_embed.",
    "network.query_embed.",
    "network.mask_branch.mask_head.last_conv.",
    "network.mask_branch.out_conv.",
)

CONVERTER_REGISTRY.add(
    "VisTR",
    {
        "vistr": CheckpointFormat(
            "official VisTR (training or released files)",
            name_of=official_name,
        ),
        "detr": CheckpointFormat(
            "DETRsegm of width 384, the authors' COCO pretraining for VisTR",
            name_of=detr_name,
            not_in_file=_NEW_IN_VISTR,
            not_in_model=(
                "detr.class_embed.",
                "detr.query_embed.",
                "mask_head.lay5.",
                "mask_head.out_lay.",
            ),
        ),
        "own_detr": CheckpointFormat(
            "a DETR with masks of this library, of VisTR's width",
            name_of=own_detr_name,
            not_in_file=_NEW_IN_VISTR,
            not_in_model=_LEFT_IN_DETR,
        ),
        "own_detr_boxes": CheckpointFormat(
            "a DETR without masks of this library, of VisTR's width",
            name_of=own_detr_name,
            not_in_file=(*_NEW_IN_VISTR, "network.mask_head.", "network.bbox_attention."),
            not_in_model=_LEFT_IN_DETR,
        ),
    },
)
