"""The configs for small data sets start from the weights that they name, except for the class head."""

from pathlib import Path

import pytest
import torch
from detectron2.modeling import build_model

from d2video.checkpoint import VideoCheckpointer
from d2video.config import load_cfg
from d2video.data import build_train_loader
from d2video.engine import build_optimizer
from d2video.structures import ClassHead, class_names_of
from d2video.utils.errors import UserError
from tests.model_zoo.test_entries import RESNET, ROWS, SMALL, built, official_file, transformer

# Learning rates: of the class head and of the backbone (None: frozen).
RATES = {
    "DETR/detr_R50_finetune": (1e-4, 1e-5),
    "DeformableDETR/deformable_detr_R50_finetune": (1e-4, 1e-5),
    "VisTR/vistr_R50_finetune": (5e-5, 5e-6),
    "TrackFormer/trackformer_finetune": (1e-4, 1e-5),
    "VTN/vtn_ViT_B_finetune": (1e-3, None),
}


def small(config, *opts):
    return load_cfg(config, ["MODEL.DEVICE", "cpu", *SMALL[config.split("/")[0]], *opts])


def loaded(cfg, tmp_path):
    """The published model, ours as it is built, and as the training starts."""
    entry = ROWS[cfg.MODEL.WEIGHTS]
    theirs = built(entry)
    file = tmp_path / "official.pth"
    file.write_bytes(official_file(entry, theirs))
    torch.manual_seed(1)
    model = build_model(cfg)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    VideoCheckpointer(model, ignore=cfg.MODEL.WEIGHTS_IGNORE).load(str(file))
    return theirs.state_dict(), before, model


def test_every_config_is_tested():
    files = Path("configs").glob("*/*_finetune.yaml")
    assert {f"{path.parent.name}/{path.stem}" for path in files} == set(RATES)


@pytest.mark.parametrize("config", RATES)
def test_only_the_class_head_starts_anew(config, tmp_path, caplog):
    theirs, before, model = loaded(small(config), tmp_path)
    assert "newly initialised" not in caplog.text
    assert class_names_of(model) is None  # those of the data
    for name, value in model.state_dict().items():
        is_new = name.startswith(ClassHead.of(model).parameters)
        assert torch.equal(value, before[name] if is_new else theirs[name]), name


@pytest.mark.parametrize("config", RATES)
def test_the_head_can_stay_for_the_same_classes(config, tmp_path):
    cfg = small(config, "MODEL.WEIGHTS_IGNORE", "()")
    model = loaded(cfg, tmp_path)[-1]
    assert [*filter(None, class_names_of(model))] == ROWS[cfg.MODEL.WEIGHTS].class_names


@pytest.mark.parametrize("config", RATES)
def test_schedule(config):
    cfg = small(config)
    solver = cfg.SOLVER
    assert (solver.MAX_EPOCHS, solver.STEPS, solver.WARMUP_ITERS) == (0, (), 0)  # a constant rate
    assert solver.LR_SCHEDULER_NAME == "WarmupMultiStepLR"
    assert solver.EMA.ENABLED
    assert 0 < cfg.TEST.EVAL_PERIOD * cfg.TEST.EARLY_STOPPING < solver.MAX_ITER
    assert f"output/{config.split('/')[1]}" == cfg.OUTPUT_DIR
    model = build_model(cfg)
    rates = {id(p): g["lr"] for g in build_optimizer(cfg, model).param_groups for p in g["params"]}
    found = {name: rates.get(id(p)) for name, p in model.named_parameters()}
    head, backbone = RATES[config]
    parameters = ClassHead.of(model).parameters
    assert {rate for name, rate in found.items() if name.startswith(parameters)} == {head}
    in_backbone = {rate for name, rate in found.items() if "backbone" in name} - {None}
    assert [*in_backbone] == pytest.approx([backbone] if backbone else [])


def test_a_tracker_can_start_from_the_detector_in_the_comment(tmp_path, caplog):
    text = " ".join(Path("configs/TrackFormer/trackformer_finetune.yaml").read_text().split("#"))
    opts = text.partition("start from the detector:")[2].partition(":")[0].split()[:8]
    cfg = load_cfg(
        "TrackFormer/trackformer_finetune",
        [*opts, *RESNET, *transformer("TRACKFORMER", 32), "MODEL.DEVICE", "cpu"],
    )
    loaded(cfg, tmp_path)
    assert cfg.MODEL.WEIGHTS == "DeformableDETR/deformable_detr_R50_box_refine"
    assert "newly initialised" not in caplog.text


def test_data_are_named_on_the_command_line():
    with pytest.raises(UserError, match="DATASETS.TRAIN is empty: name at least one dataset"):
        build_train_loader(small("DETR/detr_R50_finetune"))
