"""Config keys of IPT's data, read by RestorationMapper."""

from detectron2.config import CfgNode as CN

from d2video.config import register_config


@register_config
def add_ipt_data_config(cfg: CN) -> None:
    """Add ``INPUT.RESTORATION``. The side of a training patch is MODEL.IPT.PATCH_SIZE."""
    cfg.INPUT.RESTORATION = restoration = CN()

    # ---- training -------------------------------------------------------------------------------
    # Names out of MODEL.IPT.TASKS to train on; empty: all. One is drawn for every batch.
    restoration.TRAIN_TASKS = []
    # How often each is drawn, relative to the others, in the same order; empty: equally often.
    restoration.TASK_WEIGHTS = []
    # The draw depends on this number and that of the batch alone, so all processes agree.
    restoration.TASK_SEED = 0
    # Flip and turn patches at random (official: for fine-tuning on super-resolution and derain only).
    restoration.FLIP_AND_TURN = False

    # ---- corruption -----------------------------------------------------------------------------
    # Cut noisy images to 0..255 (official); False: noise stays Gaussian, as in most other papers.
    restoration.CLAMP_NOISE = True
    # Folder of grey images of rain streaks, such as those of RainTrainL; "": they are generated.
    restoration.STREAK_FOLDER = ""

    # ---- testing --------------------------------------------------------------------------------
    # Task of images whose data set tells none; "": MODEL.IPT.TASK, or the only one of the model.
    restoration.TEST_TASK = ""
    # [[task of a data set, task of the model], ...]: by which task images are restored that the model
    # has no task for, such as ["denoise_70", "denoise_50"].
    restoration.RESTORE_AS = []
