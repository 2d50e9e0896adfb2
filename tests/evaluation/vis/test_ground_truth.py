import copy

import numpy as np
import pycocotools.mask as coco_mask
import pytest

from d2video.evaluation.vis.accumulate import accumulate, match
from d2video.evaluation.vis.ground_truth import YTVISGroundTruth
from d2video.utils.errors import UserError
from tests.helpers.ytvis_sets import small_annotations, units_of


def test_all_mask_formats_give_the_same_track_and_nothing_is_changed():
    content = small_annotations()
    compressed = content["annotations"][0]["segmentations"]
    binary = coco_mask.decode(compressed[0])
    runs = np.diff(np.flatnonzero(np.diff(binary.ravel(order="F"), prepend=0)), prepend=0)
    uncompressed = {"size": [20, 30], "counts": [*runs.tolist(), 600 - int(runs.sum())]}
    polygon = [[3, 2, 13, 2, 13, 12, 3, 12]]
    for mask in (uncompressed, polygon):
        track = {**content["annotations"][0], "segmentations": [mask, None, []]}
        given = {**content, "annotations": [track]}
        before = copy.deepcopy(given)
        masks = YTVISGroundTruth.from_dict(given).videos[1].tracks[0].masks
        np.testing.assert_array_equal(coco_mask.decode(masks[0]), binary)
        assert masks[1:] == [None, None]
        assert given == before


def test_missing_fields_have_defined_values():
    content = small_annotations()
    for annotation in content["annotations"]:
        del annotation["areas"], annotation["iscrowd"]
    content["annotations"][0]["segmentations"][2] = None
    track = YTVISGroundTruth.from_dict(content).videos[1].tracks[0]
    assert (track.is_crowd, track.area) == (False, 100.0)


def test_area_is_the_mean_over_visible_frames_of_the_file():
    content = small_annotations()
    content["annotations"][0]["areas"] = [7, 0, 12]
    content["annotations"][1]["areas"] = [None, None, None]
    videos = YTVISGroundTruth.from_dict(content).videos
    assert [videos[i].tracks[0].area for i in (1, 2)] == [9.5, 0.0]


@pytest.mark.parametrize("annotations", [None, "missing"])
def test_splits_without_labels(annotations):
    content = {**small_annotations(), "annotations": annotations}
    if annotations == "missing":
        del content["annotations"]
    truth = YTVISGroundTruth.from_dict(content)
    assert not truth.has_labels
    assert list(truth.videos) == [1, 2]
    assert list(truth.categories.items()) == [(3, "three"), (8, "eight")]


def _with(**fields):
    def change(content):
        content["annotations"][0].update(fields)

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_with(id=12), "annotation 12: its id is there twice"),
        (_with(video_id=5), "annotation 11: its video 5 is not"),
        (_with(category_id=5), "annotation 11: its category 5 is not"),
        (_with(segmentations=[None]), "segmentations must have one entry for each of the 3 frames"),
        (_with(areas=[1, 2]), "areas must have one entry for each of the 3 frames"),
        (_with(areas=["x", None, None]), "areas must be numbers"),
        (
            _with(segmentations=[None, {"size": [10, 30], "counts": "T9"}, None]),
            r"annotation 11: segmentations, frame 1: .*\[10, 30\]",
        ),
        (
            _with(segmentations=[None, {"size": [20, 30], "counts": [10, 5]}, None]),
            "annotation 11: segmentations, frame 1",
        ),
        (_with(segmentations=[None, None, [[1, 2, 3, 4, 5]]]), "frame 2: a polygon"),
        (lambda content: content.update(annotations={}), "'annotations' must be a list"),
        (lambda content: content.pop("videos"), "no list 'videos'"),
        (
            _with(segmentations=[{"size": [20, 30], "counts": ["a"]}, None, None]),
            "frame 0: the runs",
        ),
        (_with(segmentations=[[["a"] * 6], None, None]), "frame 0: the coordinates of a polygon"),
        (
            lambda content: content["videos"][1].pop("height"),
            "video 2: its height, null, is not a whole number",
        ),
        (lambda content: content["videos"][1].update(id=1), "video 1: it is there twice"),
        (
            lambda content: content["categories"][1].update(name="eight"),
            "its name, .eight., is there",
        ),
        (lambda content: content.pop("categories"), "'categories' must be a list"),
    ],
)
def test_faults_are_named(change, message):
    content = small_annotations()
    change(content)
    with pytest.raises(UserError, match=message):
        YTVISGroundTruth.from_dict(content, source="labels.json")


def test_annotation_0_is_found_as_others_are():
    """The official code takes id 0 for no match."""
    scores = []
    for first in (0, 11):
        content = small_annotations()
        content["annotations"][0]["id"] = first
        truth = YTVISGroundTruth.from_dict(content)
        results = [{**track, "score": 0.9} for track in content["annotations"]]
        units = units_of(truth, results)
        scores.append(accumulate(units, match(units), [*truth.categories]).summarize()["AP"])
    assert scores == pytest.approx([1, 1])


def test_files_that_are_none(tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        YTVISGroundTruth.from_json(str(tmp_path / "none.json"))
    (tmp_path / "broken.json").write_text('{"videos": [')
    with pytest.raises(UserError, match=r"broken\.json is not JSON"):
        YTVISGroundTruth.from_json(str(tmp_path / "broken.json"))
