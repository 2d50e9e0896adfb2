"""Config keys of IPT and of its data."""

from detectron2.config import CfgNode as CN

from d2video.config import register_config, register_least, register_removed

register_removed(
    {
        "MODEL.IPT.CONTRASTIVE_MAX_ELEMENTS": 2**24,
        "MODEL.IPT.CONTRASTIVE_TEMPERATURE": 1.0,
        "MODEL.IPT.PATCHES_AT_ONCE": 0,
    }
)
register_least("INPUT.RESTORATION", {"TASK_SEED": 0})


@register_config
def add_ipt_config(cfg: CN) -> None:
    """Add ``MODEL.IPT`` and ``INPUT.RESTORATION``.

    The defaults are the official ones (option.py), but where a comment names another. The mean of the
    pixels is MODEL.PIXEL_MEAN (MODEL.PIXEL_STD is 1 in the official models).
    """
    cfg.MODEL.IPT = ipt = CN()
    # The tasks, each with head, tail and query: names sr_x<scale>, denoise_<sigma>, derain, or your
    # own, then as ["name", {"scale": 1}]. In checkpoints they are found by name, not by place.
    # The order matters only to d2video convert: this one is that of the official
    # pre-trained models.
    ipt.TASKS = ["sr_x2", "sr_x3", "sr_x4", "derain", "denoise_30", "denoise_50"]
    # The task of inputs that name none, as in d2video predict; "": the only one there is.
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
    # Probability, from 0 to below 1.
    ipt.DROPOUT = 0.0
    # Predict the difference to the input, enlarged bicubically by the task's scale, in place of the
    # image itself (official: False). Official weights need False.
    ipt.GLOBAL_RESIDUAL = False

    # ---- training -------------------------------------------------------------------------------
    # Between restored and clean patches: "l1" (paper), or "psnr", minus the mean PSNR of the patches.
    ipt.LOSS = "l1"
    # Weight of the contrastive loss beside it (paper, section 3.2: 0.1); 0: off.
    ipt.CONTRASTIVE_WEIGHT = 0.1
    # "paper" (temperature 1), or "supcon" (0.07), which the official MindSpore code has.
    ipt.CONTRASTIVE_FORM = "paper"
    # Train only heads, tails and queries, on a trunk that stays as it is.
    ipt.FREEZE_TRUNK = False

    # ---- whole images ---------------------------------------------------------------------------
    # Patches are blended by a smooth window at a wide stride ("fast"), or as in the official code
    # ("official"): stride a quarter of a patch.
    ipt.TILING = "fast"
    # With TILING official: leave the top left corner unblended, as the official code does.
    ipt.OFFICIAL_CORNER = False
    # Answer with the mean over the eight flips and quarter turns of the image, eight times the work
    # (--self_ensemble of the official code, there off as well).
    ipt.SELF_ENSEMBLE = False

    # ---- data, read by RestorationMapper; the side of a training patch is MODEL.IPT.PATCH_SIZE ----
    cfg.INPUT.RESTORATION = restoration = CN()
    # Names of MODEL.IPT.TASKS to train on; empty: all. One is drawn for every batch.
    restoration.TRAIN_TASKS = []
    # How often each is drawn, relative to the others, in the same order; empty: equally often.
    restoration.TASK_WEIGHTS = []
    # Seed of the draw, 0 or more. It depends only on this and the batch's number: all processes agree.
    restoration.TASK_SEED = 0
    # Flip and turn patches at random (official: for fine-tuning on super-resolution and derain only).
    restoration.FLIP_AND_TURN = False
    # Cut noisy images to 0..255 (official); False: noise stays Gaussian, as in most other papers.
    restoration.CLAMP_NOISE = True
    # Folder of grey images of rain streaks, such as those of RainTrainL; "": they are generated.
    restoration.STREAK_FOLDER = ""
    # Task in testing of images whose dataset names none; "": MODEL.IPT.TASK, or the model's only one.
    restoration.TEST_TASK = ""
    # [[task of a dataset, task of the model], ...]: restore images of a task that the model lacks by
    # another one of the same scale, such as ["denoise_70", "denoise_50"].
    restoration.RESTORE_AS = []
