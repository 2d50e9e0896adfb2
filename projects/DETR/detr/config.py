"""Config keys of DETR."""

from detectron2.config import CfgNode as CN

from d2video.config import register_config, register_least, register_removed
from d2video.config.set_prediction import (
    LEAST_MASK_VALUES,
    LEAST_VALUES,
    add_deformable_encoder_keys,
    add_loss_keys,
    add_mask_keys,
    add_query_keys,
    add_transformer_keys,
)

register_removed(
    {
        "MODEL.DETR.AUX_LOSS": True,
        "MODEL.DETR.PANOPTIC.MIN_AREA": 4,
    }
)
register_least("MODEL.DETR", LEAST_VALUES | LEAST_MASK_VALUES | {"COST_GIOU": 0})
_LINKING = ("NEW_SCORE", "LOW_SCORE", "CLASS_WEIGHT", "BOX_WEIGHT", "DUPLICATE", "PATIENCE")
register_least("MODEL.DETR.LINKING", dict.fromkeys(_LINKING, 0))


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
    add_deformable_encoder_keys(cfg.MODEL.DETR)
    # Positions of the tokens: "sine" (the published models), "learned" (the official code's other
    # choice, for feature maps up to 50x50) or "none".
    cfg.MODEL.DETR.POSITIONS = "sine"
    # Where they enter: "attention" of encoder and decoder (official), that of the "decoder" only, or
    # once, at the encoder's "input".
    cfg.MODEL.DETR.POSITIONS_AT = "attention"
    # Where the learned queries enter: all "attention" of the decoder (official), or once, at its "input".
    cfg.MODEL.DETR.QUERIES_AT = "attention"

    add_query_keys(cfg.MODEL.DETR)
    add_mask_keys(cfg.MODEL.DETR)
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

    # Follow objects through videos by matching the queries of neighbouring frames: answers to videos
    # have track ids, and tracking datasets can be evaluated. Single images are answered as before.
    cfg.MODEL.DETR.LINK = False
    # How, see linking.py. Scores, 0 to 1: of a query that starts a track, and of one that goes on with it.
    cfg.MODEL.DETR.LINKING = CN()
    cfg.MODEL.DETR.LINKING.NEW_SCORE = 0.8
    cfg.MODEL.DETR.LINKING.LOW_SCORE = 0.4
    # Similarity is the cosine of the embeddings plus, each times its weight, the agreement of the
    # classes (0 to 1) and the GIoU of the boxes (-1 to 1). Less of it than LEAST_SIMILARITY links nothing.
    cfg.MODEL.DETR.LINKING.CLASS_WEIGHT = 0.5
    cfg.MODEL.DETR.LINKING.BOX_WEIGHT = 0.3
    cfg.MODEL.DETR.LINKING.LEAST_SIMILARITY = 0.75
    # Two queries show one object if the mean of their boxes' IoU and of their embeddings' cosine is
    # higher; half of it keeps a query from starting a track beside another. 1: all are kept.
    cfg.MODEL.DETR.LINKING.DUPLICATE = 0.6
    # For so many frames a track that is not seen can be found again.
    cfg.MODEL.DETR.LINKING.PATIENCE = 30
