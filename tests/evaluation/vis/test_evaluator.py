"""The evaluator as detectron2 drives it."""

import copy
import json
import logging
import math
import zipfile

import pycocotools.mask as coco_mask
import pytest
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog

from d2video.evaluation import EVALUATOR_REGISTRY, YTVISEvaluator, build_evaluator
from d2video.evaluation.vis.ground_truth import YTVISGroundTruth
from d2video.evaluation.vis.results import check_results
from d2video.utils.errors import UserError
from tests.helpers.ytvis_sets import (
    GOLDEN,
    answers_of,
    load_json,
    repaired_set_c,
    small_annotations,
)

METRICS = ["AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10"]


def _evaluator(truth: YTVISGroundTruth, folder) -> YTVISEvaluator:
    return YTVISEvaluator(truth, {c: k for k, c in enumerate(truth.categories)}, str(folder))


def _set_a() -> tuple[YTVISGroundTruth, list[dict], list[dict]]:
    truth = YTVISGroundTruth.from_json(str(GOLDEN / "ytvis_a_gt.json"))
    return truth, *answers_of(truth, load_json("ytvis_a_results.json"))


def _check_set_a(results: dict) -> None:
    expected = load_json("ytvis_expected.json")["a/results"]
    assert list(results) == ["segm"]
    segm = results["segm"]
    assert list(segm)[: len(METRICS)] == METRICS
    for name in METRICS:
        assert segm[name] == pytest.approx(100 * expected["stats"][name], abs=1e-10)
    assert segm["AP-thr_exact"] == pytest.approx(100 * expected["per_category"]["1"]["AP"])
    assert math.isnan(segm["AP-absent"])


def test_golden_set_a_through_the_evaluator(tmp_path):
    truth, inputs, outputs = _set_a()
    before = copy.deepcopy(outputs)
    evaluator = _evaluator(truth, tmp_path)
    evaluator.reset()
    for pair in zip(inputs, outputs):
        evaluator.process(*([each] for each in pair))
    # The distributed sampler repeats videos; the first answer stays.
    nothing = {**outputs[0], "pred_scores": [], "pred_labels": [], "pred_masks": []}
    evaluator.process(inputs[:1], [nothing])
    _check_set_a(evaluator.evaluate())
    assert outputs == before

    written = json.loads((tmp_path / "results.json").read_text())
    key = lambda entry: json.dumps(entry, sort_keys=True)  # noqa: E731
    assert sorted(written, key=key) == sorted(load_json("ytvis_a_results.json"), key=key)
    check_results(written, truth)
    with zipfile.ZipFile(tmp_path / "results.zip") as archive:
        assert json.loads(archive.read("results.json")) == written

    evaluator.reset()
    assert evaluator.evaluate()["segm"]["AP"] == 0.0  # nothing was predicted


def test_dense_masks_equal_rle(tmp_path):
    truth, inputs, outputs = _set_a()
    evaluator = _evaluator(truth, tmp_path)
    for given, answer in zip(inputs, outputs):
        height, width = answer["image_size"]
        num_frames = truth.videos[given["video_id"]].num_frames
        dense = torch.zeros(len(answer["pred_masks"]), num_frames, height, width, dtype=torch.bool)
        for n, track in enumerate(answer["pred_masks"]):
            for t, mask in enumerate(track):
                if mask is not None:
                    dense[n, t] = torch.from_numpy(coco_mask.decode(mask)).bool()
        scores = torch.tensor(answer["pred_scores"], dtype=torch.float64)
        evaluator.process([given], [{**answer, "pred_masks": dense, "pred_scores": scores}])
    _check_set_a(evaluator.evaluate())


def test_without_labels_only_the_files_are_written(tmp_path, caplog):
    content = {**load_json("ytvis_a_gt.json"), "annotations": None}
    truth = YTVISGroundTruth.from_dict(content, source="valid.json")
    _, inputs, outputs = _set_a()
    evaluator = _evaluator(truth, tmp_path)
    evaluator.process(inputs, outputs)
    with caplog.at_level(logging.INFO):
        assert evaluator.evaluate() == {}
    assert "valid.json has no labels" in caplog.text
    assert len(json.loads((tmp_path / "results.json").read_text())) == 63
    assert (tmp_path / "results.zip").is_file()


def test_videos_without_an_answer_count_as_missed(tmp_path, caplog):
    truth = YTVISGroundTruth.from_dict(small_annotations())
    masks = [truth.videos[1].tracks[0].masks]
    answer = {
        "image_size": (20, 30),
        "pred_scores": [0.5],
        "pred_labels": [0],
        "pred_masks": masks,
    }
    evaluator = _evaluator(truth, tmp_path)
    evaluator.process([{"video_id": 1}], [answer])
    segm = evaluator.evaluate()["segm"]
    assert segm["AP-three"] == pytest.approx(100.0)
    assert segm["AP-eight"] == 0.0
    assert "1 of 2 videos have no answer" in caplog.text


def _answer(**fields) -> dict:
    mask = small_annotations()["annotations"][0]["segmentations"][0]
    answer = {
        "image_size": (20, 30),
        "pred_scores": [0.5],
        "pred_labels": [1],
        "pred_masks": [[mask, None, None]],
    }
    return {**answer, **fields}


@pytest.mark.parametrize(
    ("video_id", "answer", "message"),
    [
        (7, _answer(), "video 7 is not in"),
        (2, _answer(image_size=(30, 20)), r"image_size is \[30, 20\]"),
        (
            2,
            _answer(pred_labels=[2]),
            "prediction 0: label 2 is not one of the dataset's 2 classes",
        ),
        (2, _answer(pred_scores=[math.nan]), "prediction 0: score nan"),
        (2, _answer(pred_scores=[]), "1 pred_labels, 0 pred_scores and 1 pred_masks"),
        (2, _answer(pred_masks=[[None, None]]), "prediction 0: 2 masks for 3 frames"),
        (2, _answer(pred_masks=torch.zeros(1, 4, 20, 30, dtype=torch.bool)), "4 masks for 3"),
        (
            2,
            _answer(pred_masks=[[None, {"size": [10, 15], "counts": b"f4"}, None]]),
            r"video 2, prediction 0, frame 1: the mask's size is \[10, 15\]",
        ),
        (
            2,
            _answer(pred_masks=torch.ones(1, 3, 10, 15, dtype=torch.bool)),
            r"prediction 0, frame 0: the mask's size is \[10, 15\]",
        ),
    ],
)
def test_wrong_answers_are_errors(tmp_path, video_id, answer, message):
    evaluator = _evaluator(YTVISGroundTruth.from_dict(small_annotations()), tmp_path)
    with pytest.raises(UserError, match=message):
        evaluator.process([{"video_id": video_id}], [answer])


@pytest.mark.parametrize("entry", [1, 2, 4, 5])
def test_wrong_lengths_and_sizes_of_golden_set_c(tmp_path, entry):
    annotations, _ = repaired_set_c()
    truth = YTVISGroundTruth.from_dict(annotations)
    faulty = load_json("ytvis_c_results.json")[entry - 1 : entry]
    with pytest.raises(UserError, match="prediction 0"):
        _evaluator(truth, tmp_path).process(*answers_of(truth, faulty))


@pytest.fixture
def dataset(tmp_path):
    """A registered data set with set a's labels; its category ids are set when it is loaded."""
    name = f"evaluator_test_{tmp_path.name}"
    labels = GOLDEN / "ytvis_a_gt.json"

    def load() -> list[dict]:
        MetadataCatalog.get(name).thing_dataset_id_to_contiguous_id = {i + 1: i for i in range(8)}
        return [{"video_id": 1}]

    DatasetCatalog.register(name, load)
    MetadataCatalog.get(name).set(json_file=str(labels), evaluator_type="ytvis")
    yield name
    DatasetCatalog.remove(name)
    MetadataCatalog.remove(name)


def test_built_for_a_registered_dataset(dataset, tmp_path):
    assert "ytvis" in EVALUATOR_REGISTRY
    evaluator = build_evaluator(dataset, str(tmp_path))
    assert isinstance(evaluator, YTVISEvaluator)
    _, inputs, outputs = _set_a()
    evaluator.process(inputs, outputs)
    _check_set_a(evaluator.evaluate())


@pytest.mark.parametrize("evaluator_type", [None, "unheard_of"])
def test_datasets_that_cannot_be_evaluated(evaluator_type, tmp_path):
    name = f"cannot_be_evaluated_{evaluator_type}"
    if evaluator_type is not None:
        MetadataCatalog.get(name).evaluator_type = evaluator_type
    with pytest.raises(UserError, match=f"dataset {name} cannot be evaluated"):
        build_evaluator(name, str(tmp_path))


def test_category_ids_of_another_file(tmp_path):
    truth = YTVISGroundTruth.from_dict(small_annotations())
    with pytest.raises(UserError, match="category id 5"):
        YTVISEvaluator(truth, {3: 0, 5: 1}, str(tmp_path))
