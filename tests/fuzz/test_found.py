"""What the fuzzer has found, each by the smallest input that shows it; all are errors of one line now."""

import json
import pickle
import zipfile

import numpy as np
import pytest
from detectron2.data.datasets import register_coco_instances
from detectron2.modeling import build_model
from torch import nn

from d2video.checkpoint import VideoCheckpointer
from d2video.data.datasets.video_classification import load_video_list
from d2video.data.datasets.ytvis import load_ytvis_json
from d2video.data.loading import load_records
from d2video.evaluation.panoptic.evaluator import PanopticEvaluator
from d2video.evaluation.result_files import read_results
from d2video.evaluation.vis.ground_truth import YTVISGroundTruth
from d2video.formats.geometry.polygons import find_polygon_fault
from d2video.formats.mot_results import read_mots_results
from d2video.utils.errors import UserError
from d2video.video.video_reader import open_video
from tests.fuzz.targets_json import panoptic_content
from tests.fuzz.targets_media import write_video
from tests.helpers import ytvis_content
from tests.helpers.coco_sets import instance_content
from tests.helpers.ytvis_sets import small_annotations
from tests.projects.DETR.tiny import tiny_cfg

NAN = float("nan")


def test_messages_are_one_short_line():
    """They quote names and values of a stranger's file."""
    error = UserError("video a\r\nb\u2028\x1b[2Jc\ud800: " + "x" * 10**6 + " mend it")
    assert str(error).isprintable()
    assert str(error).startswith(r"video a\r\nb\u2028\x1b[2Jc\ud800: xxx")
    assert str(error).endswith("xxx mend it")
    assert len(str(error)) < 2000
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


@pytest.mark.parametrize(
    ("polygon", "message"),
    [
        ([0, 0, 4, 0, 4, 2**32], "numbers below"),  # a segmentation fault in pycocotools
        ([0, 0, 4, 0, 4, NAN], "numbers below"),
        ([0, 0, 4, 0, 4, True], "numbers below"),
        ([0, 0, 2**19, 2**19] * 9, "longer than"),  # gigabytes there
        ([0, 0, 4, 0, 4], "not pairs x, y"),
        ([5, 12, 8, 12, 8, 20], "outside the 10x10 image"),
    ],
)
def test_polygons(polygon, message):
    assert message in find_polygon_fault([[0, 0, 4, 0, 4, 4], polygon], 10, 10)


def test_sound_polygons():
    large, long = [-500.5, 0, 2000, 0, 4, 3000], [0, 0, 1, 0, 1, 1] * 5000
    assert find_polygon_fault([large, long, [0, 0, 4, 0]], 10, 10) is None


@pytest.mark.parametrize(
    ("key", "change", "message"),
    [
        (
            "annotations",
            {"segmentation": [[2, 4, 10, 4, 2**32, 10]]},
            "annotation 1: .*numbers",
        ),
        ("annotations", {"segmentation": {"size": [24, 32], "counts": [-9, 777]}}, "from 0 on"),
        ("annotations", {"segmentation": {"size": [2**40, 2], "counts": "0"}}, "mask's size"),
        ("annotations", {"bbox": [1, 2, NAN, 4]}, "bbox.*finite"),
        ("annotations", {"bbox": [1, 2, 10**400, 4]}, "bbox.*finite"),
        ("annotations", {"category_id": []}, "category_id"),
        ("annotations", {"id": 2}, "annotation 2: its id is there twice"),
        ("images", {"file_name": "../../x.jpg"}, "outside the image root"),
        ("images", {"height": "24"}, "its size"),
        ("categories", {"name": None}, "its name"),
    ],
)
def test_coco_files(tmp_path, scratch_catalog, key, change, message):
    content = instance_content()
    content[key][0].update(change)
    path = tmp_path / "a.json"
    path.write_text(json.dumps(content))
    register_coco_instances("mine", {}, str(path), str(tmp_path))
    with pytest.raises(UserError, match=rf"a\.json: .*{message}"):
        load_records("mine")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"file_name": "../5.png"}, "outside the folder"),
        ({"image_id": [5]}, "its image_id, .*, is not a whole number"),
        ({"segments_info": [{"id": 2**24, "category_id": 4}]}, "the id 16777216 of a segment"),
        ({"segments_info": [{"category_id": 4}]}, "the id null of a segment"),
        ({"segments_info": [{"id": 1, "category_id": {}}]}, "category id"),
    ],
)
def test_panoptic_files(tmp_path, change, message):
    content = panoptic_content()
    content["annotations"][0].update(change)
    path = tmp_path / "a.json"
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match=message):
        PanopticEvaluator(str(path), str(tmp_path), {}, {})


def test_deep_nesting(tmp_path):
    path = tmp_path / "results.json"
    path.write_text("[" * 100_000 + "]" * 100_000)
    for read in (read_results, YTVISGroundTruth.from_json, lambda p: load_ytvis_json(p, "")):
        with pytest.raises(UserError, match="nested too deeply"):
            read(str(path))


@pytest.mark.parametrize("area", [[1], NAN, 10**400, "1"])
def test_areas(area):
    content = small_annotations()
    content["annotations"][0]["areas"][0] = area
    with pytest.raises(UserError, match="areas must be numbers"):
        YTVISGroundTruth.from_dict(content)


def test_polygons_of_videos():
    content = ytvis_content.content()
    content["annotations"][2]["segmentations"][0] = [[0, 0, 4, 0, 4, 2.0**30]]
    with pytest.raises(UserError, match="annotation 13: segmentations, frame 0.*numbers below"):
        YTVISGroundTruth.from_dict(content)


def test_damaged_zip(tmp_path):
    path = tmp_path / "results.zip"
    with zipfile.ZipFile(path, "w", compression=zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("results.json", "[]" + 300 * " ")
    sound = path.read_bytes()
    place = sound.index(b"PK\1\2")
    for at, byte in ((place + 10, 99), (place + 42, 200), (40, 0)):  # method, offset, data
        damaged = bytearray(sound)
        damaged[at] = byte
        path.write_bytes(damaged)
        with pytest.raises(UserError, match=r"results\.zip is not a valid zip file"):
            read_results(path)


def test_masks_that_are_no_text():
    content = small_annotations()
    content["annotations"][0]["segmentations"][0]["counts"] = "\ud800"
    with pytest.raises(UserError, match="annotation 11: segmentations, frame 0.*not a COCO"):
        YTVISGroundTruth.from_dict(content)


def test_labels_of_many_digits(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("a.mp4 " + "9" * 5000)
    with pytest.raises(UserError, match="line 1: label .* is out of range"):
        load_video_list(str(path))


@pytest.mark.parametrize("text", ["'", "\0", "１x"])
def test_numbers_of_mots(tmp_path, text):
    path = tmp_path / "A.txt"
    path.write_text(f"1 {text} 2 4 4 @4\n")
    with pytest.raises(UserError, match="line 1: .* is not a number"):
        read_mots_results(path, range(1, 4))


@pytest.mark.parametrize(
    "overrides",
    [
        ("MODEL.RESNETS.DEPTH", 7),
        ("MODEL.RESNETS.NORM", "a"),
        ("MODEL.RESNETS.STEM_OUT_CHANNELS", -1),
        ("MODEL.RESNETS.DEFORM_ON_PER_STAGE", [True] * 4),  # detectron2 without its C code
    ],
    ids=str,
)
def test_models_that_cannot_be_built(overrides):
    key = overrides[0].replace(".", r"\.")
    with pytest.raises(UserError, match=f"^{key} is "):
        build_model(tiny_cfg(*overrides))


@pytest.mark.parametrize("state", [None, 3, {None: np.ones(2)}, {"a": None}])
def test_checkpoints(tmp_path, state):
    path = tmp_path / "a.pkl"
    path.write_bytes(pickle.dumps({"model": state, "__author__": "me"}))
    with pytest.raises(UserError, match="is not a tensor"):
        VideoCheckpointer(nn.Linear(2, 2)).load(str(path))


def test_video_without_a_decoder(tmp_path):
    path = tmp_path / "a.mkv"
    data = write_video(path, "mpeg4")
    assert b"V_MPEG4" in data
    path.write_bytes(data.replace(b"V_MPEG4", b"V_XXXXX"))
    with pytest.raises(UserError, match="no decoder for its codec"):
        open_video(path, prefetch=0)
