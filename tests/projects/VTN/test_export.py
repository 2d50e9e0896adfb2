"""VTN as ONNX files, run without torch, against the model."""

import cv2
import numpy as np
import pytest

from d2video.deploy import Runner
from d2video.export import write_export
from d2video.inference.predictor import Predictor
from tests.deploy.without_torch import run_without_torch
from tests.helpers.small_backbone import SMALL_BACKBONE
from tests.projects.VTN.tiny import build, tiny_cfg

pytestmark = pytest.mark.slow

# Features of at most 6 frames, so that the stream thins them out.
OPTIONS = [
    *(*SMALL_BACKBONE, "MODEL.RESNETS.OUT_FEATURES", ["res5"], "INPUT.FORMAT", "BGR"),
    *("INPUT.CLASSIFICATION.CROP_SIZE_TEST", 32, "INPUT.MIN_SIZE_TEST", 40),
    *("INPUT.MAX_SIZE_TEST", 0, "MODEL.VTN.STREAM_MAX_FRAMES", 6),
]


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("exported")
    model, cfg = build("resnet", *OPTIONS), tiny_cfg("resnet", *OPTIONS)
    differences = write_export(model, cfg, "onnx", folder)
    predictor = Predictor(model=model, min_size=40, max_size=0, image_format="BGR")
    return predictor, folder, differences


def frames(count):
    """Random frames, each brighter than the one before."""
    pixels = np.random.default_rng(0).integers(0, 256, (50, 70, 3))
    return [np.clip(pixels * (1 + t) / count, 0, 255).astype(np.uint8) for t in range(count)]


def test_graphs_are_the_model(exported):
    assert exported[2].keys() == {"features", "temporal"}
    assert max(exported[2].values()) <= 1e-4


def test_the_runner_answers_as_the_predictor(exported):
    predictor, folder, _ = exported
    video = frames(20)
    answers = [*Runner(folder, threads=1)(video)]
    scores = [frame.class_scores.numpy() for frame in predictor(video)]
    assert np.ptp(scores, axis=0).max() > 1e-3  # they change with the video
    np.testing.assert_allclose([each.found.scores for each in answers], scores, atol=1e-5)
    expected = [frame.to_dict(topk=3) for frame in predictor(video)]
    for answer, theirs in zip(answers, expected, strict=True):
        ours = answer.to_dict(topk=3)
        assert ours.keys() == theirs.keys()
        names = [each["category"] for each in ours["classes"]]
        assert names == [each["category"] for each in theirs["classes"]]


def test_without_torch(exported, tmp_path):
    predictor, folder, _ = exported
    video = frames(5)
    (tmp_path / "frames").mkdir()
    for index, image in enumerate(video):
        cv2.imwrite(str(tmp_path / f"frames/{index}.png"), image[..., ::-1])
    results = run_without_torch(folder, tmp_path / "frames", tmp_path / "results.json")
    (*_, last) = predictor(video)
    assert results["num_frames"] == 5
    best = last.class_scores.max().item()
    assert results["classes"][0]["score"] == pytest.approx(best, abs=1e-5)
