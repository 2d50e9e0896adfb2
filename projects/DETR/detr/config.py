"""Config keys of DETR."""

from detectron2.config import CfgNode as CN

from d2video.config import register_config


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
    # Backbone features, fine to coarse: the last one feeds the transformer, the others the masks.
    cfg.MODEL.DETR.IN_FEATURES = ["res2", "res3", "res4", "res5"]

    cfg.MODEL.DETR.HIDDEN_DIM = 256  # divisible by 4 and by NUM_HEADS
    # The mask head's steps have 1/2, 1/4, … of this many channels; 0: HIDDEN_DIM, as the official.
    cfg.MODEL.DETR.MASK_DIM = 0
    cfg.MODEL.DETR.NUM_HEADS = 8
    cfg.MODEL.DETR.ENC_LAYERS = 6
    cfg.MODEL.DETR.DEC_LAYERS = 6
    cfg.MODEL.DETR.DIM_FEEDFORWARD = 2048
    cfg.MODEL.DETR.DROPOUT = 0.1
    cfg.MODEL.DETR.PRE_NORM = False
    # "sine" or "learned" (feature maps up to 50x50).
    cfg.MODEL.DETR.POSITIONS = "sine"
    cfg.MODEL.DETR.POSITION_TEMPERATURE = 10000.0

    # Train the mask head (MODEL.MASK_ON) alone, on a detector that stays as it is.
    cfg.MODEL.DETR.FREEZE_DETECTOR = False

    # Losses on the outputs of all decoder layers, not of the last one alone.
    cfg.MODEL.DETR.AUX_LOSS = True
    cfg.MODEL.DETR.NO_OBJECT_WEIGHT = 0.1
    cfg.MODEL.DETR.CLASS_WEIGHT = 1.0
    cfg.MODEL.DETR.L1_WEIGHT = 5.0
    cfg.MODEL.DETR.GIOU_WEIGHT = 2.0
    cfg.MODEL.DETR.MASK_WEIGHT = 1.0
    cfg.MODEL.DETR.DICE_WEIGHT = 1.0
    cfg.MODEL.DETR.COST_CLASS = 1.0
    cfg.MODEL.DETR.COST_L1 = 5.0
    cfg.MODEL.DETR.COST_GIOU = 2.0

    # Detections with a lower score are dropped, before their masks are computed (official: 0).
    cfg.MODEL.DETR.SCORE_THRESH_TEST = 0.0

    # Panoptic output, of a model with masks: classes 0 … NUM_THINGS - 1 of the data are things, the
    # rest stuff.
    cfg.MODEL.DETR.PANOPTIC = CN()
    cfg.MODEL.DETR.PANOPTIC.ENABLED = False
    cfg.MODEL.DETR.PANOPTIC.NUM_THINGS = 80
    cfg.MODEL.DETR.PANOPTIC.SCORE_THRESH = 0.85
    # Segments of at most this many pixels are dropped.
    cfg.MODEL.DETR.PANOPTIC.MIN_AREA = 4
    # Two behaviours of the official code, off by default: masks of the padded canvas are squeezed
    # into the image …
    cfg.MODEL.DETR.PANOPTIC.OFFICIAL_RESIZE = False
    # … and merged stuff loses pixels to other classes (see panoptic_map).
    cfg.MODEL.DETR.PANOPTIC.OFFICIAL_MERGE = False
