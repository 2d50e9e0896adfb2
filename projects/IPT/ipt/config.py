"""Config keys of IPT."""

from detectron2.config import CfgNode as CN

from d2video.config import register_config


@register_config
def add_ipt_config(cfg: CN) -> None:
    """Add ``MODEL.IPT``; the defaults are the official ones (option.py), but for those named.

    The mean of the pixels is MODEL.PIXEL_MEAN (MODEL.PIXEL_STD is 1 in the official models).
    """
    cfg.MODEL.IPT = ipt = CN()
    # The tasks, each with head, tail and query: names sr_x<scale>, denoise_<sigma>, derain, or one's
    # own, then as ["name", {"scale": 1}]. In checkpoints they are found by name, not by place.
    # The order matters to tools/convert_checkpoint.py alone: this one is that of the official
    # pre-trained models.
    ipt.TASKS = ["sr_x2", "sr_x3", "sr_x4", "derain", "denoise_30", "denoise_50"]
    # The task of inputs that name none, as in tools/demo.py; "": the only one there is.
    ipt.TASK = ""

    # ---- network (paper, section 3.1) -----------------------------------------------------------
    # Channels of the convolutional heads and tails.
    ipt.NUM_FEATURES = 64
    # Side of the square patches that the model sees, in pixels of the input.
    ipt.PATCH_SIZE = 48
    # Side of the squares of a patch that become a token.
    ipt.TOKEN_SIZE = 3
    # Of the encoder and of the decoder each.
    ipt.NUM_LAYERS = 12
    ipt.NUM_HEADS = 12
    # Hidden width of the feed-forward blocks over that of the tokens.
    ipt.FEEDFORWARD_RATIO = 4
    ipt.DROPOUT = 0.0

    # ---- training -------------------------------------------------------------------------------
    # Weight of the contrastive loss beside L1 (paper, section 3.2: 0.1); 0: off.
    ipt.CONTRASTIVE_WEIGHT = 0.1
    # "paper", or "supcon", which the official MindSpore code has.
    ipt.CONTRASTIVE_FORM = "paper"
    # By which cosines are divided. "supcon" is used with 0.07.
    ipt.CONTRASTIVE_TEMPERATURE = 1.0
    # Similarities that exist at one time, at most.
    ipt.CONTRASTIVE_MAX_ELEMENTS = 2**24
    # Train heads, tails and queries alone.
    ipt.FREEZE_TRUNK = False

    # ---- whole images ---------------------------------------------------------------------------
    # Patches are blended by a smooth window at a wide stride ("fast"), or as in the official code
    # ("official"): stride a quarter of a patch.
    ipt.TILING = "fast"
    # "official" with its unblended top left corner.
    ipt.OFFICIAL_CORNER = False
    # Patches that go through the model at once; 0: as many as fit into the memory that
    # d2video/modeling/chunking.py allows. The answer is the same.
    ipt.PATCHES_AT_ONCE = 0
    # The mean over the eight flips and quarter turns of the image: eight times the work.
    ipt.SELF_ENSEMBLE = False
