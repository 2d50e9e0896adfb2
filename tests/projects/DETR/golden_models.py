"""DETR models with the sizes and weights of the golden files."""

from d2video.projects.detr import DETR, DETRNetwork
from torch import Tensor

from d2video.checkpoint.convert import CONVERTER_REGISTRY, from_foreign
from d2video.layers import SinePositionEncoding, Transformer
from d2video.modeling.criterion import SetCriterion
from d2video.modeling.losses import CrossEntropy
from tests.helpers.golden_backbone import golden_backbone


def golden_detr(
    config: dict, weights: dict[str, Tensor], *, dilated: bool = False, **arguments
) -> DETR:
    """The model of a golden file, in eval mode; with masks if the file has them."""
    mask_on = any(name.startswith("mask_head.") for name in weights)
    network = DETRNetwork(
        backbone=golden_backbone(dilated),
        in_features=["res2", "res3", "res4", "res5"],
        transformer=Transformer(
            config["hidden_dim"],
            config["nheads"],
            config["enc_layers"],
            config["dec_layers"],
            config["dim_feedforward"],
            dropout=0.0,
            pre_norm=config["pre_norm"],
        ),
        position_encoding=SinePositionEncoding(config["hidden_dim"], num_axes=2),
        num_queries=config["num_queries"],
        num_classes=config["num_classes"],
        mask_on=mask_on,
    )
    model = DETR(
        network=network,
        criterion=SetCriterion(config["num_classes"], CrossEntropy(config["eos_coef"])),
        pixel_mean=[0.0, 0.0, 0.0],
        pixel_std=[1.0, 1.0, 1.0],
        **arguments,
    )
    fmt = CONVERTER_REGISTRY["DETR"]["detr_segm" if mask_on else "detr"]
    state, _, _ = from_foreign(weights, model.state_dict(), fmt)
    model.load_state_dict(state)
    return model.eval()
