"""A very small VisTR and clips for it."""

import torch
from detectron2.config import CfgNode
from detectron2.structures import BitMasks, Boxes, Instances

from d2video.config import load_cfg
from d2video.projects import register_all
from tests.helpers.nothing_shown import NOTHING_SHOWN

CONFIG = "configs/VisTR/vistr_tiny_shapes.yaml"
SIZES = [
    *("MODEL.RESNETS.STEM_OUT_CHANNELS", 8),
    *("MODEL.RESNETS.RES2_OUT_CHANNELS", 16),
    *("MODEL.RESNETS.WIDTH_PER_GROUP", 4),
    *("MODEL.VISTR.HIDDEN_DIM", 24),
    *("MODEL.VISTR.NUM_HEADS", 4),
    *("MODEL.VISTR.DIM_FEEDFORWARD", 32),
    *("MODEL.VISTR.ENC_LAYERS", 1),
    *("MODEL.VISTR.DEC_LAYERS", 2),
    *("INPUT.CLIP.NUM_FRAMES", 2),
    *("TEST.VIDEO.WINDOW_OVERLAP", 1),
]
SMALL = [
    *NOTHING_SHOWN,
    *SIZES,
    # What tests rest on stays as it is when the demo's recipe changes.
    *("MODEL.VISTR.NUM_SLOTS", 5),
    *("MODEL.VISTR.MASK_DIM", 0),
    *("MODEL.VISTR.POSITION_TEMPERATURE", 10000.0),
    *("MODEL.VISTR.MASK_POSITIONS", False),
    *("MODEL.VISTR.QUERY_MASKS", False),
    *("MODEL.VISTR.MASK_SCORES", 0.0),
    *("MODEL.VISTR.SOFT_NMS", False),
    *("MODEL.VISTR.COST_CLASS", 0.25),
    *("SOLVER.BASE_LR", 0.0008),
    *("SOLVER.IMS_PER_BATCH", 3),
    *("SOLVER.CLIP_GRADIENTS.CLIP_VALUE", 0.1),
    *("INPUT.CLIP.SAMPLER", "WindowSampler"),
    *("INPUT.AUGMENTATIONS", [["RandomFlip", {"prob": 0.5}]]),
    *("INPUT.COPY_PASTE.PROB", 0.0),
]


def tiny_cfg(*overrides) -> CfgNode:
    register_all()
    return load_cfg(CONFIG, ["MODEL.DEVICE", "cpu", *SMALL, *overrides])


def make_clip(
    height: int = 40, width: int = 56, num_instances: int = 2, num_frames: int = 2, seed: int = 0
) -> dict:
    """A training input of random pixels; instance i is absent from frame i (if there is one)."""
    generator = torch.Generator().manual_seed(seed)
    images = [
        torch.randint(0, 256, (3, height, width), generator=generator, dtype=torch.uint8)
        for _ in range(num_frames)
    ]
    frames = []
    for t in range(num_frames):
        masks = torch.zeros(num_instances, height, width, dtype=torch.bool)
        boxes = torch.zeros(num_instances, 4)
        ids = torch.full((num_instances,), -1)
        for i in range(num_instances):
            if i != t or num_frames == 1:
                x, y = 4 + 9 * i + t, 5 + 4 * i
                masks[i, y : y + 12, x : x + 10] = True
                boxes[i] = torch.tensor([x, y, x + 10, y + 12])
                ids[i] = i
        instances = Instances((height, width))
        instances.gt_boxes = Boxes(boxes)
        instances.gt_classes = torch.arange(num_instances) % 3
        instances.gt_masks = BitMasks(masks)
        instances.gt_ids = ids
        frames.append(instances)
    return {"image": images, "instances": frames, "height": height, "width": width}
