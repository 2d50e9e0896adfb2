"""Config keys of TrackFormer."""

from d2video.projects.detr import config  # noqa: F401  (DETR's node, to which this adds keys, comes first)
from detectron2.config import CfgNode as CN

from d2video.config import register_config, register_least, register_removed
from d2video.config.set_prediction import LEAST_VALUES, add_loss_keys, add_transformer_keys

register_removed(
    {
        "MODEL.TRACKFORMER.AUX_LOSS": True,
        "MODEL.TRACKFORMER.BACKPROP_PREV_FRAME": False,
        "MODEL.TRACKFORMER.FALSE_POSITIVE_WEIGHT": 1.0,
        "MODEL.TRACKFORMER.FOREIGN_TRACK_PROB": 0.0,
        "MODEL.TRACKFORMER.NUM_PREV_FRAMES": 1,
        "MODEL.TRACKFORMER.PREV_FRAME_DIST": 1,
        "MODEL.TRACKFORMER.TRACKER.STEPS_TERMINATION": 1,
    }
)
register_least("MODEL.TRACKFORMER", LEAST_VALUES | {"COST_GIOU": 0})


def add_deformable_keys(node: CN, box_refine: bool) -> None:
    """Add the keys of multi-scale deformable attention; the defaults are the official ones."""
    node.DEFORMABLE = CN()
    node.DEFORMABLE.NUM_LEVELS = 4  # those beyond IN_FEATURES are made by strided convolutions
    node.DEFORMABLE.ENC_POINTS = 4
    node.DEFORMABLE.DEC_POINTS = 4
    # Each decoder layer refines the boxes of the one before it.
    node.DEFORMABLE.BOX_REFINE = box_refine
    # Object queries start from the encoder's best boxes, as in two-stage Deformable DETR. Needs
    # BOX_REFINE.
    node.DEFORMABLE.TWO_STAGE = False
    # With TWO_STAGE: every proposal within an object learns its box, and those that object queries start
    # from overlap little and bring what they show along (official: False: one proposal for each object).
    node.DEFORMABLE.DENSE_PROPOSALS = False


@register_config
def add_deformable_detr_config(cfg: CN) -> None:
    """Add ``MODEL.DETR.DEFORMABLE``, for the meta-architecture DeformableDETR; all its other keys are
    DETR's."""
    add_deformable_keys(cfg.MODEL.DETR, box_refine=False)


@register_config
def add_trackformer_config(cfg: CN) -> None:
    """Add ``MODEL.TRACKFORMER``; the defaults are the official ones for vanilla DETR."""
    cfg.MODEL.TRACKFORMER = CN()
    node = cfg.MODEL.TRACKFORMER
    # Class logits, without "no object"; class c of the data has logit c. The official models have 20
    # and use the first, "person".
    node.NUM_CLASSES = 20
    node.NUM_QUERIES = 100  # object queries; track queries come on top
    add_transformer_keys(node)
    # Backbone outputs for the mask head (MODEL.MASK_ON), fine to coarse. IN_FEATURES feed the
    # transformer; with deformable attention there are several. Then the last lateral is one of them
    # and tells the level of memory that masks come from.
    node.MASK_FEATURES = ["res2", "res3", "res4"]
    node.IN_FEATURES = ["res5"]
    # Self-attention among the track queries before each decoder layer; not with deformable attention.
    node.TRACK_ATTENTION = False

    # Multi-scale deformable attention (Deformable DETR) in place of DETR's.
    add_deformable_keys(node, box_refine=True)
    node.DEFORMABLE.ENABLED = False
    # Frames whose features the decoder attends to: 1, or 2, the official multi-frame attention.
    # HIDDEN_DIM is then a multiple of 96 and of NUM_HEADS.
    node.DEFORMABLE.NUM_FRAMES = 1
    # With several frames, the encoder sees each separately. False: tokens of every frame look at all frames.
    node.DEFORMABLE.MULTI_FRAME_ATTENTION_SEPARATE_ENCODER = True
    # Merge a frame's levels with those of the frame before it, by a 1×1 convolution each; with any
    # NUM_FRAMES (official: False).
    node.DEFORMABLE.MERGE_FRAME_FEATURES = False
    # Sampling offsets are divided by (width, height), "wh", as in Deformable DETR and its released
    # models, or by (height, width), "hw", as in TrackFormer's code and, so it seems, its models.
    node.DEFORMABLE.OFFSET_UNIT = "wh"

    # ---- training -----------------------------------------------------------------------------
    # Greatest distance of the previous frame from the current one, before or after it, in frames.
    node.PREV_FRAME_RANGE = 5
    # The previous frame is another one than the current (official: False).
    node.PREV_FRAME_OTHER = False
    # Track queries start from the proposal that looks like their object and lies where it would be, had it
    # moved on as before (official: False: from their own box). Needs DEFORMABLE.DENSE_PROPOSALS.
    node.TRACK_LINKS = False
    # With TRACK_LINKS: share, above 0 to 1, of the newest sight in how a track looks (1: it alone counts).
    node.LINK_UPDATE = 1.0
    # The previous frame is cropped and resized back: the greatest part of its width that is cut off,
    # from 0 (none) to below 1. Official: 0.01 for videos …
    node.PREV_FRAME_JITTER = 0.01
    # … and 0.2 for single images, whose previous frame is the image itself.
    node.PREV_IMAGE_JITTER = 0.2
    # A track query is left out of training with this probability, so that its object is detected …
    node.FALSE_NEGATIVE_PROB = 0.4
    # … and brings along a query without an object with this one.
    node.FALSE_POSITIVE_PROB = 0.1
    # Draw the first two as the official code does (training/official.py); False: independently.
    node.OFFICIAL_SAMPLING = False
    # Train only the mask head (MODEL.MASK_ON), on a model that stays as it is.
    node.FREEZE_DETECTOR = False

    add_loss_keys(node)
    # Factor of the GIoU in the matching cost.
    node.COST_GIOU = 2.0
    # Focal loss over independent classes in place of a softmax with "no object".
    node.FOCAL_LOSS = False

    # ---- inference ----------------------------------------------------------------------------
    # Indices of the classes that are tracked (official: 0, "person"): queries of another class count
    # as "nothing there". Empty: all.
    node.TRACKED_CLASSES = [0]
    # Boxes may reach beyond the image, in training as in the answers. False: cut at the border.
    node.OVERFLOW_BOXES = False

    node.TRACKER = tracker = CN()
    # A detection starts a track if its score is higher …
    tracker.DETECTION_SCORE_THRESH = 0.4
    # … and a track goes on if its query's score is higher.
    tracker.TRACK_SCORE_THRESH = 0.4
    # Non-maximum suppression among the tracks, and then of new tracks by known ones: greatest IoU.
    # 0: none.
    tracker.TRACK_NMS_THRESH = 0.9
    tracker.DETECTION_NMS_THRESH = 0.9
    # Frames for which an inactive track is looked for. 0 or less: none (the official "reid" setting,
    # with which the published results were made, has 5).
    tracker.INACTIVE_PATIENCE = -1
    # An inactive track comes back if its query's score, 0 to 1, is higher. 1: never.
    tracker.REID_SCORE_THRESH = 0.4
    # It also comes back if the Euclidean distance of a detection's embedding from its own is at most
    # this. 0 (official): never.
    tracker.REID_SIMILARITY_THRESH = 0.0
    # Make every track inactive between two frames (official: False). With REID_SCORE_THRESH 1 only
    # similarity decides.
    tracker.REID_SIMILARITY_ONLY = False
    # Bring tracks back by the distance of the boxes, not of the embeddings (official: False).
    tracker.REID_GREEDY = False
    # Start tracks only at detections given with the sequence (MOT's public detections). Which of
    # the model's own they support: "min_iou_0_5", "center_distance"; "": no such condition.
    tracker.PUBLIC_DETECTIONS = ""
    # Keep the defects of the official tracker (tracker/official.py).
    tracker.OFFICIAL = False
    # Detections of a single image with a lower score, 0 to 1, are dropped.
    node.SCORE_THRESH_TEST = 0.0
