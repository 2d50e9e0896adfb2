"""Annotation and result files in JSON, read as training and evaluation read them."""

import itertools
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.data.datasets import register_coco_instances
from PIL import Image

from d2video.data.clip_sampling import WindowSampler
from d2video.data.datasets.coco_panoptic import register_coco_panoptic
from d2video.data.datasets.coco_tracks import register_coco_tracks
from d2video.data.datasets.crowdhuman import load_crowdhuman
from d2video.data.datasets.ytvis import load_ytvis_json, register_ytvis_instances
from d2video.data.loading import load_records
from d2video.data.mappers.clip import ClipDatasetMapper
from d2video.data.mappers.image import ImageDatasetMapper
from d2video.data.records import is_labelled, object_classes, without_degenerate_boxes
from d2video.evaluation.coco import COCOInstanceEvaluator
from d2video.evaluation.mot.ground_truth import MOTGroundTruth
from d2video.evaluation.panoptic.evaluator import PanopticEvaluator
from d2video.evaluation.result_files import read_results
from d2video.evaluation.vis.ground_truth import YTVISGroundTruth
from d2video.evaluation.vis.results import check_results
from tests.fuzz.mutators import mutate_bytes, mutate_structure, to_json
from tests.fuzz.session import MakeInput, target
from tests.helpers import coco_sets, ytvis_content
from tests.helpers.ytvis_sets import small_annotations, units_of


@contextmanager
def scratch_names(*names: str) -> Iterator[None]:
    """Data sets of these names are known within alone."""
    try:
        yield
    finally:
        for name in names:
            DatasetCatalog.pop(name, None)
            MetadataCatalog.pop(name, None)


def structures(path: Path, seeds: list[Any], read: Callable[[], Any]) -> MakeInput:
    """Inputs that are one file of JSON."""

    def make_input(rng: random.Random) -> Callable[[], Any]:
        path.write_bytes(to_json(rng, mutate_structure(rng, rng.choice(seeds))))
        return read

    return make_input


def plain_rle() -> dict[str, Any]:
    mask = ytvis_content.rectangle_mask(3, 4, 8, 6)
    return ytvis_content.compressed_rle(mask)


@target("ytvis", 3500)
def ytvis(folder: Path) -> MakeInput:
    path = folder / "a.json"

    def read() -> None:
        name = "fuzz_ytvis"
        with scratch_names(name):
            register_ytvis_instances(name, {}, str(path), str(folder))
            for record in filter(is_labelled, load_records(name)):
                object_classes(record)
        load_ytvis_json(str(path), str(folder))

    return structures(path, [ytvis_content.content()], read)


@target("ytvis_truth", 2000)
def ytvis_truth(folder: Path) -> MakeInput:
    path = folder / "a.json"

    def read() -> None:
        units_of(YTVISGroundTruth.from_json(str(path)), [])

    return structures(path, [small_annotations(), ytvis_content.content()], read)


@target("ytvis_results", 2000)
def ytvis_results(folder: Path) -> MakeInput:
    truth = YTVISGroundTruth.from_dict(small_annotations())
    masks = small_annotations()["annotations"][0]["segmentations"]
    seed = [
        {"video_id": v, "category_id": c, "score": s, "segmentations": masks}
        for v, c, s in ((1, 3, 0.9), (1, 8, 0.5), (2, 8, 0.7))
    ]

    def read() -> None:
        content = read_results(folder / "results.json")
        check_results(content, truth, "results.json")
        units_of(truth, content)

    return structures(folder / "results.json", [seed], read)


@target("ytvis_results_zip", 700)
def ytvis_zip(folder: Path) -> MakeInput:
    import zipfile

    path = folder / "results.zip"
    with zipfile.ZipFile(path, "w", compression=zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("results.json", "[]" + 300 * " ")
    seed = path.read_bytes()

    def make_input(rng: random.Random) -> Callable[[], Any]:
        path.write_bytes(mutate_bytes(rng, seed))
        return lambda: read_results(path)

    return make_input


@target("ytvis_clips", 600)
def ytvis_clips(folder: Path) -> MakeInput:
    """What is accepted can be trained on, too."""
    path = folder / "a.json"
    rng = np.random.default_rng(0)
    for video, t in itertools.product(("first", "second"), range(ytvis_content.LENGTH)):
        (folder / video).mkdir(exist_ok=True)
        pixels = rng.integers(
            0, 256, (ytvis_content.HEIGHT, ytvis_content.WIDTH, 3), dtype=np.uint8
        )
        Image.fromarray(pixels).save(folder / video / f"{t:05d}.png")
    mapper = ClipDatasetMapper(True, sampler=WindowSampler(num_frames=2), augmentations=[])

    def read() -> None:
        records = load_ytvis_json(str(path), str(folder))
        for record in without_degenerate_boxes(records, "fuzz")[:2]:
            if is_labelled(record):
                mapper(record)

    return structures(path, [ytvis_content.content()], read)


def tracks_content() -> dict[str, Any]:
    image = {"height": 24, "width": 32}
    boxes = [
        {
            "id": i,
            "image_id": i,
            "track_id": 1,
            "category_id": 9,
            "bbox": [i, 2, 8, 6],
            "area": 48,
            "iscrowd": 0,
            "visibility": 0.5,
            "segmentation": [[i, 2, i + 8, 2, i + 8, 8]] if i % 2 else plain_rle(),
        }
        for i in (1, 2, 3)
    ]
    return {
        "categories": [{"id": 9, "name": "dog"}],
        "videos": [{"id": 5, "name": "five"}],
        "images": [
            {
                "id": i,
                "file_name": f"5/{i}.jpg",
                "frame_id": i,
                "video_id": 5,
                "seq_length": 3,
                **image,
            }
            for i in (1, 2, 3)
        ],
        "annotations": boxes,
    }


@target("coco_tracks", 3000)
def coco_tracks(folder: Path) -> MakeInput:
    path, name = folder / "a.json", "fuzz_tracks"

    def read() -> None:
        with scratch_names(name):
            register_coco_tracks(name, str(path), str(folder))
            for record in filter(is_labelled, load_records(name)):
                object_classes(record)
            assert MOTGroundTruth.from_dataset(name).sequences

    return structures(path, [tracks_content()], read)


@target("coco_instances", 1500)
def coco_instances(folder: Path) -> MakeInput:
    path, name = folder / "a.json", "fuzz_coco"
    coco_sets.write_images(folder)
    mapper = ImageDatasetMapper(True, augmentations=[], with_masks=True)

    def read() -> None:
        with scratch_names(name):
            register_coco_instances(name, {}, str(path), str(folder))
            for record in without_degenerate_boxes(load_records(name), name)[:1]:
                if is_labelled(record):
                    object_classes(record)
                    mapper(record)

    return structures(path, [coco_sets.instance_content()], read)


@target("coco_evaluator", 800)
def coco_evaluator(folder: Path) -> MakeInput:
    path, name = folder / "a.json", "fuzz_coco"

    def read() -> None:
        with scratch_names(name):
            register_coco_instances(name, {}, str(path), str(folder))
            COCOInstanceEvaluator.from_dataset(name, str(folder))

    return structures(path, [coco_sets.instance_content()], read)


def panoptic_content() -> dict[str, Any]:
    segments = [{"id": 7, "category_id": 4, "iscrowd": 0, "area": 20, "bbox": [0, 0, 4, 5]}]
    segments.append({"id": 300, "category_id": 100, "iscrowd": 0, "area": 20, "bbox": [0, 0, 4, 5]})
    return {
        "images": [{"id": 5, "file_name": "5.jpg"}, {"id": 2, "file_name": "2.jpg"}],
        "categories": [
            {"id": 4, "name": "four", "isthing": 1},
            {"id": 9, "name": "nine", "isthing": 1},
            {"id": 100, "name": "grass", "isthing": 0},
        ],
        "annotations": [
            {"image_id": i, "file_name": f"{i}.png", "segments_info": segments} for i in (5, 2)
        ],
    }


def write_panoptic_pictures(folder: Path) -> None:
    """Those of :func:`panoptic_content`."""
    coco_sets.write_images(folder)
    ids = np.full((coco_sets.HEIGHT, coco_sets.WIDTH), 7)
    ids[5:] = 300
    for image_id in (5, 2):
        coco_sets.save_ids(folder / f"{image_id}.png", ids)


@target("coco_panoptic", 2000)
def coco_panoptic(folder: Path) -> MakeInput:
    path, name = folder / "a.json", "fuzz_panoptic"
    write_panoptic_pictures(folder)
    mapper = ImageDatasetMapper(True, augmentations=[], with_masks=True)

    def read() -> None:
        with scratch_names(name):
            register_coco_panoptic(name, {}, str(folder), str(folder), str(path))
            for record in without_degenerate_boxes(load_records(name), name)[:1]:
                if is_labelled(record):
                    object_classes(record)
                    mapper(record)
            PanopticEvaluator.from_dataset(name).evaluate()

    return structures(path, [panoptic_content()], read)


def crowdhuman_content() -> list[dict[str, Any]]:
    """Lines of a file."""
    person = {
        "tag": "person",
        "fbox": [-4, 5, 60, 70.5],
        "vbox": [0, 0, 1, 1],
        "extra": {"ignore": 0},
    }
    return [
        {"ID": "27,c9d", "gtboxes": [person, {"tag": "mask", "fbox": [0, 0, 9, 9]}]},
        {"ID": "1,a", "gtboxes": [person]},
    ]


def json_lines(path: Path, lines: list[Any], read: Callable[[], Any]) -> MakeInput:
    """Inputs that are one file with JSON in each line."""

    def make_input(rng: random.Random) -> Callable[[], Any]:
        bent = mutate_structure(rng, lines)
        path.write_bytes(
            b"\n".join(to_json(rng, b) for b in (bent if isinstance(bent, list) else [bent]))
        )
        return read

    return make_input


@target("crowdhuman", 1500)
def crowdhuman(folder: Path) -> MakeInput:
    path = folder / "a.odgt"

    def read() -> None:
        for record in without_degenerate_boxes(load_crowdhuman(str(path), str(folder)), "fuzz"):
            object_classes(record)

    return json_lines(path, crowdhuman_content(), read)
