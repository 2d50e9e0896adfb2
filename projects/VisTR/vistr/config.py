"""Config keys of VisTR."""

from detectron2.config import CfgNode as CN

from d2video.config import register_config


@register_config
def add_vistr_config(cfg: CN) -> None:
    """Add ``MODEL.VISTR``; the defaults are the official ones."""
    cfg.MODEL.VISTR = CN()
    # Classes of the data set, without "no object".
    cfg.MODEL.VISTR.NUM_CLASSES = 40
    # Class logit of the first class. The official models are trained on the raw YouTube-VIS ids
    # 1..40: their configs set NUM_CLASSES 41 and LABEL_OFFSET 1.
    cfg.MODEL.VISTR.LABEL_OFFSET = 0
    # Instances that a clip can show at most.
    cfg.MODEL.VISTR.NUM_SLOTS = 10
    # Backbone features, fine to coarse: the last one feeds the transformer, the others the masks.
    cfg.MODEL.VISTR.IN_FEATURES = ["res2", "res3", "res4", "res5"]

    cfg.MODEL.VISTR.HIDDEN_DIM = 384  # divisible by 6 and by NUM_HEADS
    # The mask head's steps have 1/2, 1/4, … of this many channels; 0: HIDDEN_DIM, as the official.
    cfg.MODEL.VISTR.MASK_DIM = 0
    cfg.MODEL.VISTR.NUM_HEADS = 8
    # Sine positions: the ratio of the longest to the shortest wave, and how many of the shortest
    # waves fit into the frame (and into the clip). The official values tell neighbouring cells
    # hardly apart, which a pretrained model learns to live with; a short training has no time to.
    cfg.MODEL.VISTR.POSITION_TEMPERATURE = 10000.0
    cfg.MODEL.VISTR.POSITION_WAVES = 1.0
    # Add the positions to the memory where the mask attention looks for a slot's object (official:
    # False). Without a pretrained start masks of neighbouring objects separate far earlier.
    cfg.MODEL.VISTR.MASK_POSITIONS = False
    cfg.MODEL.VISTR.ENC_LAYERS = 6
    cfg.MODEL.VISTR.DEC_LAYERS = 6
    cfg.MODEL.VISTR.DIM_FEEDFORWARD = 2048
    cfg.MODEL.VISTR.DROPOUT = 0.1
    cfg.MODEL.VISTR.PRE_NORM = False

    # Losses on the outputs of all decoder layers, not of the last one alone.
    cfg.MODEL.VISTR.AUX_LOSS = True
    cfg.MODEL.VISTR.NO_OBJECT_WEIGHT = 0.1
    cfg.MODEL.VISTR.CLASS_WEIGHT = 1.0
    cfg.MODEL.VISTR.L1_WEIGHT = 5.0
    cfg.MODEL.VISTR.GIOU_WEIGHT = 2.0
    cfg.MODEL.VISTR.MASK_WEIGHT = 1.0
    cfg.MODEL.VISTR.DICE_WEIGHT = 1.0

    # Factors of the matching cost.
    cfg.MODEL.VISTR.COST_CLASS = 1.0
    cfg.MODEL.VISTR.COST_L1 = 5.0
    cfg.MODEL.VISTR.COST_IOU = 2.0
    # Two behaviours of the official matcher, off by default (see InstanceSequenceMatcher):
    # frames in which an instance is absent count in its cost, as class 0 with a zero box …
    cfg.MODEL.VISTR.COST_ABSENT_FRAMES = False
    # … and the presence of an instance is looked up at the wrong instance.
    cfg.MODEL.VISTR.OFFICIAL_PRESENCE = False

    # Slots whose score is lower are dropped before their masks are computed.
    cfg.MODEL.VISTR.SCORE_THRESH_TEST = 0.001
    # A track has no mask in frames where its best class is less probable (official 0.001).
    cfg.MODEL.VISTR.FRAME_SCORE_THRESH_TEST = 0.001
