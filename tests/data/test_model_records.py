"""Records as a model takes them: videos as they are, or an image a frame."""

import numpy as np
import pytest
from detectron2.data import MetadataCatalog

from d2video.config import get_cfg
from d2video.data import ImageDatasetMapper, build_train_loader
from d2video.data.datasets.mot import register_mot
from d2video.data.frame_annotations import FrameAnnotations
from d2video.data.frame_images import each_frame, frames_as_images
from d2video.data.loading import load_records
from d2video.data.model_records import label_use, records_for_testing, records_for_training
from d2video.utils.errors import UserError
from tests.helpers import true_sets
from tests.helpers.mot_folders import write_sequence
from tests.helpers.true_sets import register_true

pytestmark = pytest.mark.usefixtures("scratch_catalog")


def config(architecture, mapper="ImageDatasetMapper"):
    cfg = get_cfg()
    cfg.MODEL.META_ARCHITECTURE, cfg.INPUT.DATASET_MAPPER = architecture, mapper
    return cfg


def test_frames_as_images(tmp_path, monkeypatch):
    register_true(monkeypatch, "true", tmp_path)
    images = frames_as_images(load_records("true"))
    assert [image["image_id"] for image in images] == [*range(1, 8 + 5 + 1)]
    assert images[8]["file_name"].endswith("clip_a/00000.png")
    assert [len(image["annotations"]) for image in images] == [*map(int, "2232122012111")]
    assert [a["iscrowd"] for a in images[9]["annotations"]] == [0, 1]
    assert frames_as_images(images) == images
    mapper = ImageDatasetMapper(True, augmentations=[], with_masks=True)
    samples = each_frame(mapper, {**load_records("true")[1], "batch_number": 0})
    assert [len(sample["instances"]) for sample in samples] == [1] * 5  # no crowd


def test_objects_of_similar_classes_are_no_crowds():
    region = {"id": 1, "category_id": 0, "bbox": [0, 0, 4, 4], "bbox_mode": 1}
    record = {"file_names": ["a"], "height": 9, "width": 9, "length": 1, "annotations": [[]]}
    (image,) = frames_as_images([{**record, "ignored": [[region, {**region, "scored": False}]]}])
    assert image["annotations"] == [{**region, "iscrowd": 1}]
    del record["annotations"]
    assert "annotations" not in frames_as_images([record])[0]


def test_some_objects_without_masks():
    masks = np.empty(3, object)
    masks[:] = [None, {"size": [4, 4], "counts": b"08"}, None]
    columns = {"id": np.arange(3), "bbox": np.zeros((3, 4)), "segmentation": masks}
    frames = FrameAnnotations(2, np.array([0, 1, 1]), columns)
    assert ["segmentation" in each for frame in frames for each in frame] == [False, True, False]
    assert (frames.num_annotations, frames.count_without("segmentation")) == (3, 2)
    assert frames.count_without("visibility") == 3


def test_a_model_of_images_trains_on_the_frames_of_any_videos(tmp_path):
    root = write_sequence(
        tmp_path / "split" / "a", gt=["2,1,3,4,8,9,1,1,1", "3,1,3,4,8,9,1,1,1"]
    ).parent
    register_mot("videos", str(root), benchmark="MOT17")
    cfg = config("DETR")
    assert len(records_for_training(cfg, "videos", load_records("videos"))) == 6
    (record,) = records_for_testing(cfg, "videos", load_records("videos"))
    assert record["length"] == 6  # its evaluator is of videos
    cfg.merge_from_list(["DATASETS.TRAIN", ("videos",), "SOLVER.IMS_PER_BATCH", 1])
    cfg.DATALOADER.FILTER_EMPTY_ANNOTATIONS = True
    assert build_train_loader(cfg).loader.epoch_length == 2


def test_models_of_others(tmp_path, monkeypatch):
    register_true(monkeypatch, "true", tmp_path)
    records = load_records("true")
    assert (
        len(records_for_testing(config("GeneralizedRCNN", "DatasetMapper"), "true", records)) == 13
    )
    assert label_use(config("VTN", "VideoClipMapper")) is None
    for take in (records_for_training, records_for_testing):
        with pytest.raises(
            UserError, match="dataset true has labels of objects, and VTN is not for objects"
        ):
            take(config("VTN", "VideoClipMapper"), "true", records)
    vars(MetadataCatalog.get("true"))["evaluator_type"] = "another"
    assert records_for_training(config("VTN", "VideoClipMapper"), "true", records) is records


def test_labels_are_read_once_while_their_files_stay(tmp_path, monkeypatch):
    register_true(monkeypatch, "true", tmp_path)
    first = load_records("true")
    monkeypatch.setattr(true_sets, "true_videos", lambda **_: [])
    again = load_records("true")
    assert [each["sequence"] for each in again] == ["clip_b", "clip_a"]
    again[0]["file_names"].clear()
    assert load_records("true")[0]["file_names"] == first[0]["file_names"]
    with pytest.raises(UserError, match="holds no labelled frame"):
        load_records("true", [].append)  # for d2video check
    assert load_records("true")
    (tmp_path / "clip_a" / "00000.png").write_bytes(b"edited")
    with pytest.raises(UserError, match="holds no labelled frame"):
        load_records("true")
