"""A complete export of every format, named by its path, trains a model and is scored by class."""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from detectron2.data import MetadataCatalog
from PIL import Image

from d2video.cli.dataset_check import check_registered
from d2video.data.datasets.by_path import register_path
from d2video.data.loading import load_records
from d2video.formats.faults import Fault
from d2video.formats.labels.exports import find_exports
from d2video.formats.labels.recognition import RECOGNISERS
from tests.engine.label_models import MODELS, config, train_and_test
from tests.formats import (
    test_bdd100k,
    test_burst,
    test_cocovid,
    test_cvat_coco,
    test_cvat_images,
    test_cvat_mot,
    test_datumaro,
    test_davis,
    test_kitti,
    test_label_studio,
    test_label_studio_images,
    test_labelme,
    test_mots_png,
    test_roboflow,
    test_sa_v,
    test_youtube_vos,
)
from tests.helpers.cvat_xml import (
    as_polygon,
    document,
    drawable,
    element,
    labels,
    task,
    tracks_of,
    write_xml,
)
from tests.helpers.mask_pngs import of_classes, of_one_class
from tests.helpers.true_labels import make_video, true_videos, write_images
from tests.helpers.ytvis_content import content as ytvis_content

pytestmark = pytest.mark.usefixtures("scratch_catalog", "loggers_as_before")

FIRST, SECOND = true_videos(crowd=False)
BOTH = [FIRST, SECOND]
OF_ONE_CLASS = of_one_class(BOTH, "object")
DRIVING = ("car", "pedestrian")


@dataclass(frozen=True)
class Export:
    """What a tool writes, and what is done with it.

    Attributes:
        write: into an empty folder; gives the path that people name.
        model: one of ``MODELS``.
        classes: of the objects.
        frames: pattern of the folders of frames in whose place there may be video files; "": there may not.
        video: where these may be, relative to the folder of frames, without suffix; "": of its name.
    """

    write: Callable[[Path], Path]
    model: str
    classes: tuple[str, ...] = ("cat", "dog")
    frames: str = ""
    video: str = ""


def _burst(folder: Path) -> Path:
    for video in BOTH:
        place = folder / "val" / "HACS" / video.name
        write_images(video, place, "frame{:04d}.jpg", step=test_burst.STEP)
    return test_burst.write(folder, test_burst.content())


def _cvat_coco(folder: Path) -> Path:
    video = drawable(FIRST)
    images = [test_cvat_coco.image(k, k) for k in range(video.num_frames)]
    objects = [test_cvat_coco.from_truth(each, "polygon") for each in video.objects]
    write_images(video, folder / "images" / "default", "frame_{:06d}.PNG")
    return test_cvat_coco.write(folder, test_cvat_coco.content(images, objects))


def _cvat_images(folder: Path) -> Path:
    video = drawable(FIRST)
    meta = element("task", task(video.num_frames, extra=labels()))
    write_images(video, folder / "images", "frame_{:06d}.PNG")
    entries = test_cvat_images.images_of(video, as_polygon)
    return write_xml(folder, document(meta, *entries)).parent


def _cvat_mot(folder: Path) -> Path:
    for video in BOTH:
        root = test_cvat_mot.write(folder / video.name, test_cvat_mot.rows_of(video))
        write_images(video, root / "img1", "{:06d}.jpg", 1)
    return folder


def _cvat_video(folder: Path) -> Path:
    for video in map(drawable, BOTH):
        meta = element("task", task(video.num_frames, extra=labels()))
        write_xml(folder / video.name, document(meta, *tracks_of(video, as_polygon)))
        write_images(video, folder / video.name / "images", "frame_{:06d}.PNG")
    return folder


def _datumaro(folder: Path) -> Path:
    test_datumaro.write(folder, FIRST, "mask", path="")
    write_images(FIRST, folder / "images" / "default", "frame_{:06d}.PNG")
    return folder


def _davis(folder: Path) -> Path:
    test_davis.write_masks(OF_ONE_CLASS, folder / "Annotations" / "480p")
    for video in OF_ONE_CLASS:
        write_images(video, folder / "JPEGImages" / "480p" / video.name, "{:05d}.jpg")
    return folder


def _label_studio(folder: Path) -> Path:
    for video in BOTH:
        write_images(video, folder / video.name)
    return test_label_studio.write_truth(BOTH, folder)


def _labelme(folder: Path) -> Path:
    test_labelme.write([FIRST], folder)
    return folder


def _mot(folder: Path) -> Path:
    """In MOTChallenge's layout, of class 1 only."""
    for path in _cvat_mot(folder).glob("*/gt/labels.txt"):
        path.unlink()
    return folder


def _mots_of_cvat(folder: Path) -> Path:
    write_images(FIRST, folder / "default" / "images", "frame_{:06d}.PNG")
    return test_mots_png.write_cvat(FIRST, folder)


def _mots_of_kitti(folder: Path) -> Path:
    videos = of_classes(BOTH, {"dog": "car", "cat": "pedestrian"})
    for number, video in enumerate(videos):
        write_images(video, folder / "image_02" / f"{number:04d}", "{:06d}.png")
    return test_mots_png.write_kitti(videos, folder, "txt")


def _ytvis(folder: Path) -> Path:
    value = ytvis_content()
    for video in value["videos"]:
        for name in video["file_names"]:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (video["width"], video["height"])).save(folder / name)
    path = folder / "instances.json"
    path.write_text(json.dumps(value))
    return path


EXPORTS: dict[str, list[Export]] = {
    "bdd100k": [
        Export(
            lambda folder: test_bdd100k.write(folder, "box_track_20"),
            "TrackFormer",
            DRIVING,
            "images/track/train/*",
        ),
        Export(
            lambda folder: test_bdd100k.write(folder, "seg_track_20/rles"),
            "VisTR",
            DRIVING,
        ),
    ],
    "burst": [Export(_burst, "VisTR")],
    "coco": [Export(lambda folder: test_roboflow.write_truth(FIRST, folder / "train"), "DETR")],
    "cocovid": [Export(lambda folder: test_cocovid.write(folder, BOTH), "VisTR")],
    "cvat_coco": [Export(_cvat_coco, "VisTR", frames="images/default", video="../../any")],
    "cvat_images": [Export(_cvat_images, "DETR", frames="images", video="../clip")],
    "cvat_mot": [Export(_cvat_mot, "TrackFormer", frames="*/img1")],
    "cvat_video": [Export(_cvat_video, "VisTR", frames="*/images")],
    "datumaro": [Export(_datumaro, "VisTR", frames="images/default", video="../../any")],
    "davis": [Export(_davis, "VisTR", ("object",), frames="JPEGImages/480p/*")],
    "kitti": [
        Export(
            lambda folder: test_kitti.write(folder, BOTH),
            "TrackFormer",
            ("Car", "Pedestrian"),
            "image_02/*",
        )
    ],
    "label_studio": [
        Export(_label_studio, "TrackFormer", frames="clip_*"),
        Export(
            lambda folder: test_label_studio_images.write_truth(FIRST, folder, range(7)), "DETR"
        ),
    ],
    "labelme": [Export(_labelme, "DETR")],
    "mot": [Export(_mot, "TrackFormer", ("person",))],
    "mots_png": [
        Export(_mots_of_cvat, "VisTR", frames="default/images"),
        Export(_mots_of_kitti, "TrackFormer with masks", DRIVING, "image_02/*"),
    ],
    "sa_v": [
        Export(
            lambda folder: test_sa_v.write_train(OF_ONE_CLASS, folder / "sav_train"),
            "VisTR",
            ("object",),
        ),
        Export(
            lambda folder: test_sa_v.write_val(OF_ONE_CLASS, folder, empty=True),
            "VisTR",
            ("object",),
            "JPEGImages_24fps/*",
        ),
    ],
    "youtube_vos": [
        Export(lambda folder: test_youtube_vos.write(BOTH, folder), "VisTR", frames="JPEGImages/*")
    ],
    "ytvis": [Export(_ytvis, "VisTR", ("four", "nine"))],
}


def _cases():
    for name, exports in EXPORTS.items():
        for export in exports:
            for footage in ("as written", "video")[: 1 + bool(export.frames)]:
                yield pytest.param(name, export, footage, id=f"{name}-{export.model}-{footage}")


@pytest.mark.parametrize(("name", "export", "footage"), _cases())
def test_an_export_trains_a_model_and_is_scored_by_class(name, export, footage, tmp_path):
    path = export.write(tmp_path / "export")
    if footage == "video":
        for folder in [*(tmp_path / "export").glob(export.frames)]:
            make_video(folder, folder / f"{export.video or folder}.mp4")
    assert find_exports(str(path)).format == name
    name = register_path(str(path))
    load_records(name)
    num_classes = len(MetadataCatalog.get(name).thing_classes)
    keys = f"MODEL.{export.model.split()[0].upper()}.NUM_CLASSES", num_classes
    cfg = config(export.model, tmp_path / "output", *keys, data=str(path))
    if footage == "video":  # all its frames go through the mappers, which takes less time
        found = check_registered(name, train_cfg=cfg, test_cfg=cfg).findings
        assert not any(isinstance(each, Fault) for each in found)
        return
    results = train_and_test(cfg)
    ((task, metric),) = MODELS[export.model][1].items()
    by_class = {f"{metric}-{each}" for each in export.classes}
    if task == "mot" and len(export.classes) == 1:
        by_class = {metric}
    assert all(math.isfinite(results[task][key]) for key in by_class)


def test_no_format_is_missing():
    """Of panoptic labels, two folders must be named."""
    assert EXPORTS.keys() == RECOGNISERS.keys() - {"coco_panoptic"}
