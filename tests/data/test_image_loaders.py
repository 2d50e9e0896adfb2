"""The loaders on datasets of images, as users give them."""

import itertools
import logging
from collections import Counter

import numpy as np
import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog

from d2video.config import get_cfg
from d2video.data import build_test_loader, build_train_loader
from d2video.data.loading import load_records
from d2video.data.records import object_classes
from d2video.utils.errors import UserError
from tests.helpers.coco_sets import (
    HEIGHT,
    WIDTH,
    annotation,
    instance_content,
    register_instances,
    register_panoptic,
    write_images,
)


@pytest.fixture
def cfg():
    cfg = get_cfg()
    cfg.DATASETS.TRAIN = ("mine",)
    cfg.INPUT.DATASET_MAPPER = "ImageDatasetMapper"
    cfg.INPUT.AUGMENTATIONS = []
    cfg.SOLVER.IMS_PER_BATCH = 2
    cfg.DATALOADER.NUM_WORKERS = 0
    cfg.MODEL.MASK_ON = True
    return cfg


@pytest.fixture
def folder(tmp_path, scratch_catalog):
    write_images(tmp_path)
    return tmp_path


def samples(cfg, number):
    stream = itertools.chain.from_iterable(build_train_loader(cfg))
    return list(itertools.islice(stream, number))


@pytest.mark.parametrize("unit", ["frame", "video"])
@pytest.mark.parametrize("grouping", [False, True])
def test_epoch_visits_every_image_with_objects_once(cfg, folder, unit, grouping):
    register_instances("mine", folder, instance_content())
    cfg.INPUT.EPOCH_UNIT = unit
    cfg.DATALOADER.ASPECT_RATIO_GROUPING = grouping
    assert build_train_loader(cfg).loader.epoch_length == 2
    got = samples(cfg, 4)
    assert Counter(s["image_id"] for s in got) == {5: 2, 9: 2}
    (crowded,) = [s for s in got[:2] if s["image_id"] == 5]
    assert crowded["instances"].gt_classes.tolist() == [1, 0]  # ids 9 and 4; the crowd left out

    cfg.DATALOADER.FILTER_EMPTY_ANNOTATIONS = False
    assert build_train_loader(cfg).loader.epoch_length == 3
    assert {s["image_id"] for s in samples(cfg, 4)} == {5, 2, 9}


def test_degenerate_boxes_are_left_out_with_one_warning(cfg, folder, caplog):
    content = instance_content()
    content["annotations"] += [
        annotation(10, 9, 9, [3, 3, 0, 5]),
        annotation(11, 9, 9, [3, 3, 5, -2]),
        annotation(12, 2, 4, [WIDTH, 3, 5, 5]),
        annotation(13, 2, 4, [-9, 3, 9, 5]),
        annotation(14, 5, 4, [-4, 3, 9, 5]),  # partly inside: stays
    ]
    register_instances("mine", folder, content)
    with caplog.at_level(logging.WARNING):
        assert build_train_loader(cfg).loader.epoch_length == 2
    (line,) = [r.message for r in caplog.records if "annotations are used" in r.message]
    assert "mine.json: 4 of 9 annotations are used" in line
    assert "2 whose box has no area, 2 whose box lies outside the image, 1 with iscrowd 1" in line
    got = {s["image_id"]: s["instances"].gt_classes.tolist() for s in samples(cfg, 2)}
    assert got == {5: [1, 0, 0], 9: [0]}


def test_rare_categories_are_repeated(cfg, folder):
    register_instances("mine", folder, instance_content())
    cfg.DATALOADER.SAMPLER_TRAIN = "RepeatFactorTrainingSampler"
    cfg.DATALOADER.REPEAT_THRESHOLD = 2.0
    # Class 1 is in one of two images, class 0 in both: sqrt(2 / 0.5) = 2 and, fractional, 1.41.
    cfg.INPUT.EPOCH_UNIT = "video"
    seen = Counter(s["image_id"] for s in samples(cfg, 400))
    assert 1.2 < seen[5] / seen[9] < 1.7


def test_panoptic_records(cfg, folder):
    ids = np.full((HEIGHT, WIDTH), 3)
    ids[5:9, 5:9] = 7
    segments = [{"id": 3, "category_id": 120}, {"id": 7, "category_id": 9, "iscrowd": 0}]
    crowd = [{"id": 3, "category_id": 4, "iscrowd": 1}]
    register_panoptic("mine", folder, {5: (ids, segments), 2: (ids, crowd)})
    assert build_train_loader(cfg).loader.epoch_length == 1
    got = samples(cfg, 2)
    assert [s["image_id"] for s in got] == [5, 5]
    assert got[0]["instances"].gt_classes.tolist() == [3, 1]
    assert [object_classes(r) for r in DatasetCatalog.get("mine")] == [[3, 1], []]
    tested = [batch[0] for batch in build_test_loader(cfg, "mine")]
    assert [s["image_id"] for s in tested] == [5, 2]


def test_testing_visits_every_image_once_in_order(cfg, folder):
    content = instance_content()
    content["images"][0]["file_name"] = "9.jpg"
    del content["annotations"]  # image_info_test files have none
    register_instances("mine", folder, content)
    cfg.INPUT.MIN_SIZE_TEST = 48
    for cfg.DATALOADER.NUM_WORKERS in (0, 1):
        batches = list(build_test_loader(cfg, "mine"))
        assert [[s["image_id"] for s in batch] for batch in batches] == [[2], [5], [9]]
    assert batches[0][0]["image"].shape == (3, 48, 64)


YTVIS = {
    "videos": [{"id": 1, "width": 3, "height": 3, "file_names": ["a.jpg"]}],
    "categories": [{"id": 1, "name": "one"}],
    "annotations": [{"id": 1, "video_id": 1, "category_id": 1, "bboxes": [], "segmentations": []}],
}
UNSIZED = instance_content()
for _image in UNSIZED["images"]:
    del _image["height"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "mine.json is not JSON .it is empty"),
        ('{"images": [', "Expecting value"),
        ("{}", "'categories' is missing"),
        ([], "it is a list"),
        (YTVIS, "'images' is missing"),
        ({"images": [], "annotations": [], "categories": []}, "'categories' is empty"),
        ({**instance_content(), "images": []}, "lists no images"),
        (UNSIZED, "image 5: it has no height"),
        (
            {**instance_content(), "categories": [{"id": 4, "name": "four"}]},
            "its category_id, 9, is not the id of a category",
        ),
    ],
)
def test_faulty_files(cfg, folder, content, message):
    register_instances("mine", folder, content)
    for build in (build_train_loader, lambda cfg: build_test_loader(cfg, "mine")):
        with pytest.raises(
            UserError, match=rf"dataset mine .*mine\.json.*{message}|{message}"
        ) as e:
            build(cfg)
        assert "\n" not in str(e.value)


@pytest.mark.parametrize("box", [[1, 2, 3], "wide", [1, 2, "x", 4], 5])
def test_faulty_boxes(cfg, folder, box):
    content = instance_content()
    content["annotations"][0]["bbox"] = box
    register_instances("mine", folder, content)
    with pytest.raises(
        UserError, match=r"mine\.json: annotation 1: its bbox, .* is not made of four"
    ):
        build_train_loader(cfg)


def test_missing_files(cfg, folder):
    path = register_instances("mine", folder, instance_content())
    (folder / "9.jpg").unlink()
    cfg.DATALOADER.MAX_RETRIES = 0
    with pytest.raises(UserError, match=r"image file .*9\.jpg does not exist"):
        samples(cfg, 2)
    path.unlink()
    with pytest.raises(UserError, match=r"mine\.json does not exist"):
        build_train_loader(cfg)
    ids = np.ones((HEIGHT, WIDTH), int)
    path = register_panoptic("whole", folder, {9: (ids, [{"id": 1, "category_id": 4}])})
    with pytest.raises(UserError, match=r"9\.jpg does not exist"):
        build_test_loader(cfg, "whole")
    path.unlink()
    with pytest.raises(UserError, match=r"whole\.json does not exist"):
        build_test_loader(cfg, "whole")


def test_image_of_another_size(cfg, folder):
    content = instance_content()
    del content["annotations"][2]  # whose RLE states the size
    for image in content["images"]:
        image["height"] += 2
    register_instances("mine", folder, content)
    with pytest.raises(UserError, match=r"\.jpg is 32x24 but its dataset says 32x26"):
        samples(cfg, 1)


def test_videos_and_the_image_mapper(cfg, folder):
    register_instances("mine", folder, instance_content())
    cfg.INPUT.DATASET_MAPPER = "ClipDatasetMapper"
    with pytest.raises(UserError, match="this dataset holds images: choose ImageDatasetMapper"):
        samples(cfg, 1)


def test_what_training_leaves_out_of_records_is_counted(cfg, folder, caplog):
    """Of any loader, here one of the user's own."""
    register_instances("mine", folder, instance_content())
    records = load_records("mine")
    records[-1]["annotations"].append({**records[-1]["annotations"][0], "bbox": [40, 1, 5, 5]})
    DatasetCatalog.register("counted", lambda: records)  # told once a name
    MetadataCatalog.get("counted").thing_classes = ["four", "nine"]
    cfg.DATASETS.TRAIN = ("counted",)
    with caplog.at_level(logging.WARNING):
        build_train_loader(cfg)
    assert (
        "dataset counted: 4 of 5 boxes are used; left out: 1 without area inside the image"
        in caplog.text
    )
    assert (
        "dataset counted: 2 of 3 videos or images are used; left out: 1 without objects "
        "(DATALOADER.FILTER_EMPTY_ANNOTATIONS)"
    ) in caplog.text
