"""Every config of the folder loads, builds its model, and says what its name and comments say."""

from pathlib import Path

import pytest
import torch
from d2video.projects.ipt import parse_tasks
from detectron2.data import DatasetCatalog
from detectron2.modeling import build_model

from d2video.config import load_cfg
from d2video.data import build_mapper
from d2video.engine import build_optimizer
from d2video.projects import register_all
from tests.helpers.ablations import rows
from tests.projects.IPT.tiny import TASKS

register_all()

CONFIGS = sorted(Path("configs/IPT").glob("ipt_*.yaml"))
LARGE = [path for path in CONFIGS if "tiny" not in path.stem]
FINE_TUNING = [path for path in CONFIGS if "finetune" in path.stem]
IMAGES = 1_281_167


def load(path):
    return load_cfg(str(path), ["MODEL.DEVICE", "meta"])


def build(cfg):
    with torch.device("meta"):
        return build_model(cfg)


@pytest.mark.parametrize("row", [row for row in rows() if row.project == "IPT"], ids=str)
def test_data_of_the_ablations(row):
    """Every test set has a task of the row's model, or one that it does by another."""
    cfg = row.cfg()
    chosen = build_mapper(cfg, True).batch_task, build_mapper(cfg, False).image_task
    assert [[*each.tasks] for each in chosen] == [[*parse_tasks(cfg.MODEL.IPT.TASKS)]] * 2
    for name in cfg.DATASETS.TEST:
        task = name.partition("_")[2]
        assert chosen[1]({"file_name": name, "task": task}).name == task


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_data_and_model(path):
    cfg = load(path)
    model = build(cfg)
    tasks = [task.name for task in model.network.tasks]
    for name in (*cfg.DATASETS.TRAIN, *cfg.DATASETS.TEST):
        assert name in DatasetCatalog
    for name in cfg.DATASETS.TEST:
        assert name.endswith(tuple(f"_{task}" for task in tasks))
    for is_train in (True, False):
        mapper = build_mapper(cfg, is_train)
        chosen = mapper.batch_task if is_train else mapper.image_task
        assert tuple(chosen.tasks) == tuple(parse_tasks(cfg.MODEL.IPT.TASKS))
        assert mapper.patch_size == model.network.patch_size


def test_every_task_of_the_paper_has_a_config():
    assert {path.stem.removeprefix("ipt_finetune_") for path in FINE_TUNING} == set(TASKS)
    for path in FINE_TUNING:
        assert [path.stem.removeprefix("ipt_finetune_")] == load(path).MODEL.IPT.TASKS
    assert load("configs/IPT/ipt_pretrain_imagenet.yaml").MODEL.IPT.TASKS == TASKS


@pytest.mark.parametrize("path", LARGE, ids=lambda path: path.stem)
def test_schedule_in_the_comments(path):
    cfg, text = load(path), " ".join(path.read_text().replace("\n# ", " ").split())
    per_epoch = IMAGES // cfg.SOLVER.IMS_PER_BATCH
    assert cfg.SOLVER.IMS_PER_BATCH == 256
    assert f"{IMAGES:,}" in text
    assert f"256 = {per_epoch:,} iterations" in text
    assert f"output/{path.stem}" == cfg.OUTPUT_DIR
    if "finetune" not in path.stem:
        assert (cfg.SOLVER.MAX_EPOCHS, tuple(cfg.SOLVER.EPOCH_STEPS)) == (300, (200,))
        assert pytest.approx(2e-5) == cfg.SOLVER.BASE_LR * cfg.SOLVER.GAMMA
        assert f"{300 * per_epoch:,} in total" in text
        return
    assert cfg.SOLVER.BASE_LR == 2e-5
    assert f"{30 * per_epoch:,} in total" in text
    if "sr_x" in path.stem:  # on another set, for as long
        assert (0, 30 * per_epoch) == (cfg.SOLVER.MAX_EPOCHS, cfg.SOLVER.MAX_ITER)
        assert tuple(cfg.SOLVER.STEPS) == ()
    else:
        assert (cfg.SOLVER.MAX_EPOCHS, tuple(cfg.SOLVER.EPOCH_STEPS)) == (30, ())


def test_official_optimizer():
    """Adam: AdamW without weight decay, one rate for all."""
    cfg = load("configs/IPT/ipt_pretrain_imagenet.yaml")
    optimizer = build_optimizer(cfg, build(cfg))
    assert isinstance(optimizer, torch.optim.AdamW)
    for group in optimizer.param_groups:
        assert group["lr"] == 5e-5
        assert group["weight_decay"] == 0
        assert tuple(group["betas"]) == (0.9, 0.999)
    assert cfg.SOLVER.WARMUP_ITERS == 0
    assert cfg.MODEL.IPT.CONTRASTIVE_WEIGHT == 0.1
