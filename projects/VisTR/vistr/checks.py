"""Checks of MODEL.VISTR that no layer makes."""

from detectron2.config import CfgNode

from d2video.config.checks import check_choice, check_counts, check_levels, check_loss_weights
from d2video.utils.errors import UserError

_NAME = "MODEL.VISTR"


def check_config(cfg: CfgNode, features: list[str]) -> None:
    """Raise ``UserError`` for what no layer checks; ``features`` are the backbone's outputs."""
    vistr = cfg.MODEL.VISTR
    check_counts(cfg.INPUT.CLIP, "INPUT.CLIP", ["NUM_FRAMES"])
    check_counts(
        vistr, _NAME, ("NUM_CLASSES", "NUM_SLOTS", "HIDDEN_DIM", "NUM_HEADS", "DEC_LAYERS")
    )
    check_loss_weights(vistr, _NAME, masks=True)
    check_choice(vistr, _NAME, "POSITIONS", ("sine_3d", "sine_2d", "none"))
    check_choice(vistr, _NAME, "QUERY_LEVEL", ("prediction", "instance", "frame", "video"))
    check_choice(vistr, _NAME, "MATCHING", ("sequence", "frame"))
    if vistr.LABEL_OFFSET >= vistr.NUM_CLASSES:
        raise UserError(
            f"{_NAME}.LABEL_OFFSET is {vistr.LABEL_OFFSET}: set less than NUM_CLASSES "
            f"({vistr.NUM_CLASSES})"
        )
    _check_switches(vistr)
    num_frames = cfg.INPUT.CLIP.NUM_FRAMES
    check_levels(vistr, _NAME, features, masks=True, num_frames=num_frames)


def _check_switches(vistr: CfgNode) -> None:
    """Raise ``UserError`` for a switch that another one leaves without effect."""
    if vistr.POSITIONS == "none" and vistr.MASK_POSITIONS:
        raise UserError(f"{_NAME}.POSITIONS is 'none': set MASK_POSITIONS False")
    if not vistr.MASK_ATTENTION and (vistr.MASK_POSITIONS or vistr.QUERY_MASKS):
        raise UserError(
            f"{_NAME}.MASK_ATTENTION is False: set MASK_POSITIONS and QUERY_MASKS False, which are "
            "parts of it"
        )
    if vistr.MATCHING == "frame" and (vistr.COST_ABSENT_FRAMES or vistr.OFFICIAL_PRESENCE):
        raise UserError(
            f"{_NAME}.MATCHING is 'frame': set COST_ABSENT_FRAMES and OFFICIAL_PRESENCE False, which are "
            "for sequences"
        )
