"""IPT as ONNX files, run without torch, against the model."""

import cv2
import numpy as np
import pytest
from d2video.projects.ipt.official import OfficialTiling
from d2video.projects.ipt.tiling import Tiling

from d2video.deploy import Runner
from d2video.deploy.__main__ import with_pictures
from d2video.export import export_graphs, write_export
from d2video.inference.predictor import Predictor
from d2video.utils.errors import UserError
from tests.projects.IPT.tiny import NODE, build, tiny_cfg

pytestmark = pytest.mark.slow

OPTIONS = [f"{NODE}TASKS", ["sr_x2", "derain"]]


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("exported")
    model = build(*OPTIONS)
    return model, folder, write_export(model, tiny_cfg(*OPTIONS), "onnx", folder)


def test_graphs_are_the_model(exported):
    """Three patches where two were traced."""
    assert exported[2].keys() == {"patches_sr_x2", "patches_derain"}
    assert max(exported[2].values()) <= 4e-6  # of values up to 255, as a share


@pytest.mark.parametrize("official", [False, True])
@pytest.mark.parametrize("ensemble", [False, True])
@pytest.mark.parametrize("task", ["sr_x2", "derain"])
def test_the_runner_answers_as_the_predictor(exported, task, official, ensemble):
    model, folder, _ = exported
    tiling = OfficialTiling(12) if official else Tiling(12)
    model.default_task, model.tiling, model.self_ensemble = task, tiling, ensemble
    runner = Runner(folder, threads=1)
    runner.task.task, runner.task.tiling, runner.task.self_ensemble = task, tiling, ensemble
    for height, width in [(19, 31), (12, 12)] + [(7, 25), (1, 1)] * (not official):
        rng = np.random.default_rng(height)
        image = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        for picture in (image, image[..., :1].repeat(3, 2)):
            (expected,) = Predictor(model=model, min_size=0, max_size=0)([picture])
            found = runner.predict(picture).found.image
            assert found.shape == expected.restored.shape
            # Values are equal up to 1e-4, so that a few round to the other neighbour.
            difference = np.abs(found.astype(int) - expected.restored)
            assert difference.max() <= 1
            assert (difference > 0).mean() < 0.01


def test_pictures_are_written(exported, tmp_path):
    runner = Runner(exported[1])
    runner.task.task = "sr_x2"
    image = np.random.default_rng(0).integers(0, 256, (14, 15, 3), dtype=np.uint8)
    (answer,) = with_pictures(iter([runner.predict(image)]), tmp_path / "new")
    (path,) = (tmp_path / "new").iterdir()
    assert np.array_equal(cv2.imread(str(path))[:, :, ::-1], answer.found.image)
    with pytest.raises(UserError, match="this model makes pictures: give --pictures FOLDER"):
        next(with_pictures(iter([runner.predict(image)]), None))


def test_the_settings_are_the_config_s():
    options = [f"{NODE}TILING", "official", f"{NODE}OFFICIAL_CORNER", True]
    options += [f"{NODE}SELF_ENSEMBLE", True, f"{NODE}TASK", "derain"]
    settings = export_graphs(build(*options), tiny_cfg(*options)).settings
    expected = {"official_tiling": True, "official_corner": True, "self_ensemble": True}
    assert settings | expected | {"task": "derain"} == settings


def test_a_task_must_be_chosen(exported):
    with pytest.raises(UserError, match=r"the model's are sr_x2, derain: export it with MODEL.IPT"):
        Runner(exported[1]).predict(np.zeros((12, 12, 3), np.uint8))
