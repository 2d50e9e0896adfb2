"""VisTR in `make demo`."""

from d2video.synthetic import ShapesSpec, write_ytvis_shapes
from demo.recipe import Recipe, Run

RECIPE = Recipe(
    runs=(
        Run(
            name="VisTR",
            config_file="configs/VisTR/vistr_tiny_shapes.yaml",
            task="segm",
            metrics={
                "AP": "mask AP, mean over IoU thresholds 0.50 to 0.95",
                "AP50": "mask AP at IoU 0.50",
                "AP75": "mask AP at IoU 0.75",
                "AR1": "recall with one prediction a class and video",
                "AR10": "recall with ten",
            },
            seeds={
                "segm/AP": (49.9, 48.2, 51.5),
                "segm/AP50": (83.2, 82.7, 82.4),
                "segm/AP75": (52.6, 50.7, 53.9),
            },
        ),
    ),
    write_data=write_ytvis_shapes,
    folder="shapes",
    splits={"train": 1000, "val": 60},
    # Large shapes, whose classes differ in pattern and hue too; slow motion over quiet backgrounds.
    spec=ShapesSpec(
        classes=("circle", "triangle", "square"),
        size=(0.35, 0.55),
        class_textures=True,
        class_colours=True,
        background_contrast=0.3,
        num_frames=(5, 5),
        duration=0.4,
    ),
    score_threshold=0.3,  # MASK_SCORES makes scores lower: at 0.3 about as many as there are objects
    summary=(
        "VisTR segments and tracks moving shapes. Each clip shows a video of the validation split, "
        "which the model never saw: colours are track identities; labels give class, score and "
        "identity. The clips are the first ones of the split, not the best."
    ),
)
