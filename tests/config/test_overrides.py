"""Config keys on the command line: how they may be written, and what slips are called."""

import pytest

from d2video.config import load_cfg
from d2video.projects import register_all
from d2video.utils.errors import UserError

register_all()
CONFIG = "configs/VisTR/vistr_tiny_shapes.yaml"


def test_pairs_and_assignments():
    overrides = ["SEED", "3", "SOLVER.MAX_ITER=7", "OUTPUT_DIR", "a=b", "DATASETS.TRAIN=['x=y']"]
    cfg = load_cfg(CONFIG, overrides)
    assert (cfg.SEED, cfg.SOLVER.MAX_ITER, cfg.OUTPUT_DIR) == (3, 7, "a=b")
    assert cfg.DATASETS.TRAIN == ("x=y",)


def test_lists_may_be_json(scratch_catalog):
    entry = '["json_slip", "mot", {"root": "x", "benchmark": "MOT17", "public_detections": true}]'
    cfg = load_cfg(CONFIG, ["DATASETS.REGISTER", f"[{entry}]"])
    assert cfg.DATASETS.REGISTER[0][2]["public_detections"] is True


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["SEED", "1", "--resume"], "--resume is among the config keys.* first key, SEED"),
        (["--eval-only"], "--eval-only is among .* before the first key$"),
        (["SEED"], "the config key SEED has no value: give KEY VALUE or KEY=VALUE"),
        (["SEED=1", "OUTPUT_DIR"], "the config key OUTPUT_DIR has no value"),
        (["DATASETS.TRAIN", '("mine")'], r"""is 'mine', str: give tuple, such as '\("mine",\)'"""),
        (["DATASETS.TRAIN", "mine"], r"""such as '\("mine",\)'"""),
        (["DATASETS.TRAIN", "(mine,)"], "neither a Python literal nor JSON: look at its quotes"),
        (["DATASETS.REGISTER", '[["a", "mot", {]]'], "neither a Python literal nor JSON"),
    ],
)
def test_slips(overrides, message):
    with pytest.raises(UserError, match=message):
        load_cfg(CONFIG, overrides)


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("SOLVER.BASELR", "SOLVER.BASE_LR"),
        ("solver.base_lr", "SOLVER.BASE_LR"),
        ("BASE_LR", "SOLVER.BASE_LR"),
        ("SOLVER.LR", "SOLVER.BASE_LR"),
        ("MODEL.WEIGHT", "MODEL.WEIGHTS"),
        ("DATASET.TRAIN", "DATASETS.TRAIN"),
        ("MODEL.DETR.NUM_CLASES", "MODEL.DETR.NUM_CLASSES"),
        ("MODEL.VISTR.NUM_FRAMES", "INPUT.CLIP.NUM_FRAMES"),
    ],
)
def test_near_misses(key, meant):
    with pytest.raises(UserError, match=rf"did you mean (?:\S+ or )*{meant}[ ?]"):
        load_cfg(CONFIG, [key, 3])


def test_a_key_like_no_other():
    with pytest.raises(UserError, match=r"no key ZZZ: see d2video/config/defaults\.py"):
        load_cfg(CONFIG, ["ZZZ", 3])
