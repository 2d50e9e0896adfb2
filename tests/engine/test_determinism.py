"""DETERMINISTIC: what it sets, what it refuses, and that a GPU's refusal is one clear line."""

import os

import pytest
import torch
from detectron2.modeling import build_model
from detectron2.utils.events import EventStorage

from d2video.config import get_cfg
from d2video.engine.determinism import deterministic_errors, set_determinism
from d2video.engine.solver import build_optimizer
from d2video.engine.step import build_step_trainer
from d2video.utils.errors import UserError
from tests.helpers.pretend_gpu import on_pretend_gpu
from tests.helpers.systems import declared


def deterministic_step(system, name):
    """A training step on the pretended GPU: what it has no deterministic kernel for, if anything."""
    run = declared(system).gpu_runs()[name]
    cfg = run.cfg.clone()
    cfg.MODEL.DEVICE, cfg.DETERMINISTIC, cfg.SEED = "cuda", True, 0
    set_determinism(cfg)
    model = build_model(cfg).train()
    trainer = build_step_trainer(cfg, model, [run.batch], build_optimizer(cfg, model))
    trainer.iter = 0
    try:
        with EventStorage(), deterministic_errors():
            trainer.run_step()
    except UserError as error:
        return str(error)
    return ""


@pytest.mark.parametrize(
    ("system", "name", "operation"),
    [
        ("DETR", "panoptic", ""),  # mask logits are resized: torch does that in another way then
        ("VisTR", "sequences", "grid_sampler_2d_backward"),  # deformable convolution
        ("TrackFormer", "multi_frame", "grid_sampler_2d_backward"),  # deformable attention
        ("TrackFormer", "detr_masks", ""),
        ("VTN", "resnet", ""),
        ("IPT", "base", ""),
    ],
)
def test_which_systems_train_so_on_a_gpu(system, name, operation):
    error = on_pretend_gpu(deterministic_step, system, name)
    assert bool(error) == bool(operation), error
    assert operation in error


@pytest.fixture
def settings(monkeypatch):
    """As before after the test."""
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", "set")
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG")
    cudnn = torch.backends.cudnn
    before = cudnn.benchmark, cudnn.deterministic, torch.are_deterministic_algorithms_enabled()
    yield
    cudnn.benchmark, cudnn.deterministic = before[:2]
    torch.use_deterministic_algorithms(before[2])


def config(**changes):
    cfg = get_cfg()
    cfg.merge_from_list([item for pair in changes.items() for item in pair])
    return cfg


def test_it_is_off_by_default(settings):
    before = torch.are_deterministic_algorithms_enabled()
    set_determinism(config())
    assert torch.are_deterministic_algorithms_enabled() is before
    assert "CUBLAS_WORKSPACE_CONFIG" not in os.environ


def test_on_it_holds(settings):
    torch.backends.cudnn.benchmark = True
    set_determinism(config(DETERMINISTIC=True, SEED=0))
    assert torch.are_deterministic_algorithms_enabled()
    assert not torch.is_deterministic_algorithms_warn_only_enabled()
    assert torch.backends.cudnn.deterministic
    assert not torch.backends.cudnn.benchmark
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"


def test_an_operation_without_a_kernel_is_named(settings):
    set_determinism(config(DETERMINISTIC=True, SEED=0))
    values, place = torch.zeros(3), torch.tensor([0, 0])
    with (
        pytest.raises(UserError, match=r"DETERMINISTIC: put_.* has no deterministic kernel"),
        deterministic_errors(),
    ):
        values.put_(place, torch.tensor([1.0, 2.0]))
    with pytest.raises(RuntimeError, match="another"), deterministic_errors():
        raise RuntimeError("another")


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"SEED": -1}, "needs a seed"), ({"SEED": 1, "CUDNN_BENCHMARK": True}, "CUDNN_BENCHMARK")],
)
def test_what_does_not_go_with_it(settings, changes, message):
    with pytest.raises(UserError, match=message):
        set_determinism(config(DETERMINISTIC=True, **changes))
    assert not torch.are_deterministic_algorithms_enabled()
