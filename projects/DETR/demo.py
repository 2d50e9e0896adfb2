"""DETR in `make demo`: panoptic segmentation, scored by its boxes and masks of things, too."""

from functools import partial

from d2video.synthetic import ShapesSpec, write_coco_shapes
from demo.recipe import Recipe, Run

RECIPE = Recipe(
    runs=(
        Run(
            name="DETR",
            config_file="configs/DETR/detr_panoptic_tiny_shapes.yaml",
            task="panoptic_seg",
            metrics={
                "PQ": "panoptic quality",
                "SQ": "segmentation quality: mean IoU of matched segments",
                "RQ": "recognition quality: F1 of the segments",
                "PQ_th": "PQ of things",
                "PQ_st": "PQ of stuff",
            },
            further={
                "bbox": {
                    "AP": "box AP of things, mean over IoU thresholds 0.50 to 0.95",
                    "AP50": "box AP at IoU 0.50",
                    "AP75": "box AP at IoU 0.75",
                },
                "segm": {"AP": "mask AP of things", "AP50": "mask AP at IoU 0.50"},
            },
            seeds={
                "panoptic_seg/PQ": (86.5, 87.1, 86.6),
                "panoptic_seg/PQ_th": (75.9, 76.8, 76.2),
                "panoptic_seg/PQ_st": (94.4, 94.8, 94.4),
                "bbox/AP50": (91.5, 92.5, 90.6),
                "segm/AP50": (92.7, 92.6, 93.7),
            },
        ),
    ),
    write_data=partial(write_coco_shapes, panoptic=True),
    folder="shapes_coco",
    splits={"train": 4000, "val": 200},
    # Large shapes, whose classes differ in pattern and hue too.
    spec=ShapesSpec(
        classes=("circle", "triangle", "square"),
        size=(0.35, 0.55),
        class_textures=True,
        class_colours=True,
        background_contrast=0.3,
        stuff=("grass", "water", "brick", "sand"),
    ),
    noun="images",
    summary=(
        "DETR finds shapes in images, as boxes and masks, and the parts of the background: together they "
        "are a panoptic map. The pictures are the first ones of the validation split, which the "
        "model never saw, not the best."
    ),
)
