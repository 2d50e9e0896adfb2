"""Checks of MODEL.DETR that no layer makes."""

from detectron2.config import CfgNode

from d2video.config.checks import check_choice, check_counts, check_levels, check_loss_weights
from d2video.utils.errors import UserError


def check_config(cfg: CfgNode, features: list[str]) -> None:
    """Raise ``UserError`` for what no layer checks; ``features`` are the backbone's outputs."""
    detr = cfg.MODEL.DETR
    counts = ("NUM_CLASSES", "NUM_QUERIES", "HIDDEN_DIM", "NUM_HEADS", "DEC_LAYERS")
    check_counts(detr, "MODEL.DETR", (*counts, "QUERY_GROUPS"))
    check_loss_weights(detr, "MODEL.DETR", masks=cfg.MODEL.MASK_ON)
    _check_positions(detr)
    if detr.LOOK_FORWARD_TWICE and not detr.ANCHOR_QUERIES:
        raise UserError(
            "MODEL.DETR.LOOK_FORWARD_TWICE is for boxes that layers correct: set ANCHOR_QUERIES True"
        )
    check_levels(detr, "MODEL.DETR", features, masks=cfg.MODEL.MASK_ON)
    logits = list(detr.CLASS_LOGITS)
    if any(i not in range(detr.NUM_CLASSES) for i in logits) or len(set(logits)) < len(logits):
        raise UserError(
            "MODEL.DETR.CLASS_LOGITS must name different logits from 0 to NUM_CLASSES - 1 "
            f"({detr.NUM_CLASSES - 1}), one a class of the data"
        )


def _check_positions(detr: CfgNode) -> None:
    """Where positions come from and enter; see :func:`check_config`."""
    check_choice(detr, "MODEL.DETR", "POSITIONS", ("sine", "learned", "none"))
    check_choice(detr, "MODEL.DETR", "POSITIONS_AT", ("attention", "input", "decoder"))
    check_choice(detr, "MODEL.DETR", "QUERIES_AT", ("attention", "input"))
    if detr.POSITIONS == "none" and (detr.POSITIONS_AT != "attention" or detr.MASK_POSITIONS):
        raise UserError(
            "MODEL.DETR.POSITIONS is 'none': leave POSITIONS_AT 'attention' and MASK_POSITIONS False"
        )
    if detr.DEFORMABLE_ENCODER.ENABLED and detr.POSITIONS_AT != "attention":
        raise UserError(
            f"MODEL.DETR.POSITIONS_AT is '{detr.POSITIONS_AT}': with DEFORMABLE_ENCODER set attention"
        )
    if detr.ANCHOR_QUERIES and (detr.POSITIONS, detr.QUERIES_AT) != ("sine", "attention"):
        raise UserError(
            "MODEL.DETR.ANCHOR_QUERIES needs sine positions: set POSITIONS sine and QUERIES_AT attention"
        )
