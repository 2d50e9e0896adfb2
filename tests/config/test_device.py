"""MODEL.DEVICE "auto": CUDA, else MPS, else the CPU, told once."""

import logging

import pytest
import torch
from detectron2.modeling import build_model

from d2video.config import asked_device, device, get_cfg, load_cfg
from d2video.config.files import config_names
from d2video.engine.setup import check_device, check_num_processes
from d2video.projects import register_all
from d2video.utils.errors import UserError
from tests.helpers import ROOT

register_all()
SHAPES = "DETR/detr_panoptic_R50.yaml"


@pytest.fixture(autouse=True)
def nothing_told(monkeypatch):
    monkeypatch.setattr(device, "_has_told", False)


def machine(monkeypatch, cuda=0, mps=False):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)


@pytest.mark.parametrize(
    ("has", "best"),
    [({"cuda": 2, "mps": True}, "cuda"), ({"mps": True}, "mps"), ({}, "cpu")],
)
def test_auto_is_the_best_device(monkeypatch, has, best):
    machine(monkeypatch, **has)
    for given in ([], ["MODEL.DEVICE", "auto"]):
        assert best == load_cfg(SHAPES, given).MODEL.DEVICE
    assert best == get_cfg().MODEL.DEVICE
    assert load_cfg(SHAPES, ["MODEL.DEVICE", "meta"]).MODEL.DEVICE == "meta"


def test_it_is_told_once(monkeypatch, caplog):
    machine(monkeypatch)
    with caplog.at_level(logging.INFO):
        load_cfg(SHAPES, ["MODEL.DEVICE", "cpu"])
        assert caplog.messages == []
        load_cfg(SHAPES, [])
        load_cfg(SHAPES, ["MODEL.DEVICE", "auto"])
    assert caplog.messages == ["MODEL.DEVICE is auto, which is cpu here"]


def test_a_file_may_say_auto_over_its_base(monkeypatch, tmp_path):
    machine(monkeypatch, mps=True)
    path = tmp_path / "mine.yaml"
    path.write_text("_BASE_: DETR/detr_tiny_shapes.yaml\nMODEL: {DEVICE: auto}\n")
    assert load_cfg(str(path), []).MODEL.DEVICE == "mps"
    assert asked_device(str(path), []) == "auto"
    assert asked_device("DETR/detr_tiny_shapes", []) == "cpu"
    assert asked_device("DETR/detr_tiny_shapes", ["MODEL.DEVICE=cuda"]) == "cuda"


def test_the_way_of_detectron2_builds_too():
    cfg = get_cfg()
    cfg.merge_from_file(ROOT / "configs/DETR/detr_R50_500ep.yaml")
    cfg.merge_from_list(["MODEL.DETR.ENC_LAYERS", 1, "MODEL.DETR.DEC_LAYERS", 1])
    assert build_model(cfg).device.type == device.best_device()


def test_only_the_tiny_configs_name_a_device():
    named = {name: asked_device(path, []) for name, path in config_names().items()}
    tiny = {name for name in named if "tiny" in name} - {"common/resnet_tiny.yaml"}
    assert {name for name, asked in named.items() if asked != "auto"} == tiny


# ---- with several processes, and with devices that are not there -----------------------------------


def test_several_processes_want_gpus(monkeypatch):
    machine(monkeypatch, cuda=2)
    check_num_processes(2, "auto")
    with pytest.raises(UserError, match="--num-gpus is 8, but this machine has 2 GPUs"):
        check_num_processes(8, "auto")
    machine(monkeypatch)
    check_num_processes(1, "auto")
    check_num_processes(8, "cpu")
    with pytest.raises(UserError, match="has 0 GPUs: lower it, or add MODEL.DEVICE cpu to train"):
        check_num_processes(8, "auto")


@pytest.mark.parametrize("named", ["cuda", "mps", "gpu"])
def test_a_named_device_must_be_there(monkeypatch, named):
    machine(monkeypatch)
    with pytest.raises(UserError, match=f"MODEL.DEVICE is '?{named}'?, .*auto") as caught:
        check_device(named)
    assert "\n" not in str(caught.value)
