"""VisTR models with the sizes and weights of the golden files."""

from dataclasses import replace

from d2video.projects.vistr import InstanceSequenceMatcher, VisTR, VisTRNetwork
from torch import Tensor

from d2video.checkpoint.convert import CONVERTER_REGISTRY, from_foreign
from d2video.layers import SinePositionEncoding, Transformer
from d2video.modeling.criterion import BoxLoss, ClassificationLoss, MaskLoss, SetCriterion
from d2video.modeling.losses import CrossEntropy
from tests.helpers.golden_backbone import golden_backbone


def golden_vistr(
    config: dict, weights: dict[str, Tensor], *, mask_on: bool, official: bool = False
) -> VisTR:
    """The model of a golden file, in eval mode.

    Args:
        mask_on: False where the file has no masks; ours are then random.
        official: with the defect of the official matcher; without it the "fixed" golden values.
    """
    network = VisTRNetwork(
        backbone=golden_backbone(),
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
        position_encoding=SinePositionEncoding(config["hidden_dim"], num_axes=3),
        num_frames=config["num_frames"],
        num_slots=config["queries_per_frame"],
        num_classes=config["num_classes"],
    )
    model = VisTR(
        network=network,
        criterion=golden_criterion(config["num_classes"]),
        matcher=InstanceSequenceMatcher(count_absent_frames=True, official_presence=official),
        pixel_mean=[0.0] * 3,
        pixel_std=[1.0] * 3,
        window_overlap=1,
    ).eval()
    if not mask_on:  # a VisTR without masks is saved without the "vistr." prefix
        weights = {f"vistr.{name}": value for name, value in weights.items()}
    fmt = CONVERTER_REGISTRY["VisTR"]["vistr"]
    if not mask_on:
        parts = ("network.bbox_attention.", "network.mask_head.", "network.insmask_head.")
        fmt = replace(fmt, not_in_file=parts)
    state, fresh, unused = from_foreign(weights, model.state_dict(), fmt)
    assert mask_on == (not fresh)
    assert not unused
    model.load_state_dict(state, strict=mask_on)
    return model


def golden_criterion(num_classes: int) -> SetCriterion:
    """The official losses, whose generalised IoU has a small term in the denominator."""
    loss = CrossEntropy()
    losses = [ClassificationLoss(loss), BoxLoss(giou_eps=1e-6), MaskLoss()]
    return SetCriterion(num_classes, loss, losses)
