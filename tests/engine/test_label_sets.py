"""Labels of two classes train and test every model of objects, and are scored by class."""

import json
import math

import numpy as np
import pytest
from PIL import Image

from d2video.data.datasets.label_sets import register_labels
from d2video.engine import VideoTrainer
from d2video.utils.errors import UserError
from tests.engine.label_models import MODELS, config, train_and_test
from tests.helpers.findings import one_line
from tests.helpers.true_sets import register_true

pytestmark = pytest.mark.usefixtures("scratch_catalog", "loggers_as_before")


@pytest.mark.parametrize("model", MODELS)
def test_a_step_and_an_evaluation_by_class(model, tmp_path, monkeypatch):
    register_true(monkeypatch, "true", tmp_path / "frames")
    results = train_and_test(config(model, tmp_path / "output"))
    for task, metric in MODELS[model][1].items():
        for name in ("dog", "cat"):
            assert math.isfinite(results[task][f"{metric}-{name}"])
    assert results.keys() >= MODELS[model][1].keys()


@pytest.mark.parametrize(
    ("model", "options", "part"),
    [
        (
            "VisTR",
            {"but_one": True},
            "1 of 19 objects in frames have a box and no mask, and VisTR needs",
        ),
        ("TrackFormer with masks", {"masks": False}, "19 of 19 .* or set MODEL.MASK_ON False"),
        (
            "VisTR",
            {"tracked": False},
            "dataset true has images without tracks, where VisTR needs videos",
        ),
        ("TrackFormer", {"tracked": False}, "where TrackFormer needs videos"),
    ],
)
def test_refused_before_the_training(model, options, part, tmp_path, monkeypatch):
    register_true(monkeypatch, "true", tmp_path / "frames", **options)
    with one_line(match=part):
        VideoTrainer(config(model, tmp_path / "output"))


def test_images_that_could_be_videos_say_how(tmp_path):
    image = np.zeros((48, 64, 3), np.uint8)
    shape = {"label": "cat", "points": [[2, 2], [30, 2], [30, 30]]}
    for number in range(2):
        Image.fromarray(image).save(tmp_path / f"{number}.png")
        content = {"shapes": [shape], "imagePath": f"{number}.png"}
        (tmp_path / f"{number}.json").write_text(json.dumps(content))
    register_labels("true", str(tmp_path))
    with pytest.raises(
        UserError, match='needs videos: set tracks to "group_id", "label" or "order"'
    ):
        VideoTrainer(config("VisTR", tmp_path / "output"))


def test_classes_go_by_name(tmp_path, monkeypatch):
    register_true(monkeypatch, "true", tmp_path / "frames")
    register_true(monkeypatch, "cats", tmp_path / "frames", classes=["cat"])
    keys = ("DATASETS.TRAIN", "('cats',)", "MODEL.TRACKFORMER.NUM_CLASSES", 1)
    trainer = VideoTrainer(config("TrackFormer", tmp_path / "output", *keys))
    with pytest.raises(
        UserError, match="dataset true has annotations of 'dog', which the model does not"
    ):
        trainer.test(trainer.cfg, trainer.model)
    trainer.cfg.defrost()
    trainer.cfg.TEST.COMMON_CLASSES_ONLY = True
    results = trainer.test(trainer.cfg, trainer.model)["mot"]
    assert "HOTA" in results
    assert "HOTA-dog" not in results
