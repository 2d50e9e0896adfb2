"""VTN in `make demo`, with what it finds in shuffled and in single frames."""

from d2video.synthetic import JOINT_MOTION_CLASSES, MotionSpec, write_motion_videos
from demo.recipe import Comparison, Recipe, Run, with_options

RECIPE = Recipe(
    runs=(
        Run(
            name="VTN",
            config_file="configs/VTN/vtn_tiny_motion.yaml",
            task="classification",
            metrics={
                "top1": "videos whose class has the highest score",
                "top5": "videos whose class is among the best five",
                "mean_class_accuracy": "mean of the classes' top-1 accuracies",
            },
            seeds={"classification/top1": (98.8, 93.3, 100.0)},
            class_metric="top1",
            pictures={"true and predicted classes": "inference/motion_val/confusion.png"},
            evaluations={
                "shuffled": with_options("INPUT.CLASSIFICATION.FRAME_ORDER", "shuffled"),
                "one_frame": with_options("INPUT.CLASSIFICATION.NUM_FRAMES_TEST", "1"),
            },
            processes=2,
        ),
    ),
    write_data=write_motion_videos,
    folder="motion",
    splits={"train": 3000, "val": 240},
    spec=MotionSpec(
        num_frames=(9, 9),
        height=40,
        width=40,
        classes=JOINT_MOTION_CLASSES,
        size=(0.3, 0.4),
        brightness=(0.08, 0.25),
    ),
    summary=(
        "VTN classifies motion. In every video an object runs right or left, an arrow turns clockwise "
        "or counterclockwise, and a lamp shines red and then blue or blue and then red, one after the "
        "other in random order; the class is the three directions together. The eight classes have "
        "the same frames and differ only in their order, so that a single frame, or shuffled ones, "
        "cannot tell them apart (chance: 12.5 %). Its answer is a guess until it has seen most of a "
        "video. Each clip shows a video of the validation split, which the model never saw, the best "
        "classes, and how their scores changed from frame to frame. The clips are spread evenly over "
        "the split, not chosen."
    ),
    spread=True,
    scale=8,
    fps=4,
    comparisons=(
        Comparison(
            caption=(
                "What order tells: the same trained model on the same held-out videos. Without the "
                "order chance is 12.5 %"
            ),
            task="classification",
            metrics=("top1", "top5", "mean_class_accuracy"),
            rows={
                "frames in order": "VTN/metrics.json",
                "frames shuffled": "VTN/shuffled.json",
                "one frame": "VTN/one_frame.json",
            },
        ),
    ),
)
