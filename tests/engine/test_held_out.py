"""Losses, matches and pictures of fixed held-out samples, which leave the training as it is."""

import json
import random

import numpy as np
import pytest
import torch
from detectron2.data import DatasetCatalog
from detectron2.modeling import build_model
from detectron2.utils.events import EventStorage
from PIL import Image

from d2video.engine.hooks.held_out import HeldOutHook
from d2video.modeling.losses import CrossEntropy
from d2video.modeling.matcher import Matches
from d2video.modeling.matching_statistics import MatchingStatistics, matching_figures
from d2video.modeling.predictions import Predictions
from d2video.modeling.targets import ImageTargets
from d2video.report.run import picture_path
from tests.engine.test_evaluation_hook import any_set, scores
from tests.engine.test_resume import records, train
from tests.helpers.fresh_process import run_fresh
from tests.helpers.systems import SYSTEMS, system_cfg, write_data

__all__ = ["any_set", "records", "scores"]  # fixtures

MATCHED = {"matched_iou", "matched_score", "queries_matched", "matches_changed_by_layer"}


def show(hook) -> dict[str, float]:
    """The scalars of one time, and how many pictures there are."""
    with EventStorage(7) as storage:
        hook.show()
    found = {name: value for name, (value, _) in storage.latest().items()}
    return found | {"pictures": len(storage._vis_data)}


def check_system(system: str, folder) -> None:
    write_data(system, folder / "data")
    options = {"OUTPUT_DIR": str(folder), "DATALOADER__NUM_WORKERS": 0}
    options |= {"TEST__HELD_OUT__NUM_SAMPLES": 4, "TEST__VISUALIZE__NUM_SAMPLES": 1}
    [name] = system_cfg(system).DATASETS.TRAIN
    cfg = system_cfg(system, DATASETS__TEST=[name], **options)
    model = build_model(cfg).train()
    state = {key: value.clone() for key, value in model.state_dict().items()}
    modes = [module.training for module in model.modules()]
    hook = HeldOutHook(cfg, model)
    hook.before_train()
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    first = show(hook)
    drawn = random.random(), np.random.rand(), torch.rand(()).item()
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    assert (random.random(), np.random.rand(), torch.rand(()).item()) == drawn
    picture = np.asarray(Image.open(picture_path(folder, name, 0)))
    assert picture.ndim == 3
    assert picture.std() > 10

    # Another state of the generators, and dropout in every model: the same losses, of the same weights.
    second = show(hook)
    assert second.pop("held_out/matches_changed", 0) == 0
    assert second == first
    assert first["pictures"] == 1
    assert first["held_out/total_loss"] > 0
    assert modes == [module.training for module in model.modules()]
    for key, value in model.state_dict().items():
        assert torch.equal(value, state[key]), key
    matched = {key.partition("/")[2] for key in first} & MATCHED
    assert matched == (MATCHED if system in ("DETR", "TrackFormer", "VisTR") else set())
    assert not any(key.endswith("_0") for key in first)

    # Another model has others; a resumed training knows the matches of the time before.
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.1)
    resumed = HeldOutHook(cfg, model)
    resumed.before_train()
    if hook.state_dict():
        resumed.load_state_dict(hook.state_dict())
    third = show(resumed)
    assert third["held_out/total_loss"] != first["held_out/total_loss"]
    assert ("held_out/matches_changed" in third) == bool(matched)


@pytest.mark.parametrize("system", SYSTEMS)
def test_every_system(tmp_path, system):
    code = "import sys, pathlib\nfrom tests.engine.test_held_out import check_system\n"
    code += "check_system(sys.argv[1], pathlib.Path(sys.argv[2]))"
    environment = {"DETECTRON2_DATASETS": str(tmp_path / "data")}
    done = run_fresh("-c", code, system, tmp_path, environment=environment)
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.fixture
def curve(monkeypatch):
    """The figures of every time, by iteration."""
    seen, figures = {}, HeldOutHook._figures

    def noted(hook, name, samples):
        seen[hook.trainer.storage.iter] = found = figures(hook, name, samples)
        return found

    monkeypatch.setattr(HeldOutHook, "_figures", noted)
    return seen


def test_the_training_stays_as_it_is(tmp_path, scores, any_set, curve):
    options = ("DATASETS.TEST", ["numbers"])
    losses, _ = train(tmp_path / "never")
    shown, _ = train(tmp_path / "shown", *options, eval_period=2)
    assert shown == losses
    whole = dict(curve)
    assert list(whole) == [1, 3, 5, 7, 10]
    assert len({values["total_loss"] for values in whole.values()}) == 5
    # Stopped and resumed.
    first, _ = train(tmp_path / "parts", *options, stop=4, eval_period=2)
    rest, _ = train(tmp_path / "parts", *options, start=50, resume=True, eval_period=2)
    assert first + rest == losses
    assert {iteration: curve[iteration] for iteration in whole} == whole


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("TEST.HELD_OUT.NUM_SAMPLES", 0), set()),
        (
            ("DATASETS.TEST", ["numbers", "more"]),
            {"numbers/held_out/total_loss", "more/held_out/total_loss"},
        ),
    ],
)
def test_names(tmp_path, scores, any_set, options, expected):
    images = [{"file_name": "", "image_id": 8, "height": 4, "width": 4}]
    DatasetCatalog.register("more", lambda: images)
    train(tmp_path, "DATASETS.TEST", ["numbers"], *options, stop=2)
    lines = map(json.loads, (tmp_path / "metrics.json").read_text().splitlines())
    assert {k for line in lines for k in line if k.endswith("held_out/total_loss")} == expected


def test_matching_figures():
    """Two images of two queries, and a track query before them; by hand."""
    boxes = torch.tensor([[0.5, 0.5, 0.2, 0.2]]).expand(2, 2, 3, 4).clone()
    boxes[1, 1, 2, 0] = 0.6  # half of the target's box is covered: IoU 1/3
    logits = torch.full((2, 2, 3, 3), -torch.inf)
    logits[..., 0] = 0.0
    logits[1, 1, 2] = torch.tensor([0.0, 0.0, 0.0])
    target = ImageTargets(torch.tensor([0]), torch.tensor([[0.5, 0.5, 0.2, 0.2]]))
    two = ImageTargets(torch.tensor([0, 0]), target.boxes.expand(2, 4))
    # Layer, image, query, target: image 0 has its first object by the track query.
    rows = [(0, 0, 0, 0), (0, 0, 1, 1), (0, 1, 1, 2), (1, 0, 0, 0), (1, 0, 1, 1), (1, 1, 2, 2)]
    matches = Matches(*torch.tensor(rows).T)
    statistics = MatchingStatistics()
    statistics.add(Predictions(logits, boxes), matches, [two, target], CrossEntropy(), num_known=1)
    assert statistics.queries == [-1, 0, 1]
    figures = matching_figures([statistics], [[-1, 0, 0]])
    assert figures == pytest.approx(
        {
            "matched_iou": 100 * (1 + 1 + 1 / 3) / 3,
            "matched_score": 100 * (1 + 1 + 1 / 3) / 3,
            "queries_matched": 100.0,
            "matches_changed_by_layer": 50.0,
            "matches_changed": 50.0,
        },
        rel=1e-4,
    )
    assert "matches_changed" not in matching_figures([statistics], [[0, 0]])
    assert matching_figures([MatchingStatistics()]) == {}


def test_no_labels(tmp_path, scores, any_set, caplog):
    caplog.set_level("INFO")
    options = {"TEST__HELD_OUT__NUM_SAMPLES": 4, "OUTPUT_DIR": str(tmp_path)}
    cfg = system_cfg("VisTR", DATASETS__TEST=["unlabelled"], **options)
    video = {"video_id": 1, "file_names": ["1.jpg"], "height": 4, "width": 4, "length": 1}
    DatasetCatalog.register("unlabelled", lambda: [video])
    hook = HeldOutHook(cfg, torch.nn.Linear(1, 1))
    hook.before_train()
    assert show(hook) == {"pictures": 0}
    assert "dataset unlabelled has no labels" in caplog.text
