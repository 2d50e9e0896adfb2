"""Config keys of DETR."""

from detectron2.config import CfgNode as CN

from d2video.config import register_config, register_least, register_removed
from d2video.config.set_prediction import LEAST_VALUES, add_loss_keys, add_transformer_keys

register_removed(
    {
        "MODEL.DETR.AUX_LOSS": True,
        "MODEL.DETR.PANOPTIC.MIN_AREA": 4,
    }
)
register_least("MODEL.DETR", LEAST_VALUES | {"COST_GIOU": 0})


@register_config
def add_detr_config(cfg: CN) -> None:
    """Add ``MODEL.DETR``; the defaults are the official ones for R50 on COCO."""
    cfg.MODEL.DETR = CN()
    # Class logits of the model, without "no object".
    cfg.MODEL.DETR.NUM_CLASSES = 80
    # Which logit each contiguous class of the data has; empty: class c has logit c. The official
    # models have a logit for every COCO id, the unused ones included: their configs list the ids.
    cfg.MODEL.DETR.CLASS_LOGITS = []
    cfg.MODEL.DETR.NUM_QUERIES = 100
    add_transformer_keys(cfg.MODEL.DETR)
    # Positions of the encoder: "sine" (the published models) or "learned" (the official code's other
    # choice, for feature maps up to 50x50).
    cfg.MODEL.DETR.POSITIONS = "sine"

    # Add the positions to the memory where the mask attention looks for a query's object (official:
    # False). Without a pretrained start masks of neighbouring objects separate far earlier.
    cfg.MODEL.DETR.MASK_POSITIONS = False
    # Train only the mask head (MODEL.MASK_ON), on a detector that stays as it is.
    cfg.MODEL.DETR.FREEZE_DETECTOR = False

    add_loss_keys(cfg.MODEL.DETR)
    # Factor of the GIoU in the matching cost.
    cfg.MODEL.DETR.COST_GIOU = 2.0

    # Detections with a lower score, 0 to 1, are dropped before their masks are computed (official: 0).
    cfg.MODEL.DETR.SCORE_THRESH_TEST = 0.0

    # Panoptic output, of a model with masks: classes 0 … NUM_THINGS - 1 of the data are things, the
    # rest stuff.
    cfg.MODEL.DETR.PANOPTIC = CN()
    cfg.MODEL.DETR.PANOPTIC.ENABLED = False
    cfg.MODEL.DETR.PANOPTIC.NUM_THINGS = 80
    cfg.MODEL.DETR.PANOPTIC.SCORE_THRESH = 0.85
    # Keep a defect of the official code (see panoptic.py): masks of the padded canvas are squeezed
    # into the image.
    cfg.MODEL.DETR.PANOPTIC.OFFICIAL_RESIZE = False
    # Keep another: merged stuff loses pixels to other classes.
    cfg.MODEL.DETR.PANOPTIC.OFFICIAL_MERGE = False
