"""More masks than a byte counts, 300, in one sequence, frame or image: wherever they go to pycocotools.

Its ``area`` of a list (2.0.11, numpy 2) fails above 255; d2video/formats/geometry/rle.py has the way round.
"""

import numpy as np
import pycocotools.mask as coco_mask
import pytest
import torch
from detectron2.data.datasets import register_coco_instances
from detectron2.structures import Instances

from d2video.data.clip_sampling import WindowSampler
from d2video.data.datasets.coco_tracks import register_coco_tracks
from d2video.data.datasets.mot import register_mot
from d2video.data.datasets.ytvis import register_ytvis_instances
from d2video.data.loading import load_records
from d2video.data.mappers.clip import ClipDatasetMapper
from d2video.data.mappers.image import ImageDatasetMapper
from d2video.evaluation import build_evaluator
from d2video.formats.geometry.rle import encode_masks, mask_areas, to_rle
from d2video.formats.mot_results import mots_results
from d2video.synthetic import files
from tests.helpers.mot_folders import write_sequence
from tests.helpers.perfect_answers import perfect_answers

pytestmark = pytest.mark.usefixtures("scratch_catalog")

COUNT, NAME = 300, "many_masks"
SIZE = (24, 32)


@pytest.fixture(scope="module")
def masks():
    """(300, 24, 32) bool: masks of two pixels that do not overlap."""
    cells = np.arange(SIZE[0] * SIZE[1]).reshape(SIZE) // 2
    return cells == np.arange(COUNT)[:, None, None]


@pytest.fixture(scope="module")
def codes(masks):
    return [{**code, "counts": code["counts"].decode()} for code in encode_masks(masks)]


def perfect_score(tmp_path):
    evaluator = build_evaluator(NAME, str(tmp_path / "results"))
    evaluator.reset()
    evaluator.process(*perfect_answers(NAME, load_records(NAME)))
    return evaluator.evaluate()


@pytest.fixture
def mots(tmp_path, codes):
    lines = [f"1 {k} 2 {SIZE[0]} {SIZE[1]} {code['counts']}" for k, code in enumerate(codes)]
    write_sequence(tmp_path / "sets" / "A", length=2, gt=lines)
    register_mot(NAME, str(tmp_path / "sets"), benchmark="MOTS20")


def coco_content(codes):
    fields = {"file_name": "A/img1/000001.png", "height": SIZE[0], "width": SIZE[1]}
    image = {"id": 1, "frame_id": 0, "video_id": 1, **fields}
    annotations = [
        {"id": k, "image_id": 1, "category_id": 1, "track_id": k, "segmentation": code}
        | {"bbox": coco_mask.toBbox(code).tolist(), "area": 2, "iscrowd": 0}
        for k, code in enumerate(codes, 1)
    ]
    categories = [{"id": 1, "name": "thing"}]
    return {"images": [image], "annotations": annotations, "categories": categories}


def test_mots_are_loaded_and_scored(mots, tmp_path):
    (record,) = load_records(NAME)
    assert len(record["annotations"][0]) == COUNT
    assert perfect_score(tmp_path)["mot"]["sMOTSA"] == 100


def test_masks_of_tracks_in_coco_are_scored(tmp_path, codes, write_json):
    write_sequence(tmp_path / "A", length=1)
    register_coco_tracks(NAME, write_json(coco_content(codes)), str(tmp_path), masks=True)
    assert len(load_records(NAME)[0]["annotations"][0]) == COUNT
    assert perfect_score(tmp_path)["mot"]["sMOTSA"] == 100


def test_results_of_masks(masks):
    frame = Instances(SIZE, track_ids=torch.arange(COUNT), pred_masks=torch.from_numpy(masks))
    assert len(mots_results([frame])) == COUNT


def test_videos_are_mapped_and_scored(tmp_path, codes, write_json):
    write_sequence(tmp_path / "A", length=2)
    names = [f"A/img1/{t:06d}.png" for t in (1, 2)]
    video = {"id": 1, "file_names": names, "length": 2, "height": SIZE[0], "width": SIZE[1]}
    annotations = [
        {"id": k, "video_id": 1, "category_id": 1, "iscrowd": 0, "segmentations": [code, code]}
        | {"bboxes": [coco_mask.toBbox(code).tolist()] * 2, "areas": [2, 2]}
        for k, code in enumerate(codes, 1)
    ]
    categories = [{"id": 1, "name": "thing"}]
    content = {"videos": [video], "annotations": annotations, "categories": categories}
    register_ytvis_instances(NAME, {}, write_json(content), str(tmp_path))
    (record,) = load_records(NAME)
    mapper = ClipDatasetMapper(True, augmentations=[], sampler=WindowSampler(num_frames=1))
    assert len(mapper(record)["instances"][0]) == COUNT
    assert perfect_score(tmp_path)["segm"]["AP"] > 0


def test_images_are_mapped_and_scored(tmp_path, codes, write_json):
    write_sequence(tmp_path / "A", length=1)
    register_coco_instances(NAME, {}, write_json(coco_content(codes)), str(tmp_path))
    (record,) = load_records(NAME)
    mapper = ImageDatasetMapper(True, augmentations=[], with_masks=True)
    assert len(mapper(record)["instances"]) == COUNT
    assert perfect_score(tmp_path)["segm"]["AP"] > 0


def test_generated_masks(masks):
    codes, areas, boxes = files.encode_masks(masks)
    assert (len(codes), areas, len(boxes)) == (COUNT, [2] * COUNT, COUNT)


def test_polygons_of_one_object():
    polygons = [[x, 0, x + 1, 0, x + 1, 1, x, 1] for x in range(COUNT)]
    assert mask_areas([to_rle(polygons, 2, COUNT)]).tolist() == [COUNT]
