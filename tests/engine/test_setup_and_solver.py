"""Config, optimizer and schedule."""

import argparse
from pathlib import Path

import pytest
import torch
from torch import nn

from d2video.config import load_cfg
from d2video.data import DATASET_MAPPER_REGISTRY
from d2video.engine import (
    build_lr_scheduler,
    build_optimizer,
    check_device,
    check_num_processes,
    resolve_epochs,
    setup,
)
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


def rates(model, *multipliers):
    cfg = tiny_cfg("SOLVER.BASE_LR", 1.0, "SOLVER.BACKBONE_MULTIPLIER", 0.1)
    cfg.SOLVER.LR_MULTIPLIERS = list(multipliers)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    groups = build_optimizer(cfg, model).param_groups
    return {names[id(p)]: group["lr"] for group in groups for p in group["params"]}


def test_named_parameters_have_a_learning_rate_of_their_own():
    """The first entry that fits counts, whole words only, and before the backbone's factor."""
    model = Model()
    model.head.head = nn.Linear(1, 1)
    model.heads = nn.Linear(1, 1)
    found = rates(model, ["head.bias", 0.5], ["head", 0.0], ["backbone.bias", 2])
    assert found == {
        "backbone.weight": 0.1,
        "backbone.bias": 2.0,
        "head.weight": 0.0,
        "head.bias": 0.5,
        "head.head.weight": 0.0,
        "head.head.bias": 0.5,
        "heads.weight": 1.0,
        "heads.bias": 1.0,
    }
    assert rates(Model(), ["frozen", 3.0]).keys() == rates(Model()).keys()  # it is there


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (["hea", 0.1], "'hea', which no parameter"),
        ("head", "has the entry head: write"),
        (["head"], "has the entry"),
        (["head", "0.1"], "has the entry"),
        (["head", -0.1], "has the entry"),
        (["head", float("nan")], "has the entry"),
        (["", 0.1], "has the entry"),
        ([0.1, "head"], "has the entry"),
    ],
)
def test_mistakes_in_the_learning_rates_of_named_parameters(entry, message):
    with pytest.raises(UserError, match=f"SOLVER.LR_MULTIPLIERS.*{message}"):
        rates(Model(), entry)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["SOLVER.MAX_ITER", 0], "MAX_ITER is 0"),
        (["SOLVER.LR_SCHEDULER_NAME", "Cosine"], "Unknown LR scheduler: Cosine.*LR_SCHEDULER_NAME"),
        (["SOLVER.LR_SCHEDULER_NAME", "WarmupMultiStepLR", "SOLVER.STEPS", (9, 3)], r"\(9, 3\)"),
    ],
)
def test_mistakes_in_the_schedule(overrides, message):
    cfg = tiny_cfg(*overrides)
    with pytest.raises(UserError, match=message):
        build_lr_scheduler(cfg, build_optimizer(cfg, Model()))


def test_unknown_clip_type():
    with pytest.raises(UserError, match="CLIP_TYPE 'all' is unknown: use full_model, norm, value"):
        build_optimizer(tiny_cfg("SOLVER.CLIP_GRADIENTS.CLIP_TYPE", "all"), Model())


def test_unknown_optimizer():
    with pytest.raises(UserError, match="'LION' is unknown: use ADAMW, SGD"):
        build_optimizer(tiny_cfg("SOLVER.OPTIMIZER", "LION"), Model())


def test_epochs_become_iterations():
    cfg = tiny_cfg("SOLVER.MAX_EPOCHS", 18, "SOLVER.EPOCH_STEPS", (12,), "SOLVER.IMS_PER_BATCH", 8)
    resolved = resolve_epochs(cfg, 1003)
    assert (resolved.SOLVER.MAX_ITER, resolved.SOLVER.STEPS) == (18 * 125, (12 * 125,))
    cfg.SOLVER.IMS_PER_BATCH = 2000
    with pytest.raises(UserError, match="1003 clips, fewer than a batch of 2000"):
        resolve_epochs(cfg, 1003)
    cfg.SOLVER.MAX_EPOCHS = 0
    assert resolve_epochs(cfg, 0) is cfg


@pytest.mark.parametrize(
    ("file", "overrides", "message"),
    [
        (CONFIG, ["MODEL.VISTR.NUM_CLASES", "3"], "NUM_CLASES"),
        (CONFIG, ["MODEL.VISTR.NUM_CLASSES", "many"], "NUM_CLASSES is 'many', str: give int"),
        (CONFIG, ["MODEL.META_ARCHITECTURE", "VisTr"], "META_ARCHITECTURE is 'VisTr'.*VisTR"),
        (CONFIG, ["INPUT.MIN_SIZE_TEST", "-1"], "MIN_SIZE_TEST is -1"),
        ("configs/no_such.yaml", [], "no_such.yaml"),
    ],
)
def test_config_mistakes(file, overrides, message):
    with pytest.raises(UserError, match=message):
        load_cfg(file, overrides)


@pytest.mark.parametrize("content", ["MODEL: [unclosed", "", "- a list", "MODEL: 3"])
def test_config_file_that_is_no_config(tmp_path, content):
    path = tmp_path / "broken.yaml"
    path.write_text(content)
    with pytest.raises(UserError, match=r"broken\.yaml"):
        load_cfg(str(path), [])


@pytest.mark.parametrize(
    ("device", "message"), [("gpu", "'gpu', no device of torch"), ("cuda:2", "has 2 GPUs")]
)
def test_devices_that_are_not_there(monkeypatch, device, message):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    check_device("cuda:1")
    with pytest.raises(UserError, match=message):
        check_device(device)
    with pytest.raises(UserError, match=message):
        check_num_processes(1, device)


def test_output_folder_that_is_a_file(tmp_path):
    (tmp_path / "file").touch()
    options = ["MODEL.DEVICE", "cpu", "OUTPUT_DIR", str(tmp_path / "file")]
    args = argparse.Namespace(config_file=CONFIG, opts=options, eval_only=False)
    with pytest.raises(UserError, match="OUTPUT_DIR .*file: cannot write in this folder"):
        setup(args)


@pytest.mark.parametrize("folder", ["", "http://host/run"])
def test_output_that_is_no_folder(tmp_path, monkeypatch, folder):
    """Without a folder a training would save nothing; of an address a local folder would be made."""
    config = Path(CONFIG).resolve()
    monkeypatch.chdir(tmp_path)
    options = ["MODEL.DEVICE", "cpu", "OUTPUT_DIR", folder]
    args = argparse.Namespace(config_file=str(config), opts=options, eval_only=False)
    with pytest.raises(UserError, match=f"OUTPUT_DIR is '{folder}': give a folder"):
        setup(args)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("names", ["('a', 3)", "[['a']]", "[None]"])
def test_datasets_that_are_not_names(names):
    with pytest.raises(UserError, match="DATASETS.TEST is .*: give names of datasets"):
        load_cfg("", ["MODEL.META_ARCHITECTURE", "VisTR", "DATASETS.TEST", names])


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
