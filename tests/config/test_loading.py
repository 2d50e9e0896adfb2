"""Configs from files that build on others, with old names, and with schedules of two kinds."""

import logging

import pytest
from detectron2.config import get_cfg as get_detectron2_cfg
from detectron2.data import DatasetMapper
from detectron2.solver import build_optimizer as build_detectron2_optimizer
from torch import nn

from d2video.config import get_cfg, load_cfg
from d2video.config.files import flatten
from d2video.config.renamed import REMOVED, RENAMED
from d2video.data import build_mapper
from d2video.engine import build_optimizer
from d2video.projects import register_all
from d2video.utils.errors import UserError

register_all()
VISTR = "configs/VisTR/vistr_R50_ytvis2019.yaml"


def write(folder, **files: str) -> str:
    """Configs by name; the path of the last."""
    for name, text in files.items():
        (folder / f"{name}.yaml").write_text(text)
    return str(folder / f"{name}.yaml")


# ---- files that build on others --------------------------------------------------------------------


def test_later_bases_win_and_the_file_over_them(tmp_path):
    path = write(
        tmp_path,
        a="SEED: 1\nSOLVER: {BASE_LR: 0.5, GAMMA: 0.5, MOMENTUM: 0.5}\n",
        b="SOLVER: {GAMMA: 0.25, MOMENTUM: 0.25}\n",
        c="_BASE_: [a.yaml, b.yaml]\nSOLVER: {MOMENTUM: 1e-1}\n",
    )
    solver = load_cfg(path, []).SOLVER
    assert (solver.BASE_LR, solver.GAMMA, solver.MOMENTUM) == (0.5, 0.25, 0.1)
    assert load_cfg(path, []).SEED == 1


@pytest.mark.parametrize(
    ("base", "message"),
    [
        ("config.yaml", "_BASE_ leads back to itself"),
        ("other.yaml", "_BASE_ leads back to itself"),
        ("[3]", "a file or a list of files, not 3"),
        ("https://example.com/a.yaml", "a file or a list of files, not https"),
        ("missing.yaml", r"config\.yaml: its _BASE_ .*missing\.yaml does not exist"),
    ],
)
def test_bases_that_cannot_be(tmp_path, base, message):
    path = write(tmp_path, other="_BASE_: config.yaml\n", config=f"_BASE_: {base}\n")
    with pytest.raises(UserError, match=message):
        load_cfg(path, [])


# ---- names of earlier versions ---------------------------------------------------------------------


def test_old_names_are_read_with_a_warning(tmp_path, caplog):
    old = "INPUT: {VIDEO: {NUM_VIEWS: 3}, CLIP: {AUGMENTATIONS: [], SHUFFLE: False}}\n"
    path = write(
        tmp_path,
        base="INPUT: {AUGMENTATIONS: [[RandomFlip, {}]]}\n",
        old="_BASE_: base.yaml\n" + old,
    )
    with caplog.at_level(logging.WARNING):
        cfg = load_cfg(path, ["INPUT.CLIP.EPOCH_UNIT", "video", "INPUT.VIDEO.NUM_CROPS", "2"])
    classification = cfg.INPUT.CLASSIFICATION
    assert (classification.NUM_VIEWS, classification.NUM_CROPS) == (3, 2)
    assert cfg.INPUT.AUGMENTATIONS == []
    assert cfg.INPUT.EPOCH_UNIT == "video"
    assert "old.yaml: INPUT.VIDEO.NUM_VIEWS is now called INPUT.CLASSIFICATION" in caplog.text
    assert "command line: INPUT.CLIP.EPOCH_UNIT is now called INPUT.EPOCH_UNIT" in caplog.text


def test_one_key_under_both_names():
    both = ["INPUT.EPOCH_UNIT", "video", "INPUT.CLIP.EPOCH_UNIT", "frame"]
    with pytest.raises(UserError, match=r"command line: INPUT\.EPOCH_UNIT is also given under its"):
        load_cfg("", both)


@pytest.mark.parametrize("key", REMOVED)
def test_removed_keys(key):
    load_cfg("", [key, str(REMOVED[key])])
    with pytest.raises(UserError, match=f"{key} no longer exists, and 7 is not supported"):
        load_cfg("", [key, "7"])


def test_the_table_of_names_is_of_today():
    cfg = get_cfg()
    for new in RENAMED.values():
        node = cfg
        for part in new.split("."):
            node = node[part]
    assert not REMOVED.keys() & dict(flatten(cfg)).keys()


# ---- the last schedule given counts ----------------------------------------------------------------


def schedule(cfg) -> tuple:
    solver = cfg.SOLVER
    return solver.MAX_ITER, solver.STEPS, solver.MAX_EPOCHS, solver.EPOCH_STEPS


def test_iterations_on_the_command_line_replace_epochs():
    cfg = load_cfg(VISTR, ["SOLVER.MAX_ITER", "100", "SOLVER.STEPS", "(50,)"])
    assert schedule(cfg) == (100, (50,), 0, ())
    cfg = load_cfg(VISTR, ["SOLVER.MAX_ITER", "40000"])  # the default, but said
    assert cfg.SOLVER.MAX_EPOCHS == 0


def test_epochs_on_the_command_line_replace_iterations(tmp_path):
    path = write(tmp_path, a="SOLVER: {MAX_ITER: 100, STEPS: [50]}\n")
    cfg = load_cfg(path, ["SOLVER.MAX_EPOCHS", "3", "SOLVER.EPOCH_STEPS", "(2,)"])
    assert schedule(cfg) == (40000, (30000,), 3, (2,))


def test_a_file_replaces_the_epochs_of_its_base(tmp_path):
    path = write(
        tmp_path, a="SOLVER: {MAX_EPOCHS: 3}\n", b="_BASE_: a.yaml\nSOLVER: {MAX_ITER: 9}\n"
    )
    assert schedule(load_cfg(path, [])) == (9, (30000,), 0, ())


@pytest.mark.parametrize(
    ("config", "overrides", "message"),
    [
        (
            VISTR,
            ["SOLVER.STEPS", "(50,)"],
            r"MAX_EPOCHS is 18, but SOLVER.MAX_ITER 40000 with STEPS",
        ),
        (VISTR, ["SOLVER.MAX_ITER", "100", "SOLVER.MAX_EPOCHS", "2"], "MAX_EPOCHS is 2, but"),
        ("", ["SOLVER.EPOCH_STEPS", "(2,)"], r"EPOCH_STEPS is \(2,\), and the schedule is of"),
    ],
)
def test_contradictory_schedules(config, overrides, message):
    with pytest.raises(UserError, match=message):
        load_cfg(config, overrides)


def test_the_config_that_a_training_saves_loads_again(tmp_path):
    for number, overrides in enumerate([[], ["SOLVER.MAX_ITER", "100"]]):
        cfg = load_cfg(VISTR, overrides)
        path = write(tmp_path, **{f"saved{number}": cfg.dump()})
        assert load_cfg(path, []).SOLVER == cfg.SOLVER


# ---- plain detectron2 ------------------------------------------------------------------------------


def test_a_config_of_detectron2_trains_as_before(tmp_path):
    """detectron2's optimizer, with its groups, and its mapper."""
    text = "SOLVER: {BASE_LR: 0.02, WEIGHT_DECAY_NORM: 0.5, BIAS_LR_FACTOR: 2.0, NESTEROV: True}\n"
    path = write(tmp_path, plain=text)
    theirs = get_detectron2_cfg()
    theirs.merge_from_file(path, allow_unsafe=False)
    ours = load_cfg(path, [])
    model = nn.Sequential()
    model.backbone = nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3))
    wanted, found = build_detectron2_optimizer(theirs, model), build_optimizer(ours, model)
    assert type(found) is type(wanted)
    for mine, group in zip(found.param_groups, wanted.param_groups, strict=True):
        assert mine["params"] == group["params"]
        for key in ("lr", "weight_decay", "momentum", "nesterov"):
            assert mine[key] == group[key]
    mapper = build_mapper(ours, is_train=True)
    assert isinstance(mapper, DatasetMapper)
    assert repr(mapper.augmentations) == repr(DatasetMapper(theirs, True).augmentations)
