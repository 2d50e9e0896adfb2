"""Very small TrackFormers of every kind, and pairs of frames for them."""

import torch
from detectron2.config import CfgNode
from detectron2.modeling import build_model
from detectron2.structures import BitMasks, Boxes, Instances
from detectron2.utils.events import EventStorage
from torch import Tensor, nn

from d2video.config import load_cfg
from d2video.projects import register_all
from tests.helpers.nothing_shown import NOTHING_SHOWN

NODE = "MODEL.TRACKFORMER"
# What tests rest on, whatever the demo's recipe is.
SMALL = [
    *NOTHING_SHOWN,
    *("DATASETS.TRAIN", []),
    *("DATASETS.TEST", []),
    *("MODEL.RESNETS.DEPTH", 50),
    *("MODEL.RESNETS.STEM_OUT_CHANNELS", 8),
    *("MODEL.RESNETS.RES2_OUT_CHANNELS", 16),
    *("MODEL.RESNETS.WIDTH_PER_GROUP", 4),
    *("MODEL.RESNETS.NORM", "FrozenBN"),
    *("MODEL.RESNETS.OUT_FEATURES", ["res2", "res3", "res4", "res5"]),
    *("MODEL.BACKBONE.FREEZE_AT", 0),
    *("MODEL.MASK_ON", False),
    *(f"{NODE}.NUM_CLASSES", 3),
    *(f"{NODE}.NUM_QUERIES", 7),
    *(f"{NODE}.HIDDEN_DIM", 32),
    *(f"{NODE}.NUM_HEADS", 4),
    *(f"{NODE}.ENC_LAYERS", 1),
    *(f"{NODE}.DEC_LAYERS", 2),
    *(f"{NODE}.DIM_FEEDFORWARD", 32),
    *(f"{NODE}.DROPOUT", 0.0),
    *(f"{NODE}.MASK_FEATURES", ["res2", "res3", "res4"]),
    *(f"{NODE}.TRACKED_CLASSES", []),
    *(f"{NODE}.OVERFLOW_BOXES", True),
    *(f"{NODE}.DEFORMABLE.TWO_STAGE", False),
    *(f"{NODE}.DEFORMABLE.DENSE_PROPOSALS", False),
    *(f"{NODE}.TRACK_LINKS", False),
    *(f"{NODE}.PREV_FRAME_OTHER", False),
    *("SOLVER.BASE_LR", 0.001),
    # All queries become tracks, but for those that overlap.
    *(f"{NODE}.TRACKER.DETECTION_SCORE_THRESH", 0.0),
    *(f"{NODE}.TRACKER.TRACK_SCORE_THRESH", 0.0),
    *(f"{NODE}.TRACKER.INACTIVE_PATIENCE", 0),
]
DETR = [
    *(f"{NODE}.DEFORMABLE.ENABLED", False),
    *(f"{NODE}.DEFORMABLE.NUM_FRAMES", 1),
    *(f"{NODE}.FOCAL_LOSS", False),
    *(f"{NODE}.IN_FEATURES", ["res5"]),
]
DEFORMABLE = [
    *(
        f"{NODE}.HIDDEN_DIM",
        64,
    ),  # two channels a group of the input norms: one may not be normalised
    *(f"{NODE}.DEFORMABLE.ENABLED", True),
    *(f"{NODE}.DEFORMABLE.NUM_LEVELS", 4),
    *(f"{NODE}.DEFORMABLE.NUM_FRAMES", 1),
    *(f"{NODE}.DEFORMABLE.ENC_POINTS", 2),
    *(f"{NODE}.DEFORMABLE.DEC_POINTS", 2),
    *(f"{NODE}.FOCAL_LOSS", True),
    *(f"{NODE}.IN_FEATURES", ["res3", "res4", "res5"]),
]
MULTI_FRAME = [*DEFORMABLE, f"{NODE}.DEFORMABLE.NUM_FRAMES", 2, f"{NODE}.HIDDEN_DIM", 96]
MASKS = ["MODEL.MASK_ON", True]
VARIANTS = {
    "detr": DETR,
    "detr_track_attention": [*DETR, f"{NODE}.TRACK_ATTENTION", True],
    "detr_masks": [*DETR, *MASKS],
    "deformable": DEFORMABLE,
    "deformable_plain": [*DEFORMABLE, f"{NODE}.DEFORMABLE.BOX_REFINE", False],
    "deformable_softmax": [*DEFORMABLE, f"{NODE}.FOCAL_LOSS", False],
    "multi_frame": MULTI_FRAME,
    "joint_encoder": [
        *MULTI_FRAME,
        *(f"{NODE}.DEFORMABLE.MULTI_FRAME_ATTENTION_SEPARATE_ENCODER", False),
    ],
    "merged": [*DEFORMABLE, f"{NODE}.DEFORMABLE.MERGE_FRAME_FEATURES", True],
    "three_frames": [*MULTI_FRAME, f"{NODE}.DEFORMABLE.NUM_FRAMES", 3],
    "two_stage": [*DEFORMABLE, f"{NODE}.DEFORMABLE.TWO_STAGE", True],
    "track_links": [
        *DEFORMABLE,
        *(f"{NODE}.DEFORMABLE.TWO_STAGE", True),
        *(f"{NODE}.DEFORMABLE.DENSE_PROPOSALS", True),
        *(f"{NODE}.TRACK_LINKS", True),
    ],
    "deformable_masks": [*DEFORMABLE, *MASKS],
}


def tiny_cfg(variant: str, *overrides) -> CfgNode:
    register_all()
    values = [*SMALL, *VARIANTS[variant], *overrides]
    return load_cfg(
        "configs/TrackFormer/trackformer_tiny_shapes.yaml", ["MODEL.DEVICE", "cpu", *values]
    )


def build(variant: str, *overrides, seed: int = 0) -> nn.Module:
    """The model in training mode. Heads that start at zero, or all alike, are random: else boxes would
    not move and classes not differ."""
    torch.manual_seed(seed)
    model = build_model(tiny_cfg(variant, *overrides))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "bbox_embed" in name:
                parameter.add_(0.2 * torch.randn(parameter.shape))
            elif "class_embed" in name and parameter.dim() == 1:
                parameter.normal_()
    return model.train()


def make_frame(height: int, width: int, ids: list[int], shift: int, seed: int) -> dict:
    """Random pixels; object i lies in the same place, but for the shift, in all frames."""
    generator = torch.Generator().manual_seed(seed)
    image = torch.randint(0, 256, (3, height, width), generator=generator, dtype=torch.uint8)
    instances = Instances((height, width))
    masks = torch.zeros(len(ids), height, width, dtype=torch.bool)
    boxes = torch.zeros(len(ids), 4)
    for row, number in enumerate(ids):
        x, y = 2 + 7 * number + shift, 3 + 4 * number
        boxes[row] = torch.tensor([x, y, x + 12, y + 16])
        masks[row, y : y + 16, x : x + 12] = True
    instances.gt_boxes = Boxes(boxes)
    instances.gt_classes = torch.tensor(ids, dtype=torch.int64) % 3
    instances.gt_ids = torch.tensor(ids, dtype=torch.int64)
    instances.gt_masks = BitMasks(masks)
    return {"image": image, "instances": instances}


def make_pair(
    current=(0, 1, 2),
    previous=(0, 1, 3),
    *,
    height: int = 40,
    width: int = 56,
    num_previous: int = 1,
    seed: int = 0,
) -> dict:
    """A training input: the ids of the objects in the frame and in those before it."""
    sample = make_frame(height, width, list(current), 0, 10 * seed)
    sample["previous"] = [
        make_frame(height, width, list(previous), step + 1, 10 * seed + step + 1)
        for step in range(num_previous)
    ]
    # One frame further away, for the configs that want to know.
    earlier = make_frame(height, width, list(previous), num_previous + 1, 10 * seed + 9)
    sample["previous"][-1]["earlier"] = earlier["instances"]
    return sample | {"height": 2 * height, "width": 2 * width}


def losses_of(model: nn.Module, batch: list[dict], seed: int = 0) -> dict[str, Tensor]:
    """The losses; what is drawn is the same every time."""
    torch.manual_seed(seed)
    with EventStorage():
        return model(batch)
