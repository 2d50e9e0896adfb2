"""Register the built-in datasets under ``$DETECTRON2_DATASETS`` (./datasets); no file is touched.

Layout of videos with instances and of generated shapes::

    ytvis_2019/  ytvis_2021/  ytvis_2022/
        {train,valid,test}.json
        {train,valid,test}/JPEGImages/<video>/<frame>.jpg
    ovis/
        annotations/annotations_{train,valid,test}.json
        {train,valid,test}/<video>/<frame>.jpg
    shapes/                            (made by d2video make-shapes)
        {train,val}.json
        {train,val}/JPEGImages/<video>/<frame>.jpg
    shapes_coco/                       (the same with --format panoptic, or coco for the first two)
        {train,val}/<image>.jpg
        annotations/instances_{train,val}.json
        annotations/panoptic_{train,val}.json
        panoptic_{train,val}/<image>.png

Names end in ``_train``, ``_val`` and ``_test`` (shapes have no test split; the images are
``shapes_coco_*`` and, panoptic, ``shapes_panoptic_*``). Labels of the official val and test splits are
not public: d2video split makes a held-out split from train. Names and layouts of the other data
sets are in docs/datasets_{tracking,restoration,video_classification}.md.
"""

import os
from functools import partial

from detectron2.data import MetadataCatalog

from d2video.data.datasets.coco import register_coco
from d2video.data.datasets.coco_panoptic import register_coco_panoptic
from d2video.data.datasets.crowdhuman import register_crowdhuman
from d2video.data.datasets.image_folder import register_image_folder, register_image_pairs
from d2video.data.datasets.mot import register_mot
from d2video.data.datasets.video_classification import (
    kinetics400_classes,
    register_kinetics,
    register_video_folders,
)
from d2video.data.datasets.ytvis import register_ytvis_instances
from d2video.data.datasets.ytvis_categories import (
    OVIS_CLASSES,
    YTVIS_2019_CLASSES,
    YTVIS_2021_CLASSES,
    ytvis_metadata,
)

_YTVIS_CLASSES = {
    "ytvis_2019": YTVIS_2019_CLASSES,
    "ytvis_2021": YTVIS_2021_CLASSES,
    "ytvis_2022": YTVIS_2021_CLASSES,
}
# The common protocol of validation: first and second half of every training sequence.
_HALVES = {"train_half": (0.0, 0.5), "val_half": (0.5, 1.0)}
_SCALES = (2, 3, 4)
# IPT's own, and those that it is not trained on (paper, section 4.3).
_SIGMAS = (10, 30, 50, 70)
# Folders of generated data, and the format by which d2video make-shapes makes them.
_GENERATED = {
    "shapes": "ytvis",
    "shapes_coco": "panoptic",
    "shapes_mot": "mot",
    "shapes_mots": "mots",
    "shapes_images": "restoration",
    "motion": "motion",
}


def register_instance_videos(root: str) -> None:
    """YouTube-VIS 2019, 2021 and 2022, OVIS, and generated shapes."""
    at = partial(os.path.join, root)
    for split, file in {"train": "train", "val": "valid", "test": "test"}.items():
        for name, classes in _YTVIS_CLASSES.items():
            metadata, images = ytvis_metadata(classes), at(name, file, "JPEGImages")
            register_ytvis_instances(f"{name}_{split}", metadata, at(name, f"{file}.json"), images)
        annotations = at("ovis", "annotations", f"annotations_{file}.json")
        metadata = ytvis_metadata(OVIS_CLASSES)
        register_ytvis_instances(f"ovis_{split}", metadata, annotations, at("ovis", file))
    for split in ("train", "val"):
        # The classes are those that the generator was asked for.
        images = at("shapes", split, "JPEGImages")
        register_ytvis_instances(f"shapes_{split}", {}, at("shapes", f"{split}.json"), images)


def register_shapes_images(root: str) -> None:
    """The images of ``<root>/shapes_coco``, with instances and panoptic."""
    at = partial(os.path.join, root, "shapes_coco")
    for split in ("train", "val"):
        instances_json = at("annotations", f"instances_{split}.json")
        panoptic_json = at("annotations", f"panoptic_{split}.json")
        register_coco(f"shapes_coco_{split}", {}, instances_json, at(split))
        register_coco_panoptic(
            f"shapes_panoptic_{split}",
            {},
            at(split),
            at(f"panoptic_{split}"),
            panoptic_json,
            instances_json,
        )


def register_tracking(root: str) -> None:
    """MOT15, MOT17, MOT20, MOTS20, DanceTrack, CrowdHuman and generated shapes."""
    at = partial(os.path.join, root)
    for benchmark in ("MOT15", "MOT17", "MOT20", "MOTS20"):
        train = at(benchmark, "train")
        # The three copies of each MOT17 sequence differ only in the public detections.
        detector = "FRCNN" if benchmark == "MOT17" else None
        parts = {"train": (train, (0.0, 1.0)), "test": (at(benchmark, "test"), (0.0, 1.0))}
        parts |= {name: (train, half) for name, half in _HALVES.items()}
        for part, (path, frame_range) in parts.items():
            name = f"{benchmark.lower()}_{part}"
            register = partial(register_mot, benchmark=benchmark, frame_range=frame_range)
            register(name, path, detector=detector)
            if benchmark in ("MOT17", "MOT20"):
                register(f"{name}_public", path, public_detections=True)
    for part in ("train", "val", "test"):
        register_mot(f"dancetrack_{part}", at("DanceTrack", part), benchmark="DanceTrack")
    for part in ("train", "val"):
        odgt = at("CrowdHuman", "annotations", f"annotation_{part}.odgt")
        register_crowdhuman(f"crowdhuman_{part}", odgt, at("CrowdHuman", part))
        for name, benchmark in (("shapes_mot", "MOT17"), ("shapes_mots", "MOTS20")):
            path = at(name, part)
            register_mot(f"{name}_{part}", path, benchmark=benchmark, class_name="shape")


def register_restoration(root: str) -> None:
    """The usual sets of image restoration, and the generated one."""
    at = partial(os.path.join, root)
    benchmark = partial(at, "benchmark")
    for name in ("Set5", "Set14", "B100", "Urban100"):
        clean = benchmark(name, "HR")
        _register_scales(name.lower(), clean, benchmark(name, "LR_bicubic"))
        _register_noises(name.lower(), clean)
    _register_noises("cbsd68", benchmark("CBSD68"))
    # The official README has both kinds in one folder, for which the official code compares rainy
    # images with themselves; the names tell them apart.
    register_image_pairs(
        "rain100l_derain",
        benchmark("Rain100L"),
        [benchmark("Rain100L", "rainy"), benchmark("Rain100L")],
        "derain",
        clean_pattern="norain-{name}",
        degraded_pattern="rain-{name}",
    )
    for split, file in {"train": "train", "val": "valid"}.items():
        clean = at("DIV2K", f"DIV2K_{file}_HR")
        register_image_folder(f"div2k_{split}", clean)
        _register_scales(f"div2k_{split}", clean, at("DIV2K", f"DIV2K_{file}_LR_bicubic"))
        register_image_folder(f"imagenet_{split}", at("imagenet", split))
        register_image_folder(f"shapes_images_{split}", at("shapes_images", split))
    shapes = at("shapes_images", "val")
    for task in (*(f"sr_x{scale}" for scale in _SCALES), "derain"):
        register_image_folder(f"shapes_images_val_{task}", shapes, task=task)
    _register_noises("shapes_images_val", shapes)


def name_generators(root: str) -> None:
    """Set ``generator`` in the metadata of generated datasets: their folder and the command for it."""
    folders = {**{name: name for name in _GENERATED}, "shapes_panoptic": "shapes_coco"}
    for name, folder in folders.items():
        path = os.path.join(root, folder)
        command = f"d2video make-shapes {path} --format {_GENERATED[folder]}"
        for split in ("train", "val"):
            MetadataCatalog.get(f"{name}_{split}").generator = (path, command)


def _register_scales(name: str, clean: str, degraded: str) -> None:
    for scale in _SCALES:
        register_image_pairs(
            *(f"{name}_sr_x{scale}", clean, os.path.join(degraded, f"X{scale}"), f"sr_x{scale}"),
            scale=scale,
            degraded_pattern=f"{{name}}x{scale}",
        )


def _register_noises(name: str, clean: str) -> None:
    for sigma in _SIGMAS:
        task = f"denoise_{sigma}"
        register_image_folder(f"{name}_{task}", clean, task=task, recursive=False)


def register_video_classes(root: str) -> None:
    """Kinetics-400, -600, -700 and the generated videos of motion."""
    at = partial(os.path.join, root)
    for split in ("train", "val"):
        for count in (400, 600, 700):
            folder = f"kinetics{count}"
            annotations = at(folder, "annotations", f"{split}.csv")
            register_kinetics(
                f"{folder}_{split}", annotations, at(folder, split), num_classes=count
            )
        MetadataCatalog.get(f"kinetics400_{split}").usual_classes = kinetics400_classes
        register_video_folders(f"motion_{split}", at("motion", split))


_ROOT = os.path.expanduser(os.getenv("DETECTRON2_DATASETS", "datasets"))
for _register in (
    register_instance_videos,
    register_shapes_images,
    register_tracking,
    register_restoration,
    register_video_classes,
    name_generators,
):
    _register(_ROOT)
