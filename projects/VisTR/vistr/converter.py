"""Names of the official VisTR and DETR checkpoints for the parameters of this VisTR."""

from functools import partial

from d2video.projects.detr.converter import foreign_name, segmentation_name

from d2video.checkpoint.convert import CONVERTER_REGISTRY, CheckpointFormat
from d2video.checkpoint.recognition import (
    MODEL_SIGNATURES,
    MODEL_SIZES,
    OTHER_CLASSES,
    ModelSize,
)
from d2video.data.datasets.ytvis_categories import YTVIS_2019_CLASSES


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

CONVERTER_REGISTRY["VisTR"] = {
    "vistr": CheckpointFormat(
        "official VisTR (training or released files)",
        name_of=partial(foreign_name, detector="vistr."),
        class_names={42: ["", *YTVIS_2019_CLASSES, ""]},  # by category id; the last is "no object"
    ),
    "detr": CheckpointFormat(
        "DETRsegm of width 384, the authors' COCO pretraining for VisTR",
        name_of=segmentation_name,
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
}

MODEL_SIGNATURES["VisTR"] = [
    ("network.query_embed.weight", "network.class_embed.weight", "network.insmask_head.0.weight")
]
MODEL_SIZES["VisTR"] = [
    ModelSize("MODEL.VISTR.NUM_CLASSES", "network.class_embed.bias", 1, OTHER_CLASSES),
]
