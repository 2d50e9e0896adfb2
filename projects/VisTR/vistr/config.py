"""Config keys of VisTR."""

from detectron2.config import CfgNode as CN

from d2video.config import ABOVE_0, register_config, register_least, register_removed
from d2video.config.set_prediction import (
    LEAST_MASK_VALUES,
    LEAST_VALUES,
    add_deformable_encoder_keys,
    add_loss_keys,
    add_mask_keys,
    add_transformer_keys,
)

register_removed(
    {
        "MODEL.VISTR.AUX_LOSS": True,
    }
)
register_least(
    "MODEL.VISTR",
    LEAST_VALUES
    | LEAST_MASK_VALUES
    | {"COST_IOU": 0, "LABEL_OFFSET": 0, "POSITION_WAVES": ABOVE_0, "CONV3D_LAYERS": 0},
)


@register_config
def add_vistr_config(cfg: CN) -> None:
    """Add ``MODEL.VISTR``; the defaults are the official ones."""
    cfg.MODEL.VISTR = CN()
    # Classes of the dataset, without "no object".
    cfg.MODEL.VISTR.NUM_CLASSES = 40
    # Class logit of the first class. The official models are trained on the raw YouTube-VIS ids
    # 1..40: their configs set NUM_CLASSES 41 and LABEL_OFFSET 1.
    cfg.MODEL.VISTR.LABEL_OFFSET = 0
    # Instances that a clip can show at most.
    cfg.MODEL.VISTR.NUM_SLOTS = 10
    add_transformer_keys(cfg.MODEL.VISTR, hidden_dim=384)
    add_deformable_encoder_keys(cfg.MODEL.VISTR, num_frames=3)
    # Positions of the tokens: "sine_3d" (frame, y and x; official), "sine_2d" (y and x, the frames alike)
    # or "none".
    cfg.MODEL.VISTR.POSITIONS = "sine_3d"
    # Number of shortest sine waves in the frame (and in the clip), above 0. The official value of 1,
    # with POSITION_TEMPERATURE, gives neighbouring cells nearly equal encodings. A pretrained model
    # copes with that; a short training does not.
    cfg.MODEL.VISTR.POSITION_WAVES = 1.0
    # What has a learned query: each "prediction", a slot in a frame (official), each "instance", one for
    # its slot in all frames, each "frame", one for all its slots, or the "video", one for all.
    cfg.MODEL.VISTR.QUERY_LEVEL = "prediction"
    add_mask_keys(cfg.MODEL.VISTR)
    # The mask head sees where each query attends (official: True). False: only what the query says, the
    # same at every pixel.
    cfg.MODEL.VISTR.MASK_ATTENTION = True
    # 3D convolutions over the frames of a slot, before the one that makes its masks (official: 3). 0: each
    # frame's mask by itself.
    cfg.MODEL.VISTR.CONV3D_LAYERS = 3

    add_loss_keys(cfg.MODEL.VISTR)
    # Slots are matched with instances over the whole "sequence" (official), or anew in every "frame".
    cfg.MODEL.VISTR.MATCHING = "sequence"
    # Factor of the IoU in the matching cost.
    cfg.MODEL.VISTR.COST_IOU = 2.0
    # Frames in which an instance is absent count in its matching cost, as class 0 with a zero box
    # (official: True; see InstanceSequenceMatcher).
    cfg.MODEL.VISTR.COST_ABSENT_FRAMES = False
    # Look up the presence of an instance at the wrong instance, a defect of the official matcher.
    cfg.MODEL.VISTR.OFFICIAL_PRESENCE = False

    # Slots with a lower score, 0 to 1, are dropped before their masks are computed.
    cfg.MODEL.VISTR.SCORE_THRESH_TEST = 0.001
    # A track has no mask in frames where its best class is less probable (official 0.001).
    cfg.MODEL.VISTR.FRAME_SCORE_THRESH_TEST = 0.001
