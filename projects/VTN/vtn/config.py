"""Config keys of VTN."""

from detectron2.config import CfgNode as CN

from d2video.config import register_config, register_removed

register_removed(
    {
        "MODEL.VTN.FRAMES_AT_ONCE": 0,
        "MODEL.VTN.VIT.IMAGE_SIZE": 0,
        "MODEL.VTN.VIT.PATCH_SIZE": 0,
        "MODEL.VTN.VIT.EMBED_DIM": 0,
        "MODEL.VTN.VIT.DEPTH": 0,
        "MODEL.VTN.VIT.NUM_HEADS": 0,
    }
)


@register_config
def add_vtn_config(cfg: CN) -> None:
    """Add ``MODEL.VTN``; the defaults are the official ones (VIT_B_VTN.yaml), but for those named."""
    cfg.MODEL.VTN = vtn = CN()
    vtn.NUM_CLASSES = 400

    # ---- temporal encoder (paper, section 3.2) --------------------------------------------------
    # Width of the tokens. Where the backbone's differs, a linear layer projects (the official models
    # have none: the widths are equal).
    vtn.HIDDEN_DIM = 768
    vtn.NUM_LAYERS = 3
    vtn.NUM_HEADS = 12
    vtn.DIM_FEEDFORWARD = 3072
    # Frames that a frame attends to besides itself and the class token, half of them before it. The
    # paper's 32 is this 18, counted in another way (bomri/SlowFast, issue 5).
    vtn.WINDOW = 18
    # Rows of the table of positions, two of them not for frames.
    vtn.MAX_POSITIONS = 288
    # The table: "learned" (official), "sine" (fixed waves), or "none": the order of frames is seen through
    # the window only.
    vtn.POSITIONS = "learned"
    # What becomes of frame numbers beyond the table: "rescale" counts them from the first frame of the
    # clip and, if need be, shrinks them; "modulus" starts again at 0 (official).
    vtn.POSITION_RULE = "rescale"
    # A frame that repeats the one before it, as in videos shorter than the clip, is not attended to.
    # Official: False.
    vtn.MASK_REPEATS = True
    vtn.DROPOUT = 0.1
    # Standard deviation of what training starts from: of the linear layers' weights, and of the
    # tables of positions and token types. Longformer's 0.02 goes with its width of 768; a narrow
    # encoder stays at chance for long with it.
    vtn.INIT_STD = 0.02
    vtn.INIT_STD_EMBEDDINGS = 0.02

    # ---- classification head --------------------------------------------------------------------
    vtn.MLP_DIM = 768
    vtn.HEAD_DROPOUT = 0.5

    # ---- frames ---------------------------------------------------------------------------------
    # Train only the temporal encoder and the head; the backbone behaves as in testing. Needed for
    # training on features extracted beforehand (projects/VTN/tools/extract_features.py).
    vtn.FREEZE_BACKBONE = False

    # ---- training -------------------------------------------------------------------------------
    # Train on each clip and on its reversal, in one batch: of each class, by its number, the class of
    # its videos played backwards, or -1 for none. [1, 0, -1] for "open", "close" and "shake". Folders
    # of videos are numbered in the order of their names. Empty (official): do not.
    vtn.REVERSED_CLASSES = []

    # ---- several views of a video ---------------------------------------------------------------
    # True (official): add up the views' class logits; False: average their probabilities.
    vtn.SUM_LOGITS = False

    # ---- following a video ----------------------------------------------------------------------
    # Frames are resized by INPUT.MIN_SIZE_TEST and their middle is cut out by CROP_SIZE_TEST of
    # INPUT.CLASSIFICATION, as in testing.
    # The answer is renewed every so many frames; the frames between go through the backbone together.
    vtn.STREAM_INTERVAL = 8
    # Use every N-th frame, N 1 or more.
    vtn.STREAM_STRIDE = 1
    # Frame features kept at most, at least 2. Where there would be more, every other one is dropped,
    # and STREAM_STRIDE doubles: the answer remains one for the whole video.
    vtn.STREAM_MAX_FRAMES = 256

    # ---- MODEL.BACKBONE.NAME build_timm_vit_backbone, a ViT with a class token -------------------
    vtn.VIT = CN()
    # Probability, from 0 to below 1, that training skips a residual branch of the last block; it
    # grows linearly from 0 at the first block.
    vtn.VIT.DROP_PATH = 0.0
    # Dropout, from 0 to below 1, after the positions are added and in the projections of all blocks.
    vtn.VIT.DROPOUT = 0.0
