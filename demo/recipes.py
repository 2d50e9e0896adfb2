"""What `make demo` shows of each system: data, trainings, and what the page says of them."""

from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True)
class Run:
    """One training of a recipe.

    Attributes:
        name: of its folder and its title on the page.
        config_file: relative to the repository.
        task: the evaluator's name of the results, such as "segm", "bbox" or "mot".
        metrics: names in the evaluator's answer, and what they mean.
        counts: those of them that are numbers of things; the others are percentages.
        curves: chart title to {series name: name in metrics.json}.
        class_metric: what the evaluator gives for each class, as ``<class_metric>-<class>``, if
            anything.
        pictures: caption to picture that the evaluation writes, relative to the training's folder.
        ablations: name to config keys and values that differ, as on the command line: the trained
            model is evaluated with them once more, into ``<run>/<name>.json`` (for comparisons).
        processes: that share the training on a CPU, where there are as many cores. Small models keep
            one core busy, but not two.
    """

    name: str
    config_file: str
    task: str
    metrics: dict[str, str]
    curves: dict[str, dict[str, str]]
    counts: tuple[str, ...] = ()
    class_metric: str | None = "AP"
    pictures: dict[str, str] = field(default_factory=dict)
    ablations: dict[str, tuple[str, ...]] = field(default_factory=dict)
    processes: int = 1


@dataclass(frozen=True)
class Comparison:
    """A table with a row for each of several evaluations.

    Attributes:
        caption: what is compared.
        task: the evaluator's name of the results.
        metrics: names in the evaluator's answer, one a column.
        rows: title to file, relative to the demo's folder: a training's metrics.json, of which the
            last evaluation counts, or results as JSON, ``{task: {metric: value}}``.
        counts: the metrics that are numbers of things; the others are percentages.
    """

    caption: str
    task: str
    metrics: tuple[str, ...]
    rows: dict[str, str]
    counts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Recipe:
    """How a system is shown.

    Attributes:
        runs: the trainings, one after the other.
        kind: what the data are: videos with masks (``shapes_*``), single images with panoptic
            labels (``shapes_coco_*``), videos with boxes (``shapes_mot_*``), video files whose
            classes differ in motion (``motion_*``), or images to be degraded and restored
            (``shapes_images_*``).
        splits: generated videos or images by split.
        spec: what they look like: arguments of ``d2video.synthetic.ShapesSpec``, for
            classification of ``MotionSpec``, for restoration of ``RestorationSpec``.
        summary: what the page says about the task.
        num_clips: validation videos or images drawn for each run: the first ones of the split, for
            classification, where they are in the order of their classes, spread evenly over it; for
            restoration together for all tasks.
        scale: how many times as large as the data they are drawn.
        fps: of the clips drawn, frames a second.
        link_detections: whether each tracker's own detections are evaluated, linked by overlap
            alone, into ``<run>/linked.json`` (projects/TrackFormer/tools/link_detections.py).
        comparisons: further tables of the page.
    """

    runs: tuple[Run, ...]
    kind: Literal["videos", "images", "tracking", "classification", "restoration"]
    splits: dict[str, int]
    spec: dict[str, Any]
    summary: str
    num_clips: int = 8
    scale: int = 4
    fps: float = 6
    link_detections: bool = False
    comparisons: tuple[Comparison, ...] = ()

    @property
    def noun(self) -> str:
        """What the data are called on the page."""
        return "images" if self.kind in ("images", "restoration") else "videos"


# The easier variant: large shapes, whose classes have patterns and hues of their own, as animals have.
_LOOKS: dict[str, Any] = {
    "classes": ("circle", "triangle", "square"),
    "size": (0.35, 0.55),
    "class_textures": True,
    "class_colours": True,
    "background_contrast": 0.3,
}

_TERMS = {"class": "loss_ce", "box": "loss_bbox", "GIoU": "loss_giou"}
_MASK_TERMS = {**_TERMS, "mask": "loss_mask", "dice": "loss_dice"}


def _curves(terms: dict[str, str]) -> dict[str, dict[str, str]]:
    return {
        "Training loss": {"total": "total_loss"},
        "Terms of the last decoder layer": terms,
    }


RECIPES = {
    "VisTR": Recipe(
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
                curves=_curves(_MASK_TERMS),
            ),
        ),
        kind="videos",
        splits={"train": 1000, "val": 60},
        # Slow motion over quiet backgrounds.
        spec={**_LOOKS, "num_frames": (5, 5), "duration": 0.4},
        summary=(
            "VisTR segments and tracks moving shapes. Each clip shows a video of the validation "
            "split, which the model never saw: colours are track identities, labels give class, "
            "score and identity. The clips are the first ones of the split, not the best."
        ),
    ),
    "DETR": Recipe(
        runs=(
            Run(
                name="DETR",
                config_file="configs/DETR/detr_tiny_shapes.yaml",
                task="bbox",
                metrics={
                    "AP": "box AP, mean over IoU thresholds 0.50 to 0.95",
                    "AP50": "box AP at IoU 0.50",
                    "AP75": "box AP at IoU 0.75",
                },
                curves=_curves(_TERMS),
            ),
            Run(
                name="DETR-panoptic",
                config_file="configs/DETR/detr_panoptic_tiny_shapes.yaml",
                task="panoptic_seg",
                metrics={
                    "PQ": "panoptic quality",
                    "SQ": "segmentation quality: mean IoU of matched segments",
                    "RQ": "recognition quality: F1 of the segments",
                    "PQ_th": "PQ of things",
                    "PQ_st": "PQ of stuff",
                },
                curves=_curves(_MASK_TERMS),
                class_metric=None,
            ),
        ),
        kind="images",
        splits={"train": 4000, "val": 200},
        spec={**_LOOKS, "stuff": ("grass", "water", "brick", "sand")},
        summary=(
            "DETR finds shapes in images, as boxes and, in a second training, as a panoptic map "
            "with the background's parts. The pictures are the first ones of the validation split, "
            "which the models never saw, not the best."
        ),
    ),
    "TrackFormer": Recipe(
        runs=(
            Run(
                name="TrackFormer",
                config_file="configs/TrackFormer/trackformer_tiny_shapes.yaml",
                task="mot",
                metrics={
                    "HOTA": "mean over IoU thresholds of the geometric mean of DetA and AssA",
                    "DetA": "detection accuracy",
                    "AssA": "association accuracy",
                    "MOTA": "1 - (misses + false positives + identity switches) / objects",
                    "IDF1": "F1 of boxes with the right identity",
                    "IDSW": "identity switches",
                    "MT": "tracks followed for 80 % of their time or more",
                    "ML": "tracks followed for less than 20 %",
                },
                counts=("IDSW", "MT", "ML"),
                curves=_curves(_TERMS),
                processes=2,
                class_metric=None,
            ),
        ),
        kind="tracking",
        splits={"train": 400, "val": 30},
        # Two small, fast objects of one class: their boxes in neighbouring frames hardly overlap.
        spec={
            "num_frames": (20, 24),
            "max_objects": 2,
            "min_objects": 2,
            "size": (0.18, 0.25),
            "speed": (0.7, 1.05),
            "leaving": 0.1,
            "camera_motion": 0.3,
            "background_contrast": 0.1,
            "texture_contrast": 0.25,
        },
        summary=(
            "TrackFormer follows moving shapes of all kinds as one class: they cross, hide each "
            "other, leave and come back, and move by 0.7 to 1.05 of their size from frame to "
            "frame. Each clip shows a sequence of the validation split, which the model never saw: "
            "colours and numbers are track identities. The clips are the first ones of the split, "
            "not the best."
        ),
        link_detections=True,
        comparisons=(
            Comparison(
                caption=(
                    "What the track queries add: the same model's detections, linked by overlap "
                    "with the thresholds that are best on these very sequences"
                ),
                task="mot",
                metrics=("HOTA", "DetA", "AssA", "MOTA", "IDF1", "IDSW"),
                rows={
                    "track queries": "TrackFormer/metrics.json",
                    "linked by IoU": "TrackFormer/linked.json",
                },
                counts=("IDSW",),
            ),
        ),
    ),
    "VTN": Recipe(
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
                class_metric="top1",
                curves={
                    "Training loss": {"cross-entropy": "total_loss"},
                    "Accuracy of the training batches": {"top-1 (%)": "top1_accuracy"},
                },
                pictures={"true and predicted classes": "inference/motion_val/confusion.png"},
                ablations={
                    "shuffled": ("INPUT.VIDEO.FRAME_ORDER", "shuffled"),
                    "one_frame": ("INPUT.VIDEO.NUM_FRAMES_TEST", "1"),
                },
                processes=2,
            ),
        ),
        kind="classification",
        splits={"train": 3000, "val": 240},
        spec={
            "num_frames": (6, 6),
            "height": 40,
            "width": 40,
            "size": (0.3, 0.4),
            "brightness": (0.08, 0.25),
        },
        summary=(
            "VTN tells which way things went: an object runs right or left, an arrow turns clockwise "
            "or counterclockwise, a lamp shines red and then blue or blue and then red. The two "
            "classes of each have the same frames and differ in their order alone, so that a single "
            "frame, or shuffled ones, tell nothing of it (chance: 50 %). What it says before it has seen "
            "most of a video is a guess. Each clip shows a video of "
            "the validation split, which the model never saw, the best classes, and how their scores "
            "changed from frame to frame. The clips are spread evenly over the split, not chosen."
        ),
        scale=8,
        fps=4,
        comparisons=(
            Comparison(
                caption=(
                    "What order tells: the same trained model on the same held-out videos. A frame "
                    "shows which of three scenes it is; from then on chance is 50 %"
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
    ),
    "IPT": Recipe(
        runs=(
            Run(
                name="IPT",
                config_file="configs/IPT/ipt_tiny_images.yaml",
                task="restoration",
                metrics={
                    "PSNR-Y": "peak signal-to-noise ratio of the luma, dB",
                    "PSNR-RGB": "the same of all channels",
                    "SSIM": "structural similarity of the luma",
                },
                curves={"Training loss": {"total": "total_loss", "L1": "loss_l1"}},
                class_metric=None,
                processes=2,
            ),
        ),
        kind="restoration",
        splits={"train": 800, "val": 40},
        spec={},
        summary=(
            "IPT enlarges images and removes noise by one model with a head, a tail and a query for "
            "each task. Each picture shows an image of the validation split, which the "
            "model never saw: the input, what needs no learning (a bicubic, or the bilateral filter "
            "that is best on this very image), what IPT makes of it, and the truth. The images are "
            "the first ones of the split, not the best."
        ),
        num_clips=8,
        scale=2,
    ),
}
