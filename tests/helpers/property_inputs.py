"""Strategies: sizes, objects and clips, with the odd ones among them."""

from dataclasses import dataclass

import torch
from detectron2.structures import BitMasks, Boxes, Instances
from hypothesis import strategies as st

# Neither multiples of a stride nor square; the smallest is one cell of the coarsest features.
sizes = st.tuples(st.sampled_from([17, 32, 33, 40, 47]), st.sampled_from([19, 32, 45, 56]))
seeds = st.integers(0, 2**16)


def pixels(size: tuple[int, int], seed: int) -> torch.Tensor:
    """uint8 (3,H,W)."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (3, *size), generator=generator, dtype=torch.uint8)


def frames(size: tuple[int, int], count: int, seed: int) -> list[torch.Tensor]:
    return [pixels(size, 1000 * seed + t) for t in range(count)]


@dataclass(frozen=True)
class Shape:
    """An object: its corner and its sides as parts of the image; (0,0) is a single pixel."""

    x: float
    y: float
    width: float
    height: float


part = st.floats(0, 0.9)
side = st.sampled_from([0.0, 0.0, 0.1, 0.3, 0.6])
shapes = st.lists(st.builds(Shape, part, part, side, side), max_size=4)


def instances(shapes: list[Shape], size: tuple[int, int], classes: int = 3) -> Instances:
    """With boxes around whole pixels, masks that fill them, classes and ids."""
    height, width = size
    boxes = torch.zeros(len(shapes), 4)
    masks = torch.zeros(len(shapes), height, width, dtype=torch.bool)
    for row, shape in enumerate(shapes):
        x0, y0 = int(shape.x * width), int(shape.y * height)
        x1 = min(x0 + max(int(shape.width * width), 1), width)
        y1 = min(y0 + max(int(shape.height * height), 1), height)
        boxes[row] = torch.tensor([x0, y0, x1, y1])
        masks[row, y0:y1, x0:x1] = True
    found = Instances(size)
    found.gt_boxes = Boxes(boxes)
    found.gt_classes = torch.arange(len(shapes)) % classes
    found.gt_ids = torch.arange(len(shapes))
    found.gt_masks = BitMasks(masks)
    return found
