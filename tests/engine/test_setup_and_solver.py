"""Config, optimizer and schedule."""

import pytest
import torch
from torch import nn

from d2video.data import DATASET_MAPPER_REGISTRY
from d2video.engine import build_optimizer, check_num_processes, load_cfg, resolve_epochs
from d2video.projects import register_all
from d2video.utils.errors import UserError
from tests.projects.VisTR.tiny import CONFIG, tiny_cfg

register_all()


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone = nn.Linear(3, 3)
        self.frozen = nn.Linear(3, 3).requires_grad_(False)
        self.head = nn.Linear(3, 3)


def test_backbone_learns_slower_and_frozen_parameters_not_at_all():
    optimizer = build_optimizer(
        tiny_cfg("SOLVER.BASE_LR", 1.0, "SOLVER.BACKBONE_MULTIPLIER", 0.1), Model()
    )
    rates = sorted(
        {g["lr"]: sum(p.numel() for p in g["params"]) for g in optimizer.param_groups}.items()
    )
    assert rates == [(0.1, 12), (1.0, 12)]
    assert isinstance(optimizer, torch.optim.AdamW)


def test_full_model_clipping_bounds_the_norm_of_all_gradients_together():
    model = Model()
    cfg = tiny_cfg(
        *("SOLVER.OPTIMIZER", "SGD", "SOLVER.BASE_LR", 1.0, "SOLVER.BACKBONE_MULTIPLIER", 1.0),
        *("SOLVER.WEIGHT_DECAY", 0.0, "SOLVER.WEIGHT_DECAY_NORM", 0.0, "SOLVER.MOMENTUM", 0.0),
    )
    optimizer = build_optimizer(cfg, model)
    before = [p.detach().clone() for p in model.parameters()]
    for parameter in model.parameters():
        parameter.grad = torch.full_like(parameter, 7.0)
    optimizer.step()
    moved = torch.cat([(a - b).flatten() for a, b in zip(before, model.parameters())])
    assert moved.norm().item() == pytest.approx(0.1, rel=1e-4)


def test_unknown_optimizer():
    with pytest.raises(UserError, match="'LION' is unknown: use ADAMW, SGD"):
        build_optimizer(tiny_cfg("SOLVER.OPTIMIZER", "LION"), Model())


def test_epochs_become_iterations(monkeypatch):
    monkeypatch.setattr("d2video.engine.solver.epoch_length", lambda cfg: 1003)
    cfg = tiny_cfg("SOLVER.MAX_EPOCHS", 18, "SOLVER.EPOCH_STEPS", (12,), "SOLVER.IMS_PER_BATCH", 8)
    resolved = resolve_epochs(cfg)
    assert (resolved.SOLVER.MAX_ITER, resolved.SOLVER.STEPS) == (18 * 125, (12 * 125,))
    cfg.SOLVER.IMS_PER_BATCH = 2000
    with pytest.raises(UserError, match="1003 clips, fewer than a batch of 2000"):
        resolve_epochs(cfg)
    cfg.SOLVER.MAX_EPOCHS = 0
    assert resolve_epochs(cfg) is cfg


@pytest.mark.parametrize(
    ("file", "overrides", "message"),
    [
        (CONFIG, ["MODEL.VISTR.NUM_CLASES", "3"], "NUM_CLASES"),
        (CONFIG, ["MODEL.VISTR.NUM_CLASSES", "many"], "Type mismatch"),
        (CONFIG, ["MODEL.VISTR.NUM_CLASSES"], "odd length"),
        ("configs/no_such.yaml", [], "no_such.yaml"),
    ],
)
def test_config_mistakes(file, overrides, message):
    with pytest.raises(UserError, match=message):
        load_cfg(file, overrides)


def test_config_file_that_is_no_yaml(tmp_path):
    path = tmp_path / "broken.yaml"
    path.write_text("MODEL: [unclosed")
    with pytest.raises(UserError, match=r"broken\.yaml"):
        load_cfg(str(path), [])


def test_more_processes_than_gpus(monkeypatch):
    check_num_processes(64, "cpu")  # counts processes there
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    check_num_processes(2, "cuda")
    with pytest.raises(UserError, match="--num-gpus is 8, but this machine has 2 GPUs"):
        check_num_processes(8, "cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match="no GPU here: add MODEL.DEVICE cpu"):
        check_num_processes(1, "cuda")


@pytest.mark.parametrize(
    "name", ["vistr_R50_ytvis2019", "vistr_R101_ytvis2019", "vistr_R50_ytvis2021", "vistr_R50_ovis"]
)
def test_configs_for_real_data_load_and_their_augmentations_build(name):
    cfg = load_cfg(f"configs/VisTR/{name}.yaml", [])
    mapper = DATASET_MAPPER_REGISTRY.get(cfg.INPUT.DATASET_MAPPER)(cfg, True)
    assert len(mapper.augmentations.augs) == 6
    assert cfg.SOLVER.CLIP_GRADIENTS.CLIP_VALUE == 0.1
