"""A very small DETR and images for it."""

import torch
from detectron2.config import CfgNode
from detectron2.structures import BitMasks, Boxes, Instances

from d2video.config import load_cfg
from d2video.projects import register_all
from tests.helpers.nothing_shown import NOTHING_SHOWN

SIZES = [
    *("MODEL.RESNETS.STEM_OUT_CHANNELS", 8),
    *("MODEL.RESNETS.RES2_OUT_CHANNELS", 16),
    *("MODEL.RESNETS.WIDTH_PER_GROUP", 4),
    *("MODEL.DETR.NUM_CLASSES", 4),
    *("MODEL.DETR.CLASS_LOGITS", []),
    *("MODEL.DETR.NUM_QUERIES", 6),
    *("MODEL.DETR.HIDDEN_DIM", 32),
    *("MODEL.DETR.NUM_HEADS", 4),
    *("MODEL.DETR.DIM_FEEDFORWARD", 32),
]
SMALL = [
    *NOTHING_SHOWN,
    *SIZES,
    *("DATASETS.TRAIN", []),
    *("MODEL.DETR.ENC_LAYERS", 1),
    *("MODEL.DETR.DEC_LAYERS", 2),
    *("MODEL.DETR.DROPOUT", 0.0),
]


def tiny_cfg(*overrides, config: str = "configs/DETR/detr_R50_500ep.yaml") -> CfgNode:
    register_all()
    return load_cfg(config, ["MODEL.DEVICE", "cpu", *SMALL, *overrides])


def make_image(height: int = 40, width: int = 56, objects: int = 2, seed: int = 0) -> dict:
    """A training input of random pixels."""
    generator = torch.Generator().manual_seed(seed)
    image = torch.randint(0, 256, (3, height, width), generator=generator, dtype=torch.uint8)
    instances = Instances((height, width))
    masks = torch.zeros(objects, height, width, dtype=torch.bool)
    boxes = torch.zeros(objects, 4)
    for i in range(objects):
        boxes[i] = torch.tensor([4 + 8 * i, 5, 20 + 8 * i, 25])
        masks[i, 5:25, 4 + 8 * i : 20 + 8 * i] = True
    instances.gt_boxes = Boxes(boxes)
    instances.gt_classes = torch.arange(objects) % 4
    instances.gt_masks = BitMasks(masks)
    return {"image": image, "instances": instances, "height": 2 * height, "width": 2 * width}
